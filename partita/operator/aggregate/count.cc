// count, any, all; min and max of bool.
#include <arrow/array.h>

#include "partita/operator/aggregate/kinds.h"
#include "partita/operator/aggregate/state.h"

namespace partita {
namespace {

class Count final : public AggregateBase {
 public:
  explicit Count(const AggregateInit& init)
      : AggregateBase(init.input, init.output, init.pool), counts_(init.pool) {}
  int64_t size_bytes() const override { return counts_.size_bytes(); }

 protected:
  Status Grow(uint32_t num_groups) override { return counts_.Resize(num_groups); }

  Status Add(const arrow::Array* column, Groups groups) override {
    ValidRows valid;
    if (column != nullptr) {
      ARROW_ASSIGN_OR_RAISE(valid, ValidRows::Of(*column, pool_.get()));
    }
    WithNulls(valid, [&](auto nulls) {
      for (size_t i = 0; i < groups.size(); ++i) {
        FetchAhead(groups, static_cast<int64_t>(i), counts_);
        counts_[groups[i]] += nulls ? valid[static_cast<int64_t>(i)] : 1;
      }
    });
    return Status::OK();
  }

  Result<ArrayPtr> Make(uint32_t count, arrow::MemoryPool* pool) override {
    return BuildArray<int64_t>(
        output_, count, pool, [&](int64_t g) { return counts_[static_cast<size_t>(g)]; },
        [](int64_t) { return false; });
  }
  void Forget(uint32_t count) override { counts_.DropFront(count); }

 public:
  Types state_types() const override { return {arrow::int64()}; }

 protected:
  Result<Arrays> States(Groups groups, arrow::MemoryPool* pool) override {
    ARROW_ASSIGN_OR_RAISE(auto counts, GatherStates(arrow::int64(), counts_, groups, pool));
    return Arrays{std::move(counts)};
  }
  Status AddStates(const Arrays& states, Groups groups) override {
    const StateColumn<int64_t> counts(*states[0]);
    for (size_t i = 0; i < groups.size(); ++i) counts_[groups[i]] += counts[i];
    return Status::OK();
  }

 private:
  GroupVector<int64_t> counts_;
};

class AnyAll final : public AggregateBase {
 public:
  explicit AnyAll(const AggregateInit& init)
      : AggregateBase(init.input, init.output, init.pool),
        any_(init.function == AggregateFunction::kAny || init.function == AggregateFunction::kMax),
        seen_(init.pool) {}
  int64_t size_bytes() const override { return seen_.size_bytes(); }

 protected:
  Status Grow(uint32_t num_groups) override { return seen_.Resize(num_groups); }

  Status Add(const arrow::Array* column, Groups groups) override {
    const auto& values = static_cast<const arrow::BooleanArray&>(*column);
    ARROW_ASSIGN_OR_RAISE(const auto valid, ValidRows::Of(values, pool_.get()));
    WithNulls(valid, [&](auto nulls) {
      for (size_t i = 0; i < groups.size(); ++i) {
        const auto row = static_cast<int64_t>(i);
        if (nulls && !valid[row]) continue;
        seen_[groups[i]] |= values.Value(row) ? kTrue : kFalse;
      }
    });
    return Status::OK();
  }

  Result<ArrayPtr> Make(uint32_t count, arrow::MemoryPool* pool) override {
    ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> bits, arrow::AllocateEmptyBitmap(count, pool));
    for (uint32_t g = 0; g < count; ++g) {
      const bool value = any_ ? (seen_[g] & kTrue) != 0 : seen_[g] == kTrue;
      if (value) arrow::bit_util::SetBit(bits->mutable_data(), g);
    }
    return ArrayOf(output_, count, std::move(bits), pool,
                   [&](int64_t g) { return seen_[static_cast<size_t>(g)] == 0; });
  }
  void Forget(uint32_t count) override { seen_.DropFront(count); }

 public:
  Types state_types() const override { return {arrow::uint8()}; }

 protected:
  Result<Arrays> States(Groups groups, arrow::MemoryPool* pool) override {
    ARROW_ASSIGN_OR_RAISE(auto seen, GatherStates(arrow::uint8(), seen_, groups, pool));
    return Arrays{std::move(seen)};
  }
  Status AddStates(const Arrays& states, Groups groups) override {
    const StateColumn<uint8_t> seen(*states[0]);
    for (size_t i = 0; i < groups.size(); ++i) seen_[groups[i]] |= seen[i];
    return Status::OK();
  }

 private:
  static constexpr uint8_t kTrue = 1, kFalse = 2;
  const bool any_;
  GroupVector<uint8_t> seen_;  // which values
};

}  // namespace

AggregatePtr MakeCount(const AggregateInit& init) { return std::make_unique<Count>(init); }
AggregatePtr MakeAnyAll(const AggregateInit& init) { return std::make_unique<AnyAll>(init); }

}  // namespace partita
