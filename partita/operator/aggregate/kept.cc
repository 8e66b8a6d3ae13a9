// largest and smallest: the first values of a group in their order.
#include <arrow/array.h>

#include <algorithm>

#include "partita/operator/aggregate/doubles.h"
#include "partita/operator/aggregate/kinds.h"
#include "partita/operator/aggregate/order.h"

namespace partita {
namespace {

// Greatest keys first; of inverted keys for smallest.
template <typename Order>
class Kept final : public AggregateBase {
 public:
  explicit Kept(const AggregateInit& init)
      : AggregateBase(init.input, init.output, init.pool),
        flip_(init.function == AggregateFunction::kSmallest ? static_cast<Key>(~Key{0}) : Key{0}),
        most_(static_cast<uint32_t>(init.number)),
        counts_(init.pool),
        keys_(init.pool) {}
  int64_t size_bytes() const override { return counts_.size_bytes() + keys_.size_bytes(); }
  Types state_types() const override { return {arrow::binary()}; }

 protected:
  Status Grow(uint32_t num_groups) override {
    ARROW_RETURN_NOT_OK(counts_.Resize(num_groups));
    return keys_.Resize(size_t{num_groups} * most_);
  }

  Status Add(const arrow::Array* column, Groups groups) override {
    ARROW_ASSIGN_OR_RAISE(const auto valid, ValidRows::Of(*column, pool_.get()));
    const auto* values = column->data()->template GetValues<Value>(1);
    WithNulls(valid, [&](auto nulls) {
      for (size_t i = 0; i < groups.size(); ++i) {
        FetchAhead(groups, static_cast<int64_t>(i), counts_);
        if (i + 16 < groups.size()) __builtin_prefetch(KeysOf(groups[i + 16]), 1);
        if (nulls && !valid[static_cast<int64_t>(i)]) continue;
        Put(groups[i], static_cast<Key>(Order::ToKey(values[i]) ^ flip_));
      }
    });
    return Status::OK();
  }

  Result<Arrays> States(Groups groups, arrow::MemoryPool* pool) override {
    const auto size_of = [&](int64_t i) { return counts_[groups[static_cast<size_t>(i)]] * sizeof(Key); };
    const auto write = [&](int64_t i, uint8_t* out) {
      if (size_of(i) > 0) std::memcpy(out, KeysOf(groups[static_cast<size_t>(i)]), size_of(i));
    };
    ARROW_ASSIGN_OR_RAISE(auto states,
                          BuildBinary(static_cast<int64_t>(groups.size()), size_of, write, pool));
    return Arrays{std::move(states)};
  }

  Status AddStates(const Arrays& states, Groups groups) override {
    const auto& lists = static_cast<const arrow::BinaryArray&>(*states[0]);
    for (size_t i = 0; i < groups.size(); ++i) {
      const auto list = lists.GetView(static_cast<int64_t>(i));
      for (size_t at = 0; at + sizeof(Key) <= list.size(); at += sizeof(Key)) {
        Key key;
        std::memcpy(&key, list.data() + at, sizeof(Key));
        Put(groups[i], key);
      }
    }
    return Status::OK();
  }

  Result<ArrayPtr> Make(uint32_t count, arrow::MemoryPool* pool) override {
    ARROW_ASSIGN_OR_RAISE(
        std::shared_ptr<arrow::Buffer> offset_buffer,
        arrow::AllocateBuffer((int64_t{count} + 1) * static_cast<int64_t>(sizeof(int32_t)), pool));
    auto* offsets = reinterpret_cast<int32_t*>(offset_buffer->mutable_data());
    int64_t values = 0;
    for (uint32_t g = 0; g < count; ++g) {
      offsets[g] = static_cast<int32_t>(values);
      values += counts_[g];
      if (values > INT32_MAX) return OutOfMemoryError("lists of more than 2^31 values together");
    }
    offsets[count] = static_cast<int32_t>(values);
    ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> buffer,
                          arrow::AllocateBuffer(values * static_cast<int64_t>(sizeof(Value)), pool));
    auto* out = reinterpret_cast<Value*>(buffer->mutable_data());
    for (uint32_t g = 0; g < count; ++g) {
      const Key* keys = KeysOf(g);
      for (uint32_t i = 0; i < counts_[g]; ++i) *out++ = Order::ToValue(static_cast<Key>(keys[i] ^ flip_));
    }
    const auto items =
        arrow::MakeArray(arrow::ArrayData::Make(input_, values, {nullptr, std::move(buffer)}, 0));
    return std::make_shared<arrow::ListArray>(output_, count, std::move(offset_buffer), items);
  }

  void Forget(uint32_t count) override {
    counts_.DropFront(count);
    keys_.DropFront(size_t{count} * most_);
  }

 private:
  using Value = typename Order::Value;
  using Key = typename Order::Key;

  Key* KeysOf(uint32_t group) { return keys_.begin() + size_t{group} * most_; }

  void Put(uint32_t group, Key key) {
    Key* keys = KeysOf(group);
    uint32_t& count = counts_[group];
    if (count == most_ && key <= keys[most_ - 1]) return;
    uint32_t at = std::min(count, most_ - 1);
    for (; at > 0 && keys[at - 1] < key; --at) keys[at] = keys[at - 1];
    keys[at] = key;
    count = std::min(count + 1, most_);
  }

  const Key flip_;
  const uint32_t most_;
  GroupVector<uint32_t> counts_;
  GroupVector<Key> keys_;  // most_ a group
};

}  // namespace

AggregatePtr MakeKept(const AggregateInit& init) {
  return WithOrder(init.input->id(), AggregatePtr(),
                   [&](auto order) -> AggregatePtr { return std::make_unique<Kept<decltype(order)>>(init); });
}

}  // namespace partita
