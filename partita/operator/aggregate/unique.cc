// n_unique: how many different values a group has, exactly.
#include <arrow/array.h>

#include <bit>

#include "partita/base/digest.h"
#include "partita/operator/aggregate/doubles.h"
#include "partita/operator/aggregate/kinds.h"
#include "partita/operator/aggregate/state.h"
#include "partita/operator/aggregate/value_keys.h"

namespace partita {
namespace {

// One set of (group, encoded value) for all groups: open addressing, linear probing, at most two thirds full.
// An encoding of up to 16 bytes is the prefix; a longer one lies in `long_bytes_`, after its length.
class Unique final : public AggregateBase {
 public:
  explicit Unique(const AggregateInit& init)
      : AggregateBase(init.input, init.output, init.pool),
        counts_(init.pool),
        slots_(init.pool),
        long_bytes_(init.pool),
        ends_(init.pool),
        by_group_(init.pool) {}

  int64_t size_bytes() const override {
    return counts_.size_bytes() + slots_.size_bytes() + long_bytes_.size_bytes() + ends_.size_bytes() +
           by_group_.size_bytes();
  }
  Types state_types() const override { return {arrow::binary()}; }

 protected:
  Status Grow(uint32_t num_groups) override {
    ARROW_RETURN_NOT_OK(counts_.Resize(num_groups));
    return ends_.Resize(num_groups);
  }

  Status Add(const arrow::Array* column, Groups groups) override {
    ARROW_ASSIGN_OR_RAISE(const RowKeys keys, EncodeValues(*column, pool_.get()));
    size_t values = 0, bytes = 0;
    for (int64_t row = 0; row < keys.rows; ++row) {
      if (!IsValue(keys, row)) continue;
      ++values;
      const size_t size = LongKey(keys, row).size();
      if (size > 0) bytes += sizeof(uint64_t) + size;
    }
    ARROW_RETURN_NOT_OK(Reserve(values, bytes));
    for (size_t i = 0; i < groups.size(); ++i) {
      const auto row = static_cast<int64_t>(i);
      if (!IsValue(keys, row)) continue;
      if (Insert({keys.prefix(row), first_group_ + groups[i] + 1, kShort}, LongKey(keys, row)))
        ++counts_[groups[i]];
    }
    return Status::OK();
  }

  Result<ArrayPtr> Make(uint32_t count, arrow::MemoryPool* pool) override {
    return BuildArray<int64_t>(
        output_, count, pool, [&](int64_t g) { return counts_[static_cast<size_t>(g)]; },
        [](int64_t) { return false; });
  }

  // Keys one behind another: the size of a long key and the key, or 0 and the prefix.
  Result<Arrays> States(Groups groups, arrow::MemoryPool* pool) override {
    Order();
    const auto slots_of = [&](int64_t i) {
      const uint32_t group = groups[static_cast<size_t>(i)];
      const auto end = static_cast<size_t>(ends_[group]), count = static_cast<size_t>(counts_[group]);
      return std::span<const uint32_t>(by_group_.begin() + end - count, count);
    };
    const auto size_of = [&](int64_t i) {
      int64_t size = 0;
      for (const uint32_t slot : slots_of(i)) {
        const size_t key = LongKey(slots_[slot]).size();
        size += static_cast<int64_t>(sizeof(uint32_t) + (key > 0 ? key : sizeof(KeyPrefix)));
      }
      return size;
    };
    const auto write = [&](int64_t i, uint8_t* out) {
      for (const uint32_t slot : slots_of(i)) {
        const auto key = LongKey(slots_[slot]);
        const auto size = static_cast<uint32_t>(key.size());
        std::memcpy(out, &size, sizeof size);
        out += sizeof size;
        if (size > 0) {
          std::memcpy(out, key.data(), size);
        } else {
          std::memcpy(out, &slots_[slot].prefix, sizeof(KeyPrefix));
        }
        out += size > 0 ? size : sizeof(KeyPrefix);
      }
    };
    ARROW_ASSIGN_OR_RAISE(auto states,
                          BuildBinary(static_cast<int64_t>(groups.size()), size_of, write, pool));
    return Arrays{std::move(states)};
  }

