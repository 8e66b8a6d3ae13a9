// A small hash table for each group, all in one piece of memory. Private to the aggregates.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <span>
#include <utility>

#include "partita/operator/aggregate/state.h"

namespace partita {

// An entry is a key, which is not 0, above kValueBits bits of value. A table is a block of a power of two of
// entries, open addressing with linear probing, at most three quarters full; blocks of one size that are let
// go of are used again.
template <typename Entry, int kValueBits>
class GroupTables {
 public:
  static constexpr Entry kValueMask = (Entry{1} << kValueBits) - 1;
  static Entry KeyOf(Entry entry) { return entry >> kValueBits; }
  static Entry ValueOf(Entry entry) { return entry & kValueMask; }

  explicit GroupTables(const std::shared_ptr<BudgetPool>& pool) : tables_(pool), entries_(pool) {}

  Status Grow(uint32_t num_groups) { return tables_.Resize(num_groups); }
  int64_t size_bytes() const { return tables_.size_bytes() + entries_.size_bytes(); }
  uint32_t size(uint32_t group) const { return tables_[group].size; }

  // The entry of a key; a new one has the value 0. It is there until the next call.
  Result<Entry*> FindOrAdd(uint32_t group, Entry key) {
    Entry* entry = Probe(tables_[group], key);
    if (entry != nullptr && *entry != 0) return entry;
    Table& table = tables_[group];
    if (entry == nullptr || 4 * (uint64_t{table.size} + 1) > 3 * (uint64_t{1} << table.bits)) {
      ARROW_RETURN_NOT_OK(Enlarge(group));
      entry = Probe(tables_[group], key);
    }
    *entry = static_cast<Entry>(key << kValueBits);
    ++tables_[group].size;
    return entry;
  }

  // All entries, in no order that means anything.
  template <typename Visit>
  void ForEach(uint32_t group, Visit visit) const {
    const Table& table = tables_[group];
    if (table.bits == 0) return;
    const Entry* entries = entries_.begin() + table.at;
    for (uint64_t i = 0; i < uint64_t{1} << table.bits; ++i) {
      if (entries[i] != 0) visit(entries[i]);
    }
  }

  void Clear(uint32_t group) {
    Free(tables_[group]);
    tables_[group] = {};
  }

  void Forget(uint32_t count) {
    for (uint32_t group = 0; group < count; ++group) Clear(group);
    tables_.DropFront(count);
    if (tables_.size() > 0) return;
    entries_.SetSize(0);
    free_ = {};
  }

 private:
  struct Table {
    uint64_t at;    // its first entry
    uint32_t size;  // entries that are taken
    uint32_t bits;  // it has 2^bits; 0: there is no table yet
  };
  static constexpr uint32_t kLeastBits = 2, kMostBits = 40;

  // Where the key is or would go; null where there is no table.
  Entry* Probe(const Table& table, Entry key) {
    if (table.bits == 0) return nullptr;
    Entry* entries = entries_.begin() + table.at;
    const uint64_t mask = (uint64_t{1} << table.bits) - 1;
    uint64_t i = (uint64_t{key} * 0x9e3779b97f4a7c15ULL) >> (64 - table.bits);
    while (entries[i] != 0 && KeyOf(entries[i]) != key) i = (i + 1) & mask;
    return entries + i;
  }

  Status Enlarge(uint32_t group) {
    const Table old = tables_[group];
    Table table{0, old.size, std::max(old.bits + 1, kLeastBits)};
    const uint64_t length = uint64_t{1} << table.bits;
    uint64_t& next = free_[table.bits];
    if (next != 0) {
      table.at = next - 1;
      next = NextOf(table.at);
    } else {
      ARROW_RETURN_NOT_OK(entries_.Reserve(entries_.size() + length));
      table.at = entries_.size();
      entries_.SetSize(entries_.size() + length);
    }
    std::fill_n(entries_.begin() + table.at, length, Entry{0});
    ForEach(group, [&](Entry entry) { *Probe(table, KeyOf(entry)) = entry; });
    Free(old);
    tables_[group] = table;
    return Status::OK();
  }

  // Blocks begin at multiples of the least block's length: that fits into an entry.
  uint64_t NextOf(uint64_t at) const {
    const uint64_t next = entries_[at];
    return next == 0 ? 0 : ((next - 1) << kLeastBits) + 1;
  }
  void Free(const Table& table) {
    if (table.bits == 0) return;
    uint64_t& first = free_[table.bits];
    entries_[table.at] = static_cast<Entry>(first == 0 ? 0 : ((first - 1) >> kLeastBits) + 1);
    first = table.at + 1;
  }

  GroupVector<Table> tables_;
  GroupVector<Entry> entries_;
  std::array<uint64_t, kMostBits> free_ = {};  // by bits: 1 + where the first free block is, or 0
};

}  // namespace partita
