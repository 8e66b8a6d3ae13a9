#include "partita/session/epoch.h"

#include <algorithm>
#include <numeric>
#include <string>

#include "partita/base/digest.h"
#include "partita/runs/row_key.h"

namespace partita {
namespace {

// Part of what a line is: changing it changes the order of every epoch.
constexpr int64_t kChunkPlace = 1;  // the hash of a chunk; that of a row in its window has 0 there
// The first windows of a shuffled epoch are an eighth of the others, a quarter, a half: the first batch waits
// for little, and the next windows are read while the loop takes it.
constexpr size_t kSmallWindows = 3;

struct Window {
  size_t first_chunk = 0, last_chunk = 0;  // [first, last) of the chunks in their order
  int64_t first_row = 0, rows = 0;         // on the line
};

// A key of its own: a line and a random_shuffle with the same seed have nothing to do with each other.
uint64_t KeyOf(const EpochOrder& order) {
  return SeedKey("ingest/" + std::to_string(order.seed) + "/" + std::to_string(order.epoch));
}

std::vector<size_t> OrderOfChunks(size_t count, const EpochOrder& order) {
  std::vector<size_t> result(count);
  std::iota(result.begin(), result.end(), size_t{0});
  if (order.shuffle == EpochShuffle::kNone) return result;
  const uint64_t key = KeyOf(order);
  std::vector<uint64_t> hashes(count);
  for (size_t i = 0; i < count; ++i) hashes[i] = ShuffleKey(key, kChunkPlace, static_cast<int64_t>(i), 0);
  std::stable_sort(result.begin(), result.end(), [&](size_t a, size_t b) { return hashes[a] < hashes[b]; });
  return result;
}

// Windows of rows in plain order only bound how much one task reads: they change nothing on the line.
std::vector<Window> WindowsOf(const std::vector<Chunk>& chunks, const std::vector<size_t>& order,
                              const EpochOrder& how) {
  std::vector<Window> windows;
  int64_t bytes = 0;
  int halvings = 0;  // of the last window
  for (size_t i = 0; i < order.size(); ++i) {
    const Chunk& chunk = chunks[order[i]];
    const bool fits = !windows.empty() && how.shuffle != EpochShuffle::kLocal &&
                      chunk.rows <= (how.window_rows >> halvings) - windows.back().rows &&
                      chunk.bytes <= (how.window_bytes >> halvings) - bytes;
    if (!fits) {
      const bool is_small = how.shuffle == EpochShuffle::kGlobal && windows.size() < kSmallWindows;
      halvings = is_small ? static_cast<int>(kSmallWindows - windows.size()) : 0;
      const int64_t first = windows.empty() ? 0 : windows.back().first_row + windows.back().rows;
      windows.push_back({i, i, first, 0});
      bytes = 0;
    }
    windows.back().last_chunk = i + 1;
    windows.back().rows += chunk.rows;
    bytes += chunk.bytes;
  }
  return windows;
}

// Neighbours of one file are read as one piece.
void AddChunk(const Chunk& chunk, bool permuted, std::vector<Chunk>* to) {
  if (!permuted && !to->empty() && to->back().part.fragments.size() == 1 &&
      chunk.part.fragments.size() == 1) {
    auto& last = to->back().part.fragments[0];
    const auto& next = chunk.part.fragments[0];
    if (last.range == Fragment::Range::kRows && next.range == Fragment::Range::kRows &&
        last.end == next.begin && last.file.location == next.file.location) {
      last.end = next.end;
      to->back().rows += chunk.rows;
      to->back().bytes += chunk.bytes;
      return;
    }
  }
  to->push_back(chunk);
}

}  // namespace

Result<EpochShuffle> ParseEpochShuffle(std::string_view name) {
  if (name == "none") return EpochShuffle::kNone;
  if (name == "local") return EpochShuffle::kLocal;
  if (name == "global") return EpochShuffle::kGlobal;
  return UserError("shuffle cannot be '" + std::string(name) + "'", "choose none, local or global");
}

Result<std::vector<WindowRead>> ReadsOf(const std::vector<Chunk>& chunks, const EpochOrder& order,
                                        const std::vector<RowInterval>& intervals) {
  if (order.window_rows < 1 || order.window_bytes < 1) return UserError("a window must have room for a row");
  const auto places = OrderOfChunks(chunks.size(), order);
  const auto windows = WindowsOf(chunks, places, order);
  const int64_t rows = windows.empty() ? 0 : windows.back().first_row + windows.back().rows;
  const bool permuted = order.shuffle != EpochShuffle::kNone;
  const uint64_t key = KeyOf(order);
  std::vector<WindowRead> reads;
  for (const auto& interval : intervals) {
    if (interval.begin < 0 || interval.end < interval.begin || interval.end > rows) {
      return UserError("the epoch has " + std::to_string(rows) + " rows, and not rows " +
                       std::to_string(interval.begin) + " to " + std::to_string(interval.end));
    }
    auto window = std::upper_bound(windows.begin(), windows.end(), interval.begin,
                                   [](int64_t row, const Window& w) { return row < w.first_row + w.rows; });
    for (int64_t row = interval.begin; row < interval.end; ++window) {
      if (window->rows == 0) continue;
      WindowRead read;
      read.permuted = permuted;
      read.key = key;
      read.window = window - windows.begin();
      read.first = row - window->first_row;
      read.rows = std::min(interval.end, window->first_row + window->rows) - row;
      // In plain order only the chunks that are touched.
      int64_t at = 0;
      const int64_t first = read.first;
      for (size_t i = window->first_chunk; i < window->last_chunk; ++i) {
        const Chunk& chunk = chunks[places[i]];
        const bool wanted = permuted || (at + chunk.rows > first && at < first + read.rows);
        if (wanted) {
          AddChunk(chunk, permuted, &read.chunks);
        } else if (at < first) {
          read.first -= chunk.rows;
        }
        at += chunk.rows;
      }
      row += read.rows;
      reads.push_back(std::move(read));
    }
  }
  return reads;
}

}  // namespace partita