  Status AddStates(const Arrays& states, Groups groups) override {
    const auto& lists = static_cast<const arrow::BinaryArray&>(*states[0]);
    size_t values = 0, bytes = 0;
    const auto count = [&](KeyPrefix, std::string_view key) {
      ++values;
      if (!key.empty()) bytes += sizeof(uint64_t) + key.size();
    };
    for (int64_t i = 0; i < lists.length(); ++i) ARROW_RETURN_NOT_OK(ReadKeys(lists.GetView(i), count));
    ARROW_RETURN_NOT_OK(Reserve(values, bytes));
    for (size_t i = 0; i < groups.size(); ++i) {
      ARROW_RETURN_NOT_OK(
          ReadKeys(lists.GetView(static_cast<int64_t>(i)), [&](KeyPrefix prefix, std::string_view key) {
            if (Insert({prefix, first_group_ + groups[i] + 1, kShort}, key)) ++counts_[groups[i]];
          }));
    }
    return Status::OK();
  }

  // Entries of finished groups harm nobody, so they go when they are most of all.
  void Forget(uint32_t count) override {
    for (uint32_t g = 0; g < count; ++g) stale_ += static_cast<size_t>(counts_[g]);
    counts_.DropFront(count);
    ends_.DropFront(count);
    is_ordered_ = false;
    first_group_ += count;
    if (2 * stale_ <= entries_) return;
    for (size_t i = 0; i < slots_.size(); ++i) {
      while (slots_[i].group != 0 && slots_[i].group <= first_group_) Erase(i);
    }
    stale_ = 0;
    if (entries_ == 0) long_bytes_.SetSize(0);
  }

 private:
  static constexpr uint64_t kShort = ~uint64_t{0};

  struct Slot {
    KeyPrefix prefix;
    uint64_t group;  // counted from the very first one, plus 1; 0: the slot is free
    uint64_t at;     // in long_bytes_; kShort: the prefix is all
  };

  static std::string_view LongKey(const RowKeys& keys, int64_t row) {
    const std::string_view whole = keys.whole(row);
    return whole.size() > sizeof(KeyPrefix) ? whole : std::string_view();
  }

  std::string_view LongKey(const Slot& slot) const {
    if (slot.at == kShort) return {};
    uint64_t size = 0;
    std::memcpy(&size, long_bytes_.begin() + slot.at, sizeof(size));
    return {reinterpret_cast<const char*>(long_bytes_.begin()) + slot.at + sizeof(size), size};
  }

  // Where a probe for the slot's key begins.
  size_t Home(const Slot& slot, std::string_view long_key) const {
    uint64_t hash = MixBits(slot.prefix.hi + slot.group * 0x9e3779b97f4a7c15ULL);
    hash = MixBits(hash ^ MixBits(slot.prefix.lo + 0xd1b54a32d192ed03ULL));
    if (!long_key.empty()) hash = Checksum64(long_key.data(), static_cast<int64_t>(long_key.size()), hash);
    return hash & (slots_.size() - 1);
  }

  // False: the set has it. There is room.
  bool Insert(Slot slot, std::string_view long_key) {
    const size_t mask = slots_.size() - 1;
    size_t i = Home(slot, long_key);
    for (; slots_[i].group != 0; i = (i + 1) & mask) {
      if (slots_[i].group == slot.group && slots_[i].prefix == slot.prefix && LongKey(slots_[i]) == long_key)
        return false;
    }
    if (!long_key.empty()) slot.at = AppendLong(&long_bytes_, long_key);
    slots_[i] = slot;
    ++entries_;
    return true;
  }

  static uint64_t AppendLong(GroupVector<uint8_t>* bytes, std::string_view key) {
    const size_t at = bytes->size();
    const uint64_t size = key.size();
    bytes->SetSize(at + sizeof(size) + key.size());
    std::memcpy(bytes->begin() + at, &size, sizeof(size));
    std::memcpy(bytes->begin() + at + sizeof(size), key.data(), key.size());
    return at;
  }

  // Entries behind the hole move up, so that every probe still finds them (Knuth, TAOCP 3, 6.4, algorithm R).
  void Erase(size_t hole) {
    const size_t mask = slots_.size() - 1;
    for (size_t i = (hole + 1) & mask; slots_[i].group != 0; i = (i + 1) & mask) {
      const size_t home = Home(slots_[i], LongKey(slots_[i]));
      if (((i - home) & mask) < ((i - hole) & mask)) continue;
      slots_[hole] = slots_[i];
      hole = i;
    }
    slots_[hole].group = 0;
    --entries_;
  }

