// The groups of a window of rows whose hashes lie between two bounds: open addressing with linear probing, the
// slots in the order of the hash, so that groups leave nearly in order. One thread at a time.
#pragma once

#include <algorithm>
#include <bit>
#include <cstdint>
#include <memory>
#include <span>

#include "partita/operator/aggregate/state.h"

namespace partita {

class HashWindow {
 public:
  explicit HashWindow(const std::shared_ptr<BudgetPool>& pool) : slots_(pool), hashes_(pool) {}

  // Makes room for `rows` more groups with hashes from `low` to `high`. The groups that there are stay; theirs
  // are not outside either. After a refusal nothing has changed but that FindOrAdd and Order may not be called.
  Status Begin(uint64_t low, uint64_t high, size_t rows) {
    const size_t most = hashes_.size() + rows;
    const size_t homes = std::bit_ceil(std::max<size_t>(2 * most, 16));
    ARROW_RETURN_NOT_OK(hashes_.Reserve(most));
    ARROW_RETURN_NOT_OK(slots_.Reserve(homes + most + 1));  // behind the last home all may stand
    slots_.SetSize(homes + most + 1);
    std::fill(slots_.begin(), slots_.end(), 0);
    low_ = low;
    shift_ = std::max(0, static_cast<int>(std::bit_width(high - low)) - static_cast<int>(std::bit_width(homes - 1)));
    for (uint32_t group = 0; group < count(); ++group) {
      size_t at = HomeOf(hashes_[group]);
      while (slots_[at] != 0) ++at;
      slots_[at] = group + 1;
    }
    return Status::OK();
  }

  // The group of this hash that `is_same` says it is; a new one where there is none.
  template <typename IsSame>
  uint32_t FindOrAdd(uint64_t hash, const IsSame& is_same) {
    size_t at = HomeOf(hash);
    for (; slots_[at] != 0; ++at) {
      const uint32_t group = slots_[at] - 1;
      if (hashes_[group] == hash && is_same(group)) return group;
    }
    hashes_.PushBack(hash);
    slots_[at] = count();
    return count() - 1;
  }

  // The groups below `count` in the order of (hash, number), to `order`, which has as many places.
  void Order(std::span<uint32_t> order) const {
    size_t filled = 0;
    const auto is_before = [&](uint32_t a, uint32_t b) {
      return hashes_[a] != hashes_[b] ? hashes_[a] < hashes_[b] : a < b;
    };
    for (const uint32_t slot : slots_) {
      if (slot == 0 || slot > order.size()) continue;
      size_t at = filled++;
      for (; at > 0 && is_before(slot - 1, order[at - 1]); --at) order[at] = order[at - 1];
      order[at] = slot - 1;
    }
  }

  // The first `n` groups are forgotten; the others move up, and Begin comes next.
  void Forget(uint32_t n) { hashes_.DropFront(n); }
  uint64_t hash(uint32_t group) const { return hashes_[group]; }
  uint32_t count() const { return static_cast<uint32_t>(hashes_.size()); }

 private:
  size_t HomeOf(uint64_t hash) const { return static_cast<size_t>((hash - low_) >> shift_); }

  GroupVector<uint32_t> slots_;   // 1 + the number of the group; 0: free
  GroupVector<uint64_t> hashes_;  // by group
  uint64_t low_ = 0;
  int shift_ = 0;
};

}  // namespace partita
