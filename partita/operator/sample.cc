#include "partita/operator/sample.h"

#include <arrow/api.h>

#include <cmath>

#include "partita/base/digest.h"
#include "partita/base/json.h"
#include "partita/block/select_rows.h"
#include "partita/runs/row_key.h"

namespace partita {
namespace {

class Sample final : public Transform {
 public:
  Sample(uint64_t key, int64_t input, double begin, double end)
      : key_(key),
        input_(input),
        begin_(Bound(begin)),
        end_(Bound(end)),
        has_end_(end < 1),
        is_empty_(begin >= end || begin >= 1) {}

  Status Process(const Block& in, const OperatorContext& ctx, BlockOutput& out) const override {
    if (is_empty_) return Status::OK();
    arrow::BooleanBuilder mask(ctx.pool.get());
    ARROW_RETURN_NOT_OK(mask.Reserve(in.num_rows()));
    std::vector<int64_t> indices;
    for (int64_t i = 0; i < in.num_rows(); ++i) {
      const bool kept = Keeps(ShuffleKey(key_, input_, ctx.partition, in.ordinals.At(i)));
      mask.UnsafeAppend(kept);
      if (kept) indices.push_back(i);
    }
    if (indices.empty()) return Status::OK();
    if (static_cast<int64_t>(indices.size()) == in.num_rows()) return out.Emit(in);
    Block result;
    result.ordinals = in.ordinals.Take(indices);
    if (in.batch->num_columns() == 0) {
      result.batch = arrow::RecordBatch::Make(in.batch->schema(), static_cast<int64_t>(indices.size()),
                                              std::vector<std::shared_ptr<arrow::Array>>{});
      return out.Emit(std::move(result));
    }
    std::shared_ptr<arrow::BooleanArray> array;
    ARROW_RETURN_NOT_OK(mask.Finish(&array));
    ARROW_ASSIGN_OR_RAISE(result.batch, SelectRows(*in.batch, array, ctx.pool.get()));
    return out.Emit(std::move(result));
  }

 private:
  static uint64_t Bound(double part) { return part >= 1 ? 0 : static_cast<uint64_t>(std::ldexp(part, 64)); }
  bool Keeps(uint64_t hash) const { return hash >= begin_ && (!has_end_ || hash < end_); }

  uint64_t key_;
  int64_t input_;
  uint64_t begin_, end_;
  bool has_end_, is_empty_;
};

}  // namespace

Result<std::unique_ptr<Transform>> MakeSample(const TransformInit& init) {
  ARROW_ASSIGN_OR_RAISE(const double fraction, GetDouble(*init.args, "fraction"));
  ARROW_ASSIGN_OR_RAISE(const double offset, GetDouble(*init.args, "offset"));
  ARROW_ASSIGN_OR_RAISE(const int64_t seed, GetInt(*init.args, "seed"));
  ARROW_ASSIGN_OR_RAISE(const int64_t input, GetInt(*init.args, "input"));
  if (!(fraction >= 0 && fraction <= 1 && offset >= 0 && offset <= 1)) {
    return UserError("the plan cannot be used: a sample has a fraction or offset that is not from 0 to 1",
                     "compile the pipeline again");
  }
  return std::unique_ptr<Transform>(
      new Sample(SeedKey("sample/" + std::to_string(seed)), input, offset, offset + fraction));
}

}  // namespace partita
