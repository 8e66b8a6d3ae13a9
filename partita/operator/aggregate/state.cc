#include "partita/operator/aggregate/state.h"

#include <arrow/array.h>
#include <arrow/buffer.h>
#include <arrow/extension_type.h>

#include "partita/base/all_below.h"

namespace partita {
namespace {

bool IsNull(const arrow::Array& array, int64_t row) {
  if (array.IsNull(row)) return true;
  if (array.type_id() != arrow::Type::DICTIONARY) return false;
  const auto& typed = static_cast<const arrow::DictionaryArray&>(array);
  return typed.dictionary()->IsNull(typed.GetValueIndex(row));
}

bool SaysItWithABitmap(const arrow::Array& array) {
  switch (array.type_id()) {
    case arrow::Type::NA:
    case arrow::Type::SPARSE_UNION:
    case arrow::Type::DENSE_UNION:
    case arrow::Type::RUN_END_ENCODED:
      return false;
    case arrow::Type::DICTIONARY:
      return static_cast<const arrow::DictionaryArray&>(array).dictionary()->null_count() == 0;
    default:
      return true;
  }
}

}  // namespace

Result<ValidRows> ValidRows::Of(const arrow::Array& array, arrow::MemoryPool* pool) {
  if (array.type_id() == arrow::Type::EXTENSION) {
    return Of(*static_cast<const arrow::ExtensionArray&>(array).storage(), pool);
  }
  ValidRows rows;
  if (SaysItWithABitmap(array)) {
    if (array.null_count() == 0) return rows;
    rows.bits_ = array.null_bitmap_data();
    rows.offset_ = array.offset();
    return rows;
  }
  ARROW_ASSIGN_OR_RAISE(rows.made_, arrow::AllocateEmptyBitmap(array.length(), pool));
  uint8_t* bits = rows.made_->mutable_data();
  for (int64_t row = 0; row < array.length(); ++row) {
    if (!IsNull(array, row)) arrow::bit_util::SetBit(bits, row);
  }
  rows.bits_ = bits;
  return rows;
}

ValidRows ValidRows::True(const arrow::Array& array) {
  ValidRows rows;
  rows.bits_ = array.data()->buffers[1]->data();
  rows.offset_ = array.offset();
  return rows;
}

AggregateBase::AggregateBase(std::shared_ptr<arrow::DataType> input, std::shared_ptr<arrow::DataType> output,
                             std::shared_ptr<BudgetPool> pool)
    : input_(std::move(input)), output_(std::move(output)), pool_(std::move(pool)) {}

Status AggregateBase::Update(const arrow::Array* column, std::span<const uint32_t> groups,
                             uint32_t num_groups) {
  if ((column == nullptr) != (input_ == nullptr))
    return BugError("an aggregate gets no column, or one too many");
  if (column != nullptr) {
    if (column->length() != static_cast<int64_t>(groups.size())) {
      return BugError("an aggregate gets another number of values than of groups");
    }
    if (!column->type()->Equals(*input_)) return BugError("an aggregate gets values of another type");
  }
  ARROW_RETURN_NOT_OK(CheckGroups(groups, num_groups));
  num_groups = std::max(num_groups, num_groups_);
  ARROW_RETURN_NOT_OK(Grow(num_groups));
  if (!groups.empty()) ARROW_RETURN_NOT_OK(Add(column, groups));
  num_groups_ = num_groups;
  return Status::OK();
}

Status AggregateBase::CheckGroups(Groups groups, uint32_t num_groups) const {
  return AllBelow(groups.data(), groups.size(), num_groups)
             ? Status::OK()
             : BugError("an aggregate gets a group past the last one");
}

Result<AggregateBase::Arrays> AggregateBase::Export(std::span<const uint32_t> groups,
                                                    arrow::MemoryPool* pool) {
  ARROW_RETURN_NOT_OK(CheckGroups(groups, num_groups_));
  return States(groups, pool);
}

Status AggregateBase::Merge(const Arrays& states, std::span<const uint32_t> groups, uint32_t num_groups) {
  const auto types = state_types();
  if (states.size() != types.size()) return BugError("an aggregate gets another number of states");
  for (size_t i = 0; i < states.size(); ++i) {
    if (states[i]->length() != static_cast<int64_t>(groups.size()) || !states[i]->type()->Equals(*types[i]))
      return BugError("an aggregate gets states of another type or number");
  }
  ARROW_RETURN_NOT_OK(CheckGroups(groups, num_groups));
  num_groups = std::max(num_groups, num_groups_);
  ARROW_RETURN_NOT_OK(Grow(num_groups));
  if (!groups.empty()) ARROW_RETURN_NOT_OK(AddStates(states, groups));
  num_groups_ = num_groups;
  return Status::OK();
}

Result<AggregateBase::Arrays> AggregateBase::States(Groups, arrow::MemoryPool*) {
  return BugError("an aggregate without states is asked for them");
}

Status AggregateBase::AddStates(const Arrays&, Groups) {
  return BugError("an aggregate without states gets some");
}

Result<std::shared_ptr<arrow::Array>> AggregateBase::Finish(uint32_t count, arrow::MemoryPool* pool) {
  if (count > num_groups_) return BugError("an aggregate is asked for more groups than it has");
  ARROW_ASSIGN_OR_RAISE(auto result, Make(count, pool));
  Forget(count);
  num_groups_ -= count;
  return result;
}

Result<std::shared_ptr<arrow::Array>> ArrayOf(const std::shared_ptr<arrow::DataType>& type, int64_t length,
                                              std::shared_ptr<arrow::Buffer> values, arrow::MemoryPool* pool,
                                              const std::function<bool(int64_t)>& is_null) {
  int64_t nulls = 0;
  for (int64_t i = 0; i < length; ++i) nulls += is_null(i);
  std::shared_ptr<arrow::Buffer> validity;
  if (nulls > 0) {
    ARROW_ASSIGN_OR_RAISE(validity, arrow::AllocateEmptyBitmap(length, pool));
    for (int64_t i = 0; i < length; ++i) {
      if (!is_null(i)) arrow::bit_util::SetBit(validity->mutable_data(), i);
    }
  }
  return arrow::MakeArray(
      arrow::ArrayData::Make(type, length, {std::move(validity), std::move(values)}, nulls));
}

}  // namespace partita
