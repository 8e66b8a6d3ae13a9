#include "partita/runs/sort_rows.h"

#include <algorithm>
#include <array>
#include <utility>

namespace partita {
namespace {

constexpr size_t kSmall = 128;  // rows below which comparisons win

class Sorter {
 public:
  explicit Sorter(const std::vector<RowKeys>& keys) : keys_(keys) {
    wholes_ = std::any_of(keys.begin(), keys.end(), [](const RowKeys& k) { return k.offsets != nullptr; });
  }

  void Sort(std::span<SortItem> items, int byte) const {
    while (true) {
      if (items.size() < 2) return;
      if (items.size() <= kSmall || byte == 8) {
        std::sort(items.begin(), items.end(),
                  [this](const SortItem& a, const SortItem& b) { return Less(a, b); });
        return;
      }
      const int shift = 8 * (7 - byte);
      std::array<size_t, 257> starts{};
      for (const auto& item : items) ++starts[((item.key.hi >> shift) & 0xff) + 1];
      ++byte;
      if (std::find(starts.begin(), starts.end(), items.size()) != starts.end()) continue;  // one bucket
      for (size_t b = 0; b < 256; ++b) starts[b + 1] += starts[b];
      std::array<size_t, 256> next{};
      std::copy(starts.begin(), starts.end() - 1, next.begin());
      for (size_t b = 0; b < 256; ++b) {
        while (next[b] < starts[b + 1]) {
          SortItem item = items[next[b]];
          size_t home = (item.key.hi >> shift) & 0xff;
          while (home != b) {
            std::swap(item, items[next[home]++]);
            home = (item.key.hi >> shift) & 0xff;
          }
          items[next[b]++] = item;
        }
      }
      for (size_t b = 0; b < 256; ++b) Sort(items.subspan(starts[b], starts[b + 1] - starts[b]), byte);
      return;
    }
  }

 private:
  bool Less(const SortItem& a, const SortItem& b) const {
    if (a.key != b.key) return a.key < b.key;
    if (wholes_ && keys_[a.batch].offsets && keys_[b.batch].offsets) {
      const int c = keys_[a.batch].whole(a.row).compare(keys_[b.batch].whole(b.row));
      if (c != 0) return c < 0;
    }
    return std::pair(a.batch, a.row) < std::pair(b.batch, b.row);
  }

  const std::vector<RowKeys>& keys_;
  bool wholes_ = false;
};

}  // namespace

void SortRows(std::span<SortItem> items, const std::vector<RowKeys>& keys) { Sorter(keys).Sort(items, 0); }

}  // namespace partita
