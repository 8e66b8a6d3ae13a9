#include "components/python/batch_call.h"

#include <arrow/api.h>

#include <utility>

#include "partita/block/select_rows.h"

namespace partita {

BatchCall::BatchCall(Block block, std::vector<int64_t> starts, const OperatorContext* context,
                     AsyncTransform::Done on_done)
    : in(std::move(block)),
      ctx(context),
      done(std::move(on_done)),
      search(starts.empty() ? in.num_rows() : static_cast<int64_t>(starts.size())),
      last_error(UserError("the function fails")),
      starts_(std::move(starts)) {}

int64_t BatchCall::StartOf(int64_t unit) const {
  if (starts_.empty()) return unit;
  return unit < static_cast<int64_t>(starts_.size()) ? starts_[static_cast<size_t>(unit)] : in.num_rows();
}

BatchCall::Span BatchCall::span() const {
  const auto now = search.current();
  Span span{StartOf(now.begin), StartOf(now.end), now.rows, now.whole};
  if (starts_.empty()) return span;
  span.rows = 0;
  for (int64_t unit = now.begin; unit < now.end; ++unit) {
    if (!search.bad(unit)) span.rows += StartOf(unit + 1) - StartOf(unit);
  }
  return span;
}

std::vector<int64_t> BatchCall::GroupRows() const {
  std::vector<int64_t> rows;
  if (starts_.empty()) return rows;
  const auto now = search.current();
  for (int64_t unit = now.begin; unit < now.end; ++unit) {
    if (!search.bad(unit)) rows.push_back(StartOf(unit + 1) - StartOf(unit));
  }
  return rows;
}

Result<std::shared_ptr<arrow::RecordBatch>> BatchCall::Rows() {
  const Span now = span();
  const auto part = in.batch->Slice(now.begin, now.end - now.begin);
  picked_.clear();
  if (now.rows == now.end - now.begin) return part;
  const auto units = search.current();
  arrow::BooleanBuilder mask(ctx->pool.get());
  ARROW_RETURN_NOT_OK(mask.Reserve(now.end - now.begin));
  for (int64_t unit = units.begin; unit < units.end; ++unit) {
    for (int64_t row = StartOf(unit); row < StartOf(unit + 1); ++row) {
      mask.UnsafeAppend(!search.bad(unit));
      if (!search.bad(unit)) picked_.push_back(row);
    }
  }
  ARROW_ASSIGN_OR_RAISE(auto array, mask.Finish());
  if (part->num_columns() == 0) return part->Slice(0, now.rows);
  return SelectRows(*part, std::static_pointer_cast<arrow::BooleanArray>(array), ctx->pool.get());
}

Status BatchCall::AddError(int64_t unit, const Status& error) const {
  for (int64_t row = StartOf(unit); row < StartOf(unit + 1); ++row)
    ARROW_RETURN_NOT_OK(ctx->errors->Add(row, error));
  return Status::OK();
}

Status BatchCall::Located(const Status& error, const std::string& more) const {
  const Span now = span();
  if (error.IsOutOfMemory() || now.rows <= 0) return error;
  const int64_t first = in.ordinals.At(now.begin), last = in.ordinals.At(now.end - 1);
  if (first == last) return WithContext(error, {.row = first});
  const ErrorDetail* detail = DetailOf(error);
  const std::string message = MessageOf(error) + "\n  in the batch of rows " + std::to_string(first) +
                              " to " + std::to_string(last) + more;
  const std::string hint = detail == nullptr ? "" : detail->context.hint;
  switch (KindOf(error)) {
    case ErrorKind::kUser:
      return UserError(message, hint);
    case ErrorKind::kData:
      return DataError(message, hint);
    case ErrorKind::kResource:
      return ResourceError(message, hint);
    default:
      return error;
  }
}

}  // namespace partita
