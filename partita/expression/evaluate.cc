// Evaluation in bounded slices.
#include <arrow/array/concatenate.h>
#include <arrow/array/util.h>
#include <arrow/compute/exec.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>

#include <algorithm>
#include <limits>
#include <utility>

#include "partita/block/schema.h"
#include "partita/expression/bind.h"
#include "partita/expression/node.h"

namespace partita {
namespace {

// Intermediate results are bounded by this many rows, whatever the batch. A multiple of 64, so that bitmaps
// stay aligned.
constexpr int64_t kSliceRows = 64 << 10;

constexpr char kTooLargeHint[] = "cast the text to large_string, or use smaller blocks";

Result<std::shared_ptr<arrow::Array>> Broadcast(const arrow::Scalar& value, int64_t rows,
                                                arrow::MemoryPool* pool) {
  if (value.is_valid &&
      (value.type->id() == arrow::Type::STRING || value.type->id() == arrow::Type::BINARY)) {
    const auto& bytes = static_cast<const arrow::BaseBinaryScalar&>(value).value;
    if (bytes->size() > 0 && rows > std::numeric_limits<int32_t>::max() / bytes->size()) {
      return Status::CapacityError("a constant text repeated for each row takes more than 2 GiB");
    }
  }
  return arrow::MakeArrayFromScalar(value, rows, pool);
}

class BoundTree : public BoundExpression {
 public:
  BoundTree(BoundNodePtr root, std::shared_ptr<arrow::Schema> schema, Expression source)
      : root_(std::move(root)), schema_(std::move(schema)), source_(std::move(source)) {
    for (const auto& name : source_.Columns()) used_.push_back(schema_->GetFieldIndex(name));
  }

  const std::shared_ptr<arrow::DataType>& type() const override { return root_->type(); }

  Result<std::shared_ptr<arrow::Array>> Evaluate(const arrow::RecordBatch& batch,
                                                 arrow::MemoryPool* pool) const override {
    ARROW_RETURN_NOT_OK(CheckBatch(batch));
    const auto* node = source_.node();
    // A column is itself, without slices and copies.
    if (node->column()) return batch.column(used_.front());
    auto result = EvaluateSlices(batch, pool);
    return result.ok() ? result : Explain(result.status());
  }

 private:
  Status CheckBatch(const arrow::RecordBatch& batch) const {
    for (int index : used_) {
      if (index >= batch.num_columns() ||
          !batch.column_data(index)->type->Equals(*schema_->field(index)->type())) {
        return BugError("'" + source_.ToString() + "' was bound to another schema: column " +
                        schema_->field(index)->ToString());
      }
    }
    return Status::OK();
  }

  Result<std::shared_ptr<arrow::Array>> EvaluateSlices(const arrow::RecordBatch& batch,
                                                       arrow::MemoryPool* pool) const {
    if (batch.num_rows() == 0) return arrow::MakeEmptyArray(type(), pool);
    if (const auto literal = root_->literal()) return Broadcast(*literal, batch.num_rows(), pool);
    arrow::compute::ExecContext context(pool);
    context.set_use_threads(false);
    arrow::ArrayVector pieces;
    int64_t slice_rows = kSliceRows;
    for (int64_t offset = 0; offset < batch.num_rows();) {
      const int64_t rows = std::min(slice_rows, batch.num_rows() - offset);
      auto piece = EvaluateSlice(batch, offset, rows, &context);
      // A kernel that is refused memory, or whose text outgrows its offsets, tries half of the rows, down to
      // one.
      const bool too_large = piece.status().IsOutOfMemory() || piece.status().IsCapacityError();
      if (too_large && rows > 1) {
        slice_rows = (rows + 1) / 2;
        continue;
      }
      ARROW_RETURN_NOT_OK(piece.status());
      pieces.push_back(*std::move(piece));
      offset += rows;
    }
    if (pieces.size() == 1) return pieces.front();
    return Join(std::move(pieces), pool);
  }

  Result<std::shared_ptr<arrow::Array>> EvaluateSlice(const arrow::RecordBatch& batch, int64_t offset,
                                                      int64_t rows,
                                                      arrow::compute::ExecContext* context) const {
    const bool whole = rows == batch.num_rows();
    const auto slice = whole ? nullptr : batch.Slice(offset, rows);
    ARROW_ASSIGN_OR_RAISE(auto value, root_->Evaluate(whole ? batch : *slice, context));
    if (value.is_scalar()) return Broadcast(*value.scalar(), rows, context->memory_pool());
    return value.make_array();
  }

  static Result<std::shared_ptr<arrow::Array>> Join(arrow::ArrayVector pieces, arrow::MemoryPool* pool) {
    auto joined = arrow::Concatenate(pieces, pool);
    if (joined.ok() || joined.status().IsOutOfMemory()) return joined;
    // The only way two good arrays do not join is that their offsets overflow.
    return Status::CapacityError(joined.status().message());
  }

  // Who must act: a value that a kernel refuses is bad data, not a bad expression; that was bound.
  Status Explain(const Status& status) const {
    if (DetailOf(status)) return status;
    const std::string where = "in '" + source_.ToString().substr(0, 300) + "': ";
    if (status.IsOutOfMemory()) return OutOfMemoryError(where + status.message(), "give the run more memory");
    if (status.IsCapacityError()) return DataError(where + status.message(), kTooLargeHint);
    if (status.IsInvalid() || status.IsTypeError() || status.IsSerializationError() ||
        status.IsIndexError()) {
      return DataError(where + status.message(),
                       "correct the value, or handle it with case, coalesce or a filter before");
    }
    if (status.IsNotImplemented()) return UserError(where + status.message());
    return status;
  }

  const BoundNodePtr root_;
  const std::shared_ptr<arrow::Schema> schema_;
  const Expression source_;
  std::vector<int> used_;
};

}  // namespace

Result<std::shared_ptr<const BoundExpression>> BoundExpression::Bind(const Expression& expression,
                                                                     std::shared_ptr<arrow::Schema> schema) {
  ARROW_ASSIGN_OR_RAISE(auto root, BindNode(expression, *schema));
  return std::make_shared<BoundTree>(std::move(root), std::move(schema), expression);
}

}  // namespace partita
