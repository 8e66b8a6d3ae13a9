// min and max of numbers and times.
#include <arrow/array.h>

#include <bit>
#include <cmath>
#include <limits>

#include "partita/operator/aggregate_kinds.h"
#include "partita/operator/aggregate_state.h"

namespace partita {
namespace {

// Values as unsigned integers of the same order, and back.
template <typename T>
struct IntegerOrder {
  using Value = T;
  using Key = std::make_unsigned_t<T>;
  static constexpr Key kSign = std::is_signed_v<T> ? Key{1} << (8 * sizeof(T) - 1) : Key{0};
  static Key ToKey(Value value) { return static_cast<Key>(static_cast<Key>(value) ^ kSign); }
  static Value ToValue(Key key) { return static_cast<Value>(static_cast<Key>(key ^ kSign)); }
};

// Bits of floats: -0 below 0, all NaN one value above infinity.
template <typename T, T kInfinity, T kNaN>
struct FloatOrder {
  using Value = T;
  using Key = T;
  static constexpr Key kSign = static_cast<Key>(Key{1} << (8 * sizeof(T) - 1));
  static Key ToKey(Value bits) {
    if (static_cast<Key>(bits & ~kSign) > kInfinity) bits = kNaN;
    return static_cast<Key>(bits & kSign ? ~bits : bits | kSign);
  }
  static Value ToValue(Key key) { return static_cast<Value>(key & kSign ? key ^ kSign : ~key); }
};
using HalfOrder = FloatOrder<uint16_t, 0x7c00, 0x7e00>;
using SingleOrder = FloatOrder<uint32_t, 0x7f800000, 0x7fc00000>;
using DoubleOrder = FloatOrder<uint64_t, 0x7ff0000000000000, 0x7ff8000000000000>;

struct DecimalOrder {
  struct Value {
    uint64_t low, high;
  };
  using Key = unsigned __int128;
  static constexpr uint64_t kSign = uint64_t{1} << 63;
  static Key ToKey(Value value) { return static_cast<Key>(value.high ^ kSign) << 64 | value.low; }
  static Value ToValue(Key key) {
    return {static_cast<uint64_t>(key), static_cast<uint64_t>(key >> 64) ^ kSign};
  }
};

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
    return MakeOf(count, [](int64_t g) { return static_cast<size_t>(g); }, pool);
  }

  void Forget(uint32_t count) override {
    greatest_.DropFront(count);
    seen_.DropFront(count);
  }

 public:
  Types state_types() const override { return {output_}; }  // a result is a state

 protected:
  Result<Arrays> States(Groups groups, arrow::MemoryPool* pool) override {
    ARROW_ASSIGN_OR_RAISE(
        auto values, MakeOf(static_cast<int64_t>(groups.size()),
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

template <typename T>
AggregatePtr MakeOf(const AggregateInit& init) {
  return std::make_unique<Extreme<IntegerOrder<T>>>(init);
}

}  // namespace

AggregatePtr MakeExtreme(const AggregateInit& init) {
  switch (init.input->id()) {
    case arrow::Type::INT8:
      return MakeOf<int8_t>(init);
    case arrow::Type::UINT8:
      return MakeOf<uint8_t>(init);
    case arrow::Type::INT16:
      return MakeOf<int16_t>(init);
    case arrow::Type::UINT16:
      return MakeOf<uint16_t>(init);
    case arrow::Type::INT32:
    case arrow::Type::DATE32:
    case arrow::Type::TIME32:
    case arrow::Type::INTERVAL_MONTHS:
    case arrow::Type::DECIMAL32:
      return MakeOf<int32_t>(init);
    case arrow::Type::UINT32:
      return MakeOf<uint32_t>(init);
    case arrow::Type::INT64:
    case arrow::Type::DATE64:
    case arrow::Type::TIME64:
    case arrow::Type::TIMESTAMP:
    case arrow::Type::DURATION:
    case arrow::Type::DECIMAL64:
      return MakeOf<int64_t>(init);
    case arrow::Type::UINT64:
      return MakeOf<uint64_t>(init);
    case arrow::Type::HALF_FLOAT:
      return std::make_unique<Extreme<HalfOrder>>(init);
    case arrow::Type::FLOAT:
      return std::make_unique<Extreme<SingleOrder>>(init);
    case arrow::Type::DOUBLE:
      return std::make_unique<Extreme<DoubleOrder>>(init);
    case arrow::Type::DECIMAL128:
      return std::make_unique<Extreme<DecimalOrder>>(init);
    default:
      return nullptr;
  }
}

}  // namespace partita