  // The keys of a state.
  template <typename Take>
  static Status ReadKeys(std::string_view state, Take take) {
    while (!state.empty()) {
      uint32_t size = 0;
      if (state.size() < sizeof size) return BugError("a state of n_unique is cut");
      std::memcpy(&size, state.data(), sizeof size);
      state.remove_prefix(sizeof size);
      const size_t bytes = size > 0 ? size : sizeof(KeyPrefix);
      if (state.size() < bytes || (size > 0 && size <= sizeof(KeyPrefix)))
        return BugError("a state of n_unique is cut");
      uint64_t words[2];
      std::memcpy(words, state.data(), sizeof words);
      if (size > 0) {
        take(KeyPrefix{__builtin_bswap64(words[0]), __builtin_bswap64(words[1])}, state.substr(0, size));
      } else {
        take(KeyPrefix{words[0], words[1]}, std::string_view());
      }
      state.remove_prefix(bytes);
    }
    return Status::OK();
  }

  // The slots of each group side by side.
  void Order() {
    if (is_ordered_) return;
    by_group_.SetSize(static_cast<size_t>(BeginSideBySide(counts_, num_groups(), &ends_)));
    for (size_t slot = 0; slot < slots_.size(); ++slot) {
      if (slots_[slot].group <= first_group_) continue;  // free, or of a finished group
      by_group_[static_cast<size_t>(ends_[slots_[slot].group - first_group_ - 1]++)] =
          static_cast<uint32_t>(slot);
    }
    is_ordered_ = true;
  }

  // Room for so many values, should all be new, and for so many bytes of long ones.
  Status Reserve(size_t values, size_t bytes) {
    is_ordered_ = false;
    ARROW_RETURN_NOT_OK(by_group_.Reserve(entries_ + values));
    if (entries_ + values >= UINT32_MAX / 3)
      return OutOfMemoryError("more different values than 32 bits count");
    if (long_bytes_.size() + bytes > long_bytes_.capacity()) ARROW_RETURN_NOT_OK(GrowLongBytes(bytes));
    const size_t least = (entries_ + values) / 2 * 3 + 16;
    return least <= slots_.size() ? Status::OK() : Rehash(std::bit_ceil(least));
  }

  // What finished groups have left goes on this occasion.
  Status GrowLongBytes(size_t more) {
    size_t live = 0;
    for (const Slot& slot : slots_) {
      if (slot.group != 0 && slot.at != kShort) live += sizeof(uint64_t) + LongKey(slot).size();
    }
    GroupVector<uint8_t> bytes(pool_);
    if (!bytes.Reserve(live + std::max(more, live / 2)).ok()) ARROW_RETURN_NOT_OK(bytes.Reserve(live + more));
    for (Slot& slot : slots_) {
      if (slot.group != 0 && slot.at != kShort) slot.at = AppendLong(&bytes, LongKey(slot));
    }
    long_bytes_ = std::move(bytes);
    return Status::OK();
  }

  Status Rehash(size_t capacity) {
    GroupVector<Slot> old(pool_);
    ARROW_RETURN_NOT_OK(old.Resize(capacity));
    std::swap(old, slots_);
    for (const Slot& slot : old) {
      if (slot.group == 0) continue;
      size_t i = Home(slot, LongKey(slot));
      while (slots_[i].group != 0) i = (i + 1) & (capacity - 1);
      slots_[i] = slot;
    }
    return Status::OK();
  }

  GroupVector<int64_t> counts_;
  GroupVector<Slot> slots_;
  size_t entries_ = 0;
  size_t stale_ = 0;          // entries of finished groups
  uint64_t first_group_ = 0;  // the group 0 of now
  GroupVector<uint8_t> long_bytes_;
  // Where the slots of each group end in by_group_; only good while is_ordered_.
  GroupVector<int64_t> ends_;
  GroupVector<uint32_t> by_group_;
  bool is_ordered_ = false;
};

}  // namespace

AggregatePtr MakeUnique(const AggregateInit& init) { return std::make_unique<Unique>(init); }

}  // namespace partita
