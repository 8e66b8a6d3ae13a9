#include "partita/runs/sort_rows.h"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

namespace partita {
namespace {

constexpr size_t kFewItems = 24;            // that are put in order by insertion
constexpr size_t kScatterItems = 16 << 10;  // with their copies they stay in the cache

class Sorter {
 public:
  explicit Sorter(const std::vector<RowKeys>& keys) : keys_(keys) {
    wholes_ = std::any_of(keys.begin(), keys.end(), [](const RowKeys& k) { return k.offsets != nullptr; });
  }

  void Sort(std::span<SortItem> items, int byte) {
    while (true) {
      if (items.size() <= kScatterItems || byte == 8) return Scatter(items);
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
  void Compare(std::span<SortItem> items) const {
    std::sort(items.begin(), items.end(),
              [this](const SortItem& a, const SortItem& b) { return Less(a, b); });
  }

  void Insert(std::span<SortItem> items) const {
    for (size_t i = 1; i < items.size(); ++i) {
      const SortItem item = items[i];
      size_t j = i;
      for (; j > 0 && Less(item, items[j - 1]); --j) items[j] = items[j - 1];
      items[j] = item;
    }
  }

  // Cuts the range of the keys' first 8 bytes into as many pieces as there are items: about one falls in each
  // where keys are spread evenly.
  void Scatter(std::span<SortItem> items) {
    if (items.size() <= kFewItems) return Insert(items);
    uint64_t low = UINT64_MAX, high = 0;
    for (const auto& item : items) {
      low = std::min(low, item.key.hi);
      high = std::max(high, item.key.hi);
    }
    if (low == high || items.size() > kScatterItems) return Compare(items);
    const int shift = std::max(
        0, static_cast<int>(std::bit_width(high - low)) - static_cast<int>(std::bit_width(items.size())));
    const size_t buckets = static_cast<size_t>((high - low) >> shift) + 1;
    ends_.assign(buckets + 1, 0);
    for (const auto& item : items) ++ends_[((item.key.hi - low) >> shift) + 1];
    for (size_t b = 1; b <= buckets; ++b) ends_[b] += ends_[b - 1];
    scratch_.resize(std::max(scratch_.size(), items.size()));
    for (const auto& item : items) scratch_[ends_[(item.key.hi - low) >> shift]++] = item;
    std::copy_n(scratch_.begin(), items.size(), items.begin());
    // Now ends_[b] is where bucket b ends.
    size_t begin = 0;
    for (size_t b = 0; b < buckets; ++b) {
      const auto bucket = items.subspan(begin, ends_[b] - begin);
      if (bucket.size() > kFewItems) {
        Compare(bucket);
      } else if (bucket.size() > 1) {
        Insert(bucket);
      }
      begin = ends_[b];
    }
  }

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
  std::vector<SortItem> scratch_;
  std::vector<uint32_t> ends_;  // of buckets
};

}  // namespace

void SortRows(std::span<SortItem> items, const std::vector<RowKeys>& keys) { Sorter(keys).Sort(items, 0); }

}  // namespace partita
