// From the key of a row to the number of its group: open addressing with linear probing, at most half full
// (after Knuth, TAOCP 3, 6.4, algorithm L). A slot has half of the hash beside the number, so that a probe
// looks at the key of the right group only; slots stand in the order of the hash, so that growing reads and
// writes in sequence.
//
// Where keys seldom repeat, rows may be given a group each, without looking (Append).
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "partita/exchange/group_keys.h"
#include "partita/operator/aggregate/state.h"

namespace partita {

class GroupTable {
 public:
  explicit GroupTable(std::shared_ptr<BudgetPool> pool);

  // Makes room for these keys as new groups. The others need it, and then cannot fail.
  Status Reserve(const GroupKeys& keys);
  // groups[i]: the group of row i. New groups have the numbers from the old count() on, in row order;
  // new_rows: their first rows.
  void Assign(const GroupKeys& keys, std::span<uint32_t> groups, GroupVector<uint32_t>* new_rows);
  // Takes back the groups from `count` on, which the last Assign or Append made.
  void Undo(uint32_t count);
  // A new group for each row. Assign may not be called after this.
  Status Append(const GroupKeys& keys, std::span<uint32_t> groups);

  uint32_t count() const { return static_cast<uint32_t>(hashes_.size()); }
  uint64_t hash(uint32_t group) const { return hashes_[group]; }

  // Puts the groups in the order of (hash, number); after that only `sorted`, `count` and `hash` are of use.
  void Sort();
  uint32_t sorted(size_t place) const { return NumberOf(slots_[place]); }

  int64_t size_bytes() const;

 private:
  // A slot: the upper half of the hash, then 1 + the number of the group; 0: free.
  static uint64_t SlotOf(uint64_t hash, uint32_t group) {
    return (hash & ~uint64_t{UINT32_MAX}) | (uint64_t{group} + 1);
  }
  static uint32_t NumberOf(uint64_t slot) { return static_cast<uint32_t>(slot) - 1; }
  size_t HomeOf(uint64_t hash) const { return static_cast<size_t>(hash >> shift_); }

  void Fetch(const GroupKeys& keys, int64_t begin) const;
  uint32_t FindOrAdd(const GroupKeys& keys, int64_t row, GroupVector<uint32_t>* new_rows);
  Status Rehash(int bits);
  void Put(uint64_t slot);  // where no equal one is
  bool IsGroup(uint32_t group, const GroupKeys& keys, int64_t row) const;
  std::string_view LongKey(uint32_t group) const;
  void AddGroup(const GroupKeys& keys, int64_t row);

  std::shared_ptr<BudgetPool> pool_;
  GroupVector<uint64_t> slots_;
  int shift_ = 64;
  bool sorted_ = false;
  // By group.
  GroupVector<uint64_t> hashes_;
  GroupVector<KeyPrefix> prefixes_;
  GroupVector<uint64_t> long_ends_;  // of each group's long key; empty where no key was long
  GroupVector<uint8_t> long_bytes_;
};

}  // namespace partita
