#include "partita/operator/local_shuffle.h"

#include <arrow/api.h>

#include <algorithm>
#include <array>

#include "partita/base/digest.h"
#include "partita/base/json.h"
#include "partita/block/logical_bytes.h"
#include "partita/runs/interleave.h"
#include "partita/runs/row_key.h"

namespace partita {
namespace {

// It waits for nothing; asynchronous steps are those that get their rows in batches cut by ordinal.
class LocalShuffle final : public AsyncTransform {
 public:
  LocalShuffle(uint64_t key, int64_t input, int64_t buffer_rows)
      : key_(key), input_(input), buffer_rows_(buffer_rows) {}

  int64_t rows_in_flight() const override { return 0; }
  int64_t batch_rows() const override { return buffer_rows_; }
  std::vector<InFlight> Slowest(int) const override { return {}; }
  void Start(Block in, const OperatorContext& ctx, Done done) override { done(Shuffled(in, ctx)); }

 private:
  // The rows in their new order, each with the ordinal of its new place.
  Result<std::vector<Block>> Shuffled(const Block& in, const OperatorContext& ctx) const {
    const int64_t rows = in.num_rows();
    if (rows < 2 || in.batch->num_columns() == 0) return std::vector<Block>{in};
    std::vector<std::pair<uint64_t, uint32_t>> order(static_cast<size_t>(rows));
    for (int64_t i = 0; i < rows; ++i) {
      order[static_cast<size_t>(i)] = {ShuffleKey(key_, input_, ctx.partition, in.ordinals.At(i)),
                                       static_cast<uint32_t>(i)};
    }
    std::sort(order.begin(), order.end());
    std::vector<RowPick> picks;
    picks.reserve(order.size());
    for (const auto& [hash, row] : order) picks.push_back({0, row});
    ARROW_ASSIGN_OR_RAISE(const int64_t bytes, LogicalBytes(*in.batch));
    const int64_t piece =
        std::clamp<int64_t>(ctx.target_block_bytes / std::max<int64_t>(1, bytes / rows), 1, rows);
    std::vector<Block> blocks;
    for (int64_t begin = 0; begin < rows; begin += piece) {
      const int64_t count = std::min(piece, rows - begin);
      const auto part = std::span(picks).subspan(static_cast<size_t>(begin), static_cast<size_t>(count));
      Block block;
      ARROW_ASSIGN_OR_RAISE(block.batch,
                            Interleave(in.batch->schema(), std::array{in.batch}, part, ctx.pool.get()));
      block.ordinals = in.ordinals.Slice(begin, count);
      blocks.push_back(std::move(block));
    }
    return blocks;
  }

  uint64_t key_;
  int64_t input_, buffer_rows_;
};

}  // namespace

Result<std::unique_ptr<AsyncTransform>> MakeLocalShuffle(const TransformInit& init) {
  ARROW_ASSIGN_OR_RAISE(const int64_t seed, GetInt(*init.args, "seed"));
  ARROW_ASSIGN_OR_RAISE(const int64_t buffer_rows, GetInt(*init.args, "buffer_rows"));
  ARROW_ASSIGN_OR_RAISE(const int64_t input, GetInt(*init.args, "input"));
  if (buffer_rows < 1 || buffer_rows > UINT32_MAX) {
    return UserError("the plan cannot be used: a local_shuffle holds no row, or more than 4 billion",
                     "compile the pipeline again");
  }
  return std::make_unique<LocalShuffle>(SeedKey("local_shuffle/" + std::to_string(seed)), input, buffer_rows);
}

}  // namespace partita
