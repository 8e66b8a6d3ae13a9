// What the aggregates are made of: vectors of states in the budget, rows that are not null, and the base
// class that checks calls and numbers groups. Private to the aggregates; who groups rows makes use of
// GroupVector too.
#pragma once

#include <arrow/array.h>
#include <arrow/type.h>
#include <arrow/util/bit_util.h>

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

#include "partita/memory/budget.h"
#include "partita/operator/aggregate/aggregate.h"

namespace partita {

// One value a group (or an entry) in memory of a pool.
template <typename T>
class GroupVector {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  explicit GroupVector(std::shared_ptr<BudgetPool> pool) : pool_(std::move(pool)) {}
  GroupVector(GroupVector&& other) noexcept { Swap(other); }
  GroupVector& operator=(GroupVector&& other) noexcept {
    Swap(other);
    return *this;
  }
  GroupVector(const GroupVector&) = delete;
  GroupVector& operator=(const GroupVector&) = delete;
  ~GroupVector() {
    if (memory_ != nullptr) pool_->Free(reinterpret_cast<uint8_t*>(memory_), size_bytes(), kAlignment);
  }

  // May be refused; then nothing changes.
  Status Reserve(size_t capacity) {
    if (dropped_ + capacity > capacity_) MoveToFront();
    if (capacity <= capacity_) return Status::OK();
    if (Reallocate(std::max(capacity, capacity_ + capacity_ / 2)).ok()) return Status::OK();
    return Reallocate(capacity);
  }
  Status Resize(size_t size) {  // new values are zero
    ARROW_RETURN_NOT_OK(Reserve(size));
    if (size > size_) std::memset(static_cast<void*>(end()), 0, (size - size_) * sizeof(T));
    size_ = size;
    return Status::OK();
  }
  // Both within what was reserved. Values that SetSize adds are not set.
  void PushBack(const T& value) { begin()[size_++] = value; }
  void SetSize(size_t size) { size_ = size; }
  // Moves what is left only when that is less than what is gone.
  void DropFront(size_t count) {
    count = std::min(count, size_);
    dropped_ += count;
    size_ -= count;
    if (dropped_ >= size_) MoveToFront();
  }

  T& operator[](size_t i) { return begin()[i]; }
  const T& operator[](size_t i) const { return begin()[i]; }
  T* begin() { return memory_ + dropped_; }
  T* end() { return begin() + size_; }
  const T* begin() const { return memory_ + dropped_; }
  const T* end() const { return begin() + size_; }
  size_t size() const { return size_; }
  size_t capacity() const { return capacity_ - dropped_; }
  int64_t size_bytes() const { return static_cast<int64_t>(capacity_ * sizeof(T)); }

 private:
  static constexpr int64_t kAlignment = 64;

  void MoveToFront() {
    if (dropped_ > 0 && size_ > 0) std::memmove(static_cast<void*>(memory_), begin(), size_ * sizeof(T));
    dropped_ = 0;
  }
  Status Reallocate(size_t capacity) {
    auto* bytes = reinterpret_cast<uint8_t*>(memory_);
    const auto new_bytes = static_cast<int64_t>(capacity * sizeof(T));
    ARROW_RETURN_NOT_OK(memory_ == nullptr ? pool_->Allocate(new_bytes, kAlignment, &bytes)
                                           : pool_->Reallocate(size_bytes(), new_bytes, kAlignment, &bytes));
    memory_ = reinterpret_cast<T*>(bytes);
    capacity_ = capacity;
    return Status::OK();
  }
  void Swap(GroupVector& other) {
    std::swap(pool_, other.pool_);
    std::swap(memory_, other.memory_);
    std::swap(dropped_, other.dropped_);
    std::swap(size_, other.size_);
    std::swap(capacity_, other.capacity_);
  }

