// min and max of numbers and times.
#include <arrow/array.h>

#include <bit>
#include <cmath>
#include <limits>

#include "partita/operator/aggregate/kinds.h"
#include "partita/operator/aggregate/order.h"
#include "partita/operator/aggregate/state.h"

namespace partita {
namespace {

// A state is the greatest key; for min of inverted keys. So zero, what new states are, loses against all.
template <typename Order>
class Extreme final : public AggregateBase {
 public:
  explicit Extreme(const AggregateInit& init)
      : AggregateBase(init.input, init.output, init.pool),
        flip_(init.function == AggregateFunction::kMin ? static_cast<Key>(~Key{0}) : Key{0}),
        greatest_(init.pool),
        seen_(init.pool) {}
  int64_t size_bytes() const override { return greatest_.size_bytes() + seen_.size_bytes(); }

 protected:
  Status Grow(uint32_t num_groups) override {
    ARROW_RETURN_NOT_OK(greatest_.Resize(num_groups));
    return seen_.Resize(num_groups);
  }

  Status Add(const arrow::Array* column, Groups groups) override {
    ARROW_ASSIGN_OR_RAISE(const auto valid, ValidRows::Of(*column, pool_.get()));
    const auto* values = column->data()->template GetValues<Value>(1);
    WithNulls(valid, [&](auto nulls) {
      for (size_t i = 0; i < groups.size(); ++i) {
        FetchAhead(groups, static_cast<int64_t>(i), greatest_, seen_);
        if (nulls && !valid[static_cast<int64_t>(i)]) continue;
        Key& state = greatest_[groups[i]];
        state = std::max(state, static_cast<Key>(Order::ToKey(values[i]) ^ flip_));
        seen_[groups[i]] = 1;
      }
    });
    return Status::OK();
  }

  Result<ArrayPtr> Make(uint32_t count, arrow::MemoryPool* pool) override {
    return MakeOf(
        count, [](int64_t g) { return static_cast<size_t>(g); }, pool);
  }

  void Forget(uint32_t count) override {
    greatest_.DropFront(count);
    seen_.DropFront(count);
  }

 public:
  Types state_types() const override { return {output_}; }  // a result is a state

 protected:
  Result<Arrays> States(Groups groups, arrow::MemoryPool* pool) override {
    ARROW_ASSIGN_OR_RAISE(auto values,
                          MakeOf(
                              static_cast<int64_t>(groups.size()),
                              [&](int64_t i) { return size_t{groups[static_cast<size_t>(i)]}; }, pool));
    return Arrays{std::move(values)};
  }
  Status AddStates(const Arrays& states, Groups groups) override { return Add(states[0].get(), groups); }

 private:
  using Value = typename Order::Value;
  using Key = typename Order::Key;

  template <typename GroupOf>
  Result<ArrayPtr> MakeOf(int64_t count, GroupOf group_of, arrow::MemoryPool* pool) const {
    return BuildArray<Value>(
        output_, count, pool,
        [&](int64_t i) { return Order::ToValue(static_cast<Key>(greatest_[group_of(i)] ^ flip_)); },
        [&](int64_t i) { return seen_[group_of(i)] == 0; });
  }

  const Key flip_;
  GroupVector<Key> greatest_;
  GroupVector<uint8_t> seen_;
};

}  // namespace

AggregatePtr MakeExtreme(const AggregateInit& init) {
  return WithOrder(init.input->id(), AggregatePtr(), [&](auto order) -> AggregatePtr {
    return std::make_unique<Extreme<decltype(order)>>(init);
  });
}

}  // namespace partita
