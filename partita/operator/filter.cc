#include "partita/operator/filter.h"

#include <arrow/api.h>

#include "partita/base/json.h"
#include "partita/block/select_rows.h"
#include "partita/expression/expression.h"

namespace partita {
namespace {

class Filter final : public Transform {
 public:
  explicit Filter(std::shared_ptr<const BoundExpression> predicate) : predicate_(std::move(predicate)) {}

  Status Process(const Block& in, const OperatorContext& ctx, BlockOutput& out) const override {
    ARROW_ASSIGN_OR_RAISE(auto array, predicate_->Evaluate(*in.batch, ctx.pool.get()));
    const auto& mask = static_cast<const arrow::BooleanArray&>(*array);
    const int64_t kept = mask.true_count();
    if (kept == 0) return Status::OK();
    if (kept == in.num_rows()) return out.Emit(in);

    std::vector<int64_t> indices;
    indices.reserve(static_cast<size_t>(kept));
    for (int64_t i = 0; i < mask.length(); ++i) {
      if (mask.IsValid(i) && mask.Value(i)) indices.push_back(i);
    }
    Block result;
    result.ordinals = in.ordinals.Take(indices);
    if (in.batch->num_columns() == 0) {
      result.batch =
          arrow::RecordBatch::Make(in.batch->schema(), kept, std::vector<std::shared_ptr<arrow::Array>>{});
      return out.Emit(std::move(result));
    }
    ARROW_ASSIGN_OR_RAISE(
        result.batch,
        SelectRows(*in.batch, std::static_pointer_cast<arrow::BooleanArray>(array), ctx.pool.get()));
    return out.Emit(std::move(result));
  }

 private:
  std::shared_ptr<const BoundExpression> predicate_;
};

}  // namespace

Result<std::unique_ptr<Transform>> MakeFilter(const TransformInit& init) {
  ARROW_ASSIGN_OR_RAISE(auto expression, Expression::FromJson(init.args->value("predicate", Json())));
  ARROW_ASSIGN_OR_RAISE(auto bound, BoundExpression::Bind(expression, init.input));
  if (bound->type()->id() != arrow::Type::BOOL) {
    return UserError("a filter needs a boolean expression; this one has type " + bound->type()->ToString());
  }
  return std::unique_ptr<Transform>(new Filter(std::move(bound)));
}

}  // namespace partita