  std::shared_ptr<BudgetPool> pool_;
  T* memory_ = nullptr;
  size_t dropped_ = 0, size_ = 0, capacity_ = 0;  // dropped_: values in front that are gone
};

// Where the values of each group begin, were those of all groups side by side; returns how many there are.
inline int64_t BeginSideBySide(const GroupVector<int64_t>& counts, uint32_t num_groups,
                               GroupVector<int64_t>* begins) {
  int64_t at = 0;
  for (uint32_t g = 0; g < num_groups; ++g) {  // a refused Grow may have left more counts than begins
    (*begins)[g] = at;
    at += counts[g];
  }
  return at;
}

// States of many groups lie far apart: fetches those of a row to come while others are worked on. Always
// inlined: g++ drops calls that do nothing but fetch.
template <typename... States>
[[gnu::always_inline]] inline void FetchAhead(std::span<const uint32_t> groups, int64_t row,
                                              const GroupVector<States>&... states) {
  constexpr int64_t kRows = 16;
  if (row + kRows >= static_cast<int64_t>(groups.size())) return;
  const uint32_t group = groups[static_cast<size_t>(row + kRows)];
  (__builtin_prefetch(&states[group], 1), ...);
}

// Which rows of an array are not null, also where that is not said by a bitmap of its own (dictionaries,
// unions, run ends).
class ValidRows {
 public:
  static Result<ValidRows> Of(const arrow::Array& array, arrow::MemoryPool* pool);
  // The rows of `array` that are true. It has no nulls, and outlives the result.
  static ValidRows True(const arrow::Array& array);
  bool all() const { return bits_ == nullptr; }
  bool operator[](int64_t row) const {
    return arrow::bit_util::GetBit(bits_, offset_ + row);
  }  // unless all()

 private:
  const uint8_t* bits_ = nullptr;
  int64_t offset_ = 0;
  std::shared_ptr<arrow::Buffer> made_;
};

// Runs `rows` with a type whose value says at compile time whether rows have to be asked.
template <typename Rows>
void WithNulls(const ValidRows& valid, Rows rows) {
  if (valid.all()) {
    rows(std::false_type());
  } else {
    rows(std::true_type());
  }
}

class AggregateBase : public Aggregate {
 public:
  AggregateBase(std::shared_ptr<arrow::DataType> input, std::shared_ptr<arrow::DataType> output,
                std::shared_ptr<BudgetPool> pool);
  Status Update(const arrow::Array* column, std::span<const uint32_t> groups, uint32_t num_groups) final;
  Result<std::shared_ptr<arrow::Array>> Finish(uint32_t count, arrow::MemoryPool* pool) final;
  std::vector<std::shared_ptr<arrow::DataType>> state_types() const override { return {}; }
  Result<std::vector<std::shared_ptr<arrow::Array>>> Export(std::span<const uint32_t> groups,
                                                            arrow::MemoryPool* pool) final;
  Status Merge(const std::vector<std::shared_ptr<arrow::Array>>& states, std::span<const uint32_t> groups,
               uint32_t num_groups) final;

 protected:
  using ArrayPtr = std::shared_ptr<arrow::Array>;
  using Arrays = std::vector<ArrayPtr>;
  using Types = std::vector<std::shared_ptr<arrow::DataType>>;
  using Groups = std::span<const uint32_t>;

  // Makes room for the states of `num_groups` groups. May leave part of it where memory is refused.
  virtual Status Grow(uint32_t num_groups) = 0;
  // There is room for all groups. Takes all rows or none.
  virtual Status Add(const arrow::Array* column, Groups groups) = 0;
  virtual Result<ArrayPtr> Make(uint32_t count, arrow::MemoryPool* pool) = 0;
  virtual void Forget(uint32_t count) = 0;
  // Of who has state_types: the states of groups that there are, and states as rows, like Add.
  virtual Result<Arrays> States(Groups groups, arrow::MemoryPool* pool);
  virtual Status AddStates(const Arrays& states, Groups groups);

  uint32_t num_groups() const { return num_groups_; }

  const std::shared_ptr<arrow::DataType> input_, output_;
  const std::shared_ptr<BudgetPool> pool_;

 private:
  Status CheckGroups(Groups groups, uint32_t num_groups) const;

  uint32_t num_groups_ = 0;
};

// The state of each of `groups` in the bytes that it has in memory. `type` is as wide as T.
template <typename T>
Result<std::shared_ptr<arrow::Array>> GatherStates(const std::shared_ptr<arrow::DataType>& type,
                                                   const GroupVector<T>& states,
                                                   std::span<const uint32_t> groups,
                                                   arrow::MemoryPool* pool) {
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> buffer,
                        arrow::AllocateBuffer(static_cast<int64_t>(groups.size() * sizeof(T)), pool));
  uint8_t* out = buffer->mutable_data();
  for (size_t i = 0; i < groups.size(); ++i) std::memcpy(out + i * sizeof(T), &states[groups[i]], sizeof(T));
  return arrow::MakeArray(
      arrow::ArrayData::Make(type, static_cast<int64_t>(groups.size()), {nullptr, std::move(buffer)}, 0));
}

