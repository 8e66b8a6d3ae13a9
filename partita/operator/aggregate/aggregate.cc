#include "partita/operator/aggregate/aggregate.h"

#include <arrow/array.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>
#include <arrow/type_traits.h>

#include "partita/operator/aggregate/kinds.h"

namespace partita {
namespace {

AggregatePtr MakeMoment(const AggregateInit& init) {
  const auto id = init.input->id();
  if (arrow::is_floating(id)) return MakeFloatMoment(init);
  if (!arrow::is_decimal(id)) return MakeIntegerMoment(init);
  const bool linear = init.function == AggregateFunction::kSum || init.function == AggregateFunction::kMean;
  return linear ? MakeDecimalMoment(init) : MakeFloatMoment(init);
}

AggregatePtr MakeMinMax(const AggregateInit& init) {
  if (init.input->id() == arrow::Type::BOOL) return MakeAnyAll(init);
  auto extreme = MakeExtreme(init);
  return extreme != nullptr ? std::move(extreme) : MakePick(init);
}

}  // namespace

Result<AggregateInput> AggregateInput::Make(const AggregateSpec& spec, const arrow::Schema& schema) {
  AggregateInput input;
  ARROW_ASSIGN_OR_RAISE(input.type_, AggregateInputType(spec, schema));
  if (!spec.column.empty()) input.column_ = schema.GetFieldIndex(spec.column);
  if (!spec.other.empty()) input.other_ = schema.GetFieldIndex(spec.other);
  return input;
}

std::shared_ptr<arrow::Array> AggregateInput::Of(const arrow::RecordBatch& batch) const {
  if (column_ < 0) return nullptr;
  if (other_ < 0) return batch.column(column_);
  return std::make_shared<arrow::StructArray>(
      type_, batch.num_rows(), arrow::ArrayVector{batch.column(column_), batch.column(other_)});
}

Result<std::unique_ptr<Aggregate>> MakeAggregate(const AggregateSpec& spec,
                                                 const std::shared_ptr<arrow::DataType>& input,
                                                 std::shared_ptr<BudgetPool> pool) {
  AggregateInit init;
  init.function = spec.function;
  init.number = spec.number;
  if (spec.function != AggregateFunction::kCountRows) {
    if (input == nullptr) return BugError("an aggregate of a column gets no type");
    init.input = input;
  }
  ARROW_ASSIGN_OR_RAISE(init.output, AggregateResultType(spec.function, init.input));
  init.pool = std::move(pool);
  switch (spec.function) {
    case AggregateFunction::kCountRows:
    case AggregateFunction::kCount:
      return MakeCount(init);
    case AggregateFunction::kSum:
    case AggregateFunction::kMean:
    case AggregateFunction::kVar:
    case AggregateFunction::kStd:
      return MakeMoment(init);
    case AggregateFunction::kMin:
    case AggregateFunction::kMax:
      return MakeMinMax(init);
    case AggregateFunction::kAny:
    case AggregateFunction::kAll:
      return MakeAnyAll(init);
    case AggregateFunction::kFirst:
    case AggregateFunction::kLast:
      return MakePick(init);
    case AggregateFunction::kList:
      return MakeList(init);
    case AggregateFunction::kNUnique:
      return MakeUnique(init);
    case AggregateFunction::kApproxNUnique:
      return MakeApproxUnique(init);
    case AggregateFunction::kQuantile:
      return MakeQuantile(init);
    case AggregateFunction::kApproxQuantile:
      return MakeApproxQuantile(init);
    case AggregateFunction::kLargest:
    case AggregateFunction::kSmallest:
      return MakeKept(init);
    case AggregateFunction::kCorr:
      return MakeCorrelation(init);
  }
  return BugError("an aggregate has no function");
}

}  // namespace partita
