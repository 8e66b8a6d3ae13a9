// Text tables and what fits on a line. Pure.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace partita::cli {

// Columns a terminal takes for valid UTF-8: 2 for East Asian wide characters and emoji, 0 for combining
// marks.
size_t DisplayWidth(std::string_view text);
// At most `width` columns, cut at a character, with "…" where something is missing.
std::string Ellipsize(std::string_view text, size_t width);

// `text` in lines of at most `width` columns that begin at `column`; the first one continues `head` where
// that is short enough.
std::string WrapText(std::string_view head, std::string_view text, size_t column, size_t width);

struct TextTable {
  struct Column {
    std::string title;
    bool right = false;  // numbers
  };
  std::vector<Column> columns;
  std::vector<std::vector<std::string>> rows;  // as many cells as columns

  // Lines of at most `width` columns (0: no limit), each with a newline. Cells are cut to `max_cell`; columns
  // that do not fit are left out from the right (the first one never is), and a last line says how many.
  std::string Render(size_t width, size_t max_cell = 60) const;
};

}  // namespace partita::cli