// The states in a column that GatherStates made. They may stand anywhere, not only where a T may.
template <typename T>
class StateColumn {
 public:
  explicit StateColumn(const arrow::Array& column)
      : bytes_(column.data()->buffers[1] == nullptr
                   ? nullptr
                   : column.data()->buffers[1]->data() + column.offset() * static_cast<int64_t>(sizeof(T))) {}
  T operator[](size_t row) const {
    T state;
    std::memcpy(&state, bytes_ + row * sizeof(T), sizeof(T));
    return state;
  }

 private:
  const uint8_t* bytes_;
};

// How many values each group has; for who only asks whether there are any, a byte a group.
class GroupCounts {
 public:
  GroupCounts(bool only_any, const std::shared_ptr<BudgetPool>& pool)
      : only_any_(only_any), counts_(pool), any_(pool) {}

  Status Resize(size_t size) { return only_any_ ? any_.Resize(size) : counts_.Resize(size); }
  void DropFront(size_t count) {
    counts_.DropFront(count);
    any_.DropFront(count);
  }
  int64_t size_bytes() const { return counts_.size_bytes() + any_.size_bytes(); }

  void Add(uint32_t group, int64_t count) {
    if (only_any_) {
      any_[group] |= static_cast<uint8_t>(count != 0);
    } else {
      counts_[group] += count;
    }
  }
  // Where only_any: 1 for many.
  int64_t operator[](size_t group) const { return only_any_ ? any_[group] : counts_[group]; }

  [[gnu::always_inline]] void FetchAhead(std::span<const uint32_t> groups, int64_t row) const {
    if (only_any_) {
      partita::FetchAhead(groups, row, any_);
    } else {
      partita::FetchAhead(groups, row, counts_);
    }
  }

  std::shared_ptr<arrow::DataType> state_type() const { return only_any_ ? arrow::uint8() : arrow::int64(); }
  Result<std::shared_ptr<arrow::Array>> Export(std::span<const uint32_t> groups,
                                               arrow::MemoryPool* pool) const {
    return only_any_ ? GatherStates(arrow::uint8(), any_, groups, pool)
                     : GatherStates(arrow::int64(), counts_, groups, pool);
  }
  void Merge(const arrow::Array& states, std::span<const uint32_t> groups) {
    if (only_any_) {
      const StateColumn<uint8_t> any(states);
      for (size_t i = 0; i < groups.size(); ++i) any_[groups[i]] |= any[i];
    } else {
      const StateColumn<int64_t> counts(states);
      for (size_t i = 0; i < groups.size(); ++i) counts_[groups[i]] += counts[i];
    }
  }

 private:
  bool only_any_;
  GroupVector<int64_t> counts_;
  GroupVector<uint8_t> any_;
};

// `values` as an array of `type`, null where `is_null(i)`.
Result<std::shared_ptr<arrow::Array>> ArrayOf(const std::shared_ptr<arrow::DataType>& type, int64_t length,
                                              std::shared_ptr<arrow::Buffer> values, arrow::MemoryPool* pool,
                                              const std::function<bool(int64_t)>& is_null);

// `value(i)` for all i, null where is_null(i).
template <typename T, typename Value, typename IsNull>
Result<std::shared_ptr<arrow::Array>> BuildArray(const std::shared_ptr<arrow::DataType>& type, int64_t length,
                                                 arrow::MemoryPool* pool, Value value, IsNull is_null) {
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> buffer,
                        arrow::AllocateBuffer(length * static_cast<int64_t>(sizeof(T)), pool));
  auto* out = reinterpret_cast<T*>(buffer->mutable_data());
  for (int64_t i = 0; i < length; ++i) out[i] = is_null(i) ? T() : value(i);
  return ArrayOf(type, length, std::move(buffer), pool, is_null);
}

}  // namespace partita
