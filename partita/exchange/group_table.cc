#include "partita/exchange/group_table.h"

#include <algorithm>
#include <array>
#include <bit>

namespace partita {
namespace {

constexpr int kLeastBits = 10;
constexpr int64_t kTogether = 32;  // rows whose slots, then keys, are fetched while others are looked at

// In place, by the bytes from `shift` down (American flag sort, as in runs/sort_rows.h).
void RadixSort(std::span<uint64_t> values, int shift) {
  constexpr size_t kSmall = 64;
  while (values.size() > kSmall && shift >= 0) {
    std::array<size_t, 257> starts{};
    for (const uint64_t value : values) ++starts[((value >> shift) & 0xff) + 1];
    const int byte_shift = shift;
    shift -= 8;
    if (std::find(starts.begin(), starts.end(), values.size()) != starts.end()) continue;  // one bucket
    for (size_t b = 0; b < 256; ++b) starts[b + 1] += starts[b];
    std::array<size_t, 256> next{};
    std::copy(starts.begin(), starts.end() - 1, next.begin());
    for (size_t b = 0; b < 256; ++b) {
      while (next[b] < starts[b + 1]) {
        uint64_t value = values[next[b]];
        for (size_t home = (value >> byte_shift) & 0xff; home != b; home = (value >> byte_shift) & 0xff)
          std::swap(value, values[next[home]++]);
        values[next[b]++] = value;
      }
    }
    for (size_t b = 0; b < 256; ++b) RadixSort(values.subspan(starts[b], starts[b + 1] - starts[b]), shift);
    return;
  }
  std::sort(values.begin(), values.end());
}

}  // namespace

GroupTable::GroupTable(std::shared_ptr<BudgetPool> pool)
    : pool_(pool), slots_(pool), hashes_(pool), prefixes_(pool), long_ends_(pool), long_bytes_(pool) {}

int64_t GroupTable::size_bytes() const {
  return slots_.size_bytes() + hashes_.size_bytes() + prefixes_.size_bytes() + long_ends_.size_bytes() +
         long_bytes_.size_bytes();
}

Status GroupTable::Reserve(const GroupKeys& keys) {
  const size_t groups = hashes_.size() + static_cast<size_t>(keys.rows());
  if (groups >= UINT32_MAX) return OutOfMemoryError("groups of more than 32 bits at once");
  ARROW_RETURN_NOT_OK(hashes_.Reserve(groups));
  ARROW_RETURN_NOT_OK(prefixes_.Reserve(groups));
  if (keys.has_long_keys() || long_ends_.size() > 0) {
    ARROW_RETURN_NOT_OK(long_ends_.Reserve(groups));
    ARROW_RETURN_NOT_OK(long_ends_.Resize(hashes_.size()));
    size_t bytes = long_bytes_.size();
    for (int64_t row = 0; row < keys.rows(); ++row) bytes += keys.long_key(row).size();
    ARROW_RETURN_NOT_OK(long_bytes_.Reserve(bytes));
  }
  const int bits = std::max(kLeastBits, static_cast<int>(std::bit_width(2 * groups - 1)));
  return bits > 64 - shift_ ? Rehash(bits) : Status::OK();
}

Status GroupTable::Rehash(int bits) {
  GroupVector<uint64_t> old(pool_);
  ARROW_RETURN_NOT_OK(old.Resize(size_t{1} << bits));
  std::swap(old, slots_);
  shift_ = 64 - bits;
  for (const uint64_t slot : old) {
    if (slot != 0) Put(slot);
  }
  return Status::OK();
}

void GroupTable::Put(uint64_t slot) {
  const size_t mask = slots_.size() - 1;
  size_t at = HomeOf(hashes_[NumberOf(slot)]);
  while (slots_[at] != 0) at = (at + 1) & mask;
  slots_[at] = slot;
}

std::string_view GroupTable::LongKey(uint32_t group) const {
  if (group >= long_ends_.size()) return {};
  const uint64_t begin = group == 0 ? 0 : long_ends_[group - 1];
  return {reinterpret_cast<const char*>(long_bytes_.begin()) + begin, long_ends_[group] - begin};
}

inline bool GroupTable::IsGroup(uint32_t group, const GroupKeys& keys, int64_t row) const {
  if (prefixes_[group] != keys.prefix(row)) return false;
  return !keys.has_long_keys() || LongKey(group) == keys.long_key(row);
}

void GroupTable::AddGroup(const GroupKeys& keys, int64_t row) {
  hashes_.PushBack(keys.hash(row));
  prefixes_.PushBack(keys.prefix(row));
  if (!keys.has_long_keys() && long_ends_.size() == 0) return;
  const auto key = keys.long_key(row);
  const size_t at = long_bytes_.size();
  long_bytes_.SetSize(at + key.size());
  std::copy(key.begin(), key.end(), long_bytes_.begin() + at);
  long_ends_.PushBack(at + key.size());
}

void GroupTable::Assign(const GroupKeys& keys, std::span<uint32_t> groups, GroupVector<uint32_t>* new_rows) {
  const int64_t rows = keys.rows();
  Fetch(keys, 0);
  for (int64_t begin = 0; begin < rows; begin += kTogether) {
    const int64_t end = std::min(begin + kTogether, rows);
    Fetch(keys, end);
    for (int64_t row = begin; row < end; ++row) {
      const uint64_t slot = slots_[HomeOf(keys.hash(row))];
      if (slot != 0) __builtin_prefetch(&prefixes_[NumberOf(slot)]);
    }
    for (int64_t row = begin; row < end; ++row)
      groups[static_cast<size_t>(row)] = FindOrAdd(keys, row, new_rows);
  }
}

// The slots that the rows from `begin` on will look at first.
void GroupTable::Fetch(const GroupKeys& keys, int64_t begin) const {
  const int64_t end = std::min(begin + kTogether, keys.rows());
  for (int64_t row = begin; row < end; ++row) __builtin_prefetch(&slots_[HomeOf(keys.hash(row))]);
}

inline uint32_t GroupTable::FindOrAdd(const GroupKeys& keys, int64_t row, GroupVector<uint32_t>* new_rows) {
  const size_t mask = slots_.size() - 1;
  const uint64_t hash = keys.hash(row);
  for (size_t at = HomeOf(hash);; at = (at + 1) & mask) {
    const uint64_t slot = slots_[at];
    if (slot == 0) {
      const uint32_t group = count();
      slots_[at] = SlotOf(hash, group);
      new_rows->PushBack(static_cast<uint32_t>(row));
      AddGroup(keys, row);
      return group;
    }
    if (((slot ^ hash) >> 32) == 0 && IsGroup(NumberOf(slot), keys, row)) return NumberOf(slot);
  }
}

void GroupTable::Undo(uint32_t count) {
  if (shift_ == 64) {  // rows were appended, or there is no group at all
    slots_.SetSize(std::min<size_t>(slots_.size(), count));
    hashes_.SetSize(count);
    return;
  }
  const size_t mask = slots_.size() - 1;
  // The newest first: it closed every probe that it was in.
  for (uint32_t group = this->count(); group-- > count;) {
    const uint64_t slot = SlotOf(hashes_[group], group);
    size_t at = HomeOf(hashes_[group]);
    while (slots_[at] != slot) at = (at + 1) & mask;
    slots_[at] = 0;
  }
  hashes_.SetSize(count);
  prefixes_.SetSize(count);
  if (long_ends_.size() == 0) return;
  long_bytes_.SetSize(count == 0 ? 0 : long_ends_[count - 1]);
  long_ends_.SetSize(count);
}

Status GroupTable::Append(const GroupKeys& keys, std::span<uint32_t> groups) {
  const size_t before = hashes_.size(), rows = static_cast<size_t>(keys.rows());
  if (before + rows >= UINT32_MAX) return OutOfMemoryError("groups of more than 32 bits at once");
  ARROW_RETURN_NOT_OK(hashes_.Reserve(before + rows));
  if (!sorted_ && shift_ < 64) {  // what the table was used for until now
    size_t kept = 0;
    for (const uint64_t slot : slots_) {
      if (slot != 0) slots_[kept++] = slot;
    }
    slots_.SetSize(kept);
    shift_ = 64;
  }
  ARROW_RETURN_NOT_OK(slots_.Reserve(before + rows));
  for (size_t row = 0; row < rows; ++row) {
    const auto group = static_cast<uint32_t>(before + row);
    const uint64_t hash = keys.hash(static_cast<int64_t>(row));
    groups[row] = group;
    hashes_.PushBack(hash);
    slots_.PushBack(SlotOf(hash, group));
  }
  return Status::OK();
}

void GroupTable::Sort() {
  if (sorted_) return;
  size_t kept = 0;
  for (const uint64_t slot : slots_) {
    if (slot != 0) slots_[kept++] = slot;
  }
  slots_.SetSize(kept);
  shift_ = 64;
  RadixSort({slots_.begin(), kept}, 56);
  // Hashes that differ in the lower half only.
  for (size_t begin = 0; begin < kept;) {
    size_t end = begin + 1;
    while (end < kept && (slots_[end] ^ slots_[begin]) >> 32 == 0) ++end;
    if (end - begin > 1) {
      std::sort(slots_.begin() + begin, slots_.begin() + end, [this](uint64_t a, uint64_t b) {
        const uint32_t i = NumberOf(a), j = NumberOf(b);
        return hashes_[i] != hashes_[j] ? hashes_[i] < hashes_[j] : i < j;
      });
    }
    begin = end;
  }
  sorted_ = true;
}

}  // namespace partita
