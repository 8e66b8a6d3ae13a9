// The terminal the process talks to, if any.
#pragma once

#include <cstddef>
#include <cstdio>

namespace partita::cli {

struct TerminalSize {
  size_t width = 80, height = 24;
};

// Whether the stream is a terminal on which lines can be drawn over.
bool IsLiveTerminal(std::FILE* stream);
TerminalSize SizeOf(std::FILE* stream);
// Whether stdout is a pipe or socket that nobody reads any more (`| head`).
bool OutputReaderGone();
// Columns for a table: the terminal's, or 0 (no limit) where the stream is none.
size_t TerminalWidth(std::FILE* stream);

}  // namespace partita::cli
