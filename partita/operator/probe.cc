#include "partita/operator/probe.h"

#include <arrow/api.h>

#include <algorithm>
#include <array>
#include <span>

#include "partita/base/json.h"
#include "partita/operator/join_table.h"
#include "partita/operator/probe_asof.h"
#include "partita/runs/join_rows.h"

namespace partita {
namespace {

class Probe final : public Transform {
 public:
  Probe(Join join, JoinRows rows, KeyMatcher matcher, std::shared_ptr<JoinTable> table)
      : join_(std::move(join)),
        rows_(std::move(rows)),
        matcher_(std::move(matcher)),
        table_(std::move(table)) {}

  Status Process(const Block& in, const OperatorContext& ctx, BlockOutput& out) const override {
    ARROW_ASSIGN_OR_RAISE(const auto table, table_->Get(ctx));
    ARROW_ASSIGN_OR_RAISE(const auto keys, matcher_.Prepare(*in.batch, ctx.pool.get()));
    Call call{*this, in, ctx, out, *table, keys};
    return call.Run();
  }

 private:
  // One block on its way through.
  struct Call {
    const Probe& probe;
    const Block& in;
    const OperatorContext& ctx;
    BlockOutput& out;
    const JoinTable::Rows& table;
    const MatchKeys& keys;
    JoinRows rows = probe.rows_;
    std::shared_ptr<JoinBatch> left = std::make_shared<JoinBatch>();
    std::vector<std::shared_ptr<JoinBatch>> rights =
        std::vector<std::shared_ptr<JoinBatch>>(table.batches.size());
    std::vector<int64_t> ordinals = {};  // of the rows in the making

    Status Run() {
      left->batch = in.batch;
      rows.Reserve(in.num_rows());
      ordinals.reserve(static_cast<size_t>(in.num_rows()));
      const bool pairs = !probe.join_.gives_left_only();
      const bool lone = probe.join_.may_lack_right() || probe.join_.how == JoinHow::kAnti;
      const bool semi = probe.join_.how == JoinHow::kSemi;
      std::array<uint64_t, 512> hashes{};
      for (int64_t row = 0; row < in.num_rows(); ++row) {
        const size_t nth = static_cast<size_t>(row) % hashes.size();
        if (nth == 0) {
          const auto count = std::min<int64_t>(std::ssize(hashes), in.num_rows() - row);
          MatchHashes(keys, row, std::span(hashes.data(), static_cast<size_t>(count)));
        }
        int64_t found = 0;
        if (!keys.HasNull(row)) {
          const auto [begin, end] = table.Find(hashes[nth]);
          for (auto item = begin; item != end; ++item) {
            if (!KeysMatch(keys, row, table.keys[item->batch], item->row)) continue;
            ++found;
            if (!pairs) break;
            rows.AddPair(left, row, RightOf(item->batch), item->row);
            ARROW_RETURN_NOT_OK(Added(row, found - 1));
          }
        }
        if (found > 0 ? !semi : !lone) continue;
        rows.AddLeft(left, row);
        ARROW_RETURN_NOT_OK(Added(row, 0));
      }
      return Flush();
    }

    const std::shared_ptr<JoinBatch>& RightOf(uint32_t batch) {
      auto& right = rights[batch];
      if (!right) {
        right = std::make_shared<JoinBatch>();
        right->batch = table.batches[batch];
        right->row_bytes = table.row_bytes[batch];
      }
      return right;
    }

    // Each row of the result has a position of its own; a left row has at most `most_equal` of them.
    Status Added(int64_t row, int64_t nth) {
      const auto most = static_cast<uint64_t>(std::max<int64_t>(1, table.most_equal));
      const auto ordinal = static_cast<uint64_t>(in.ordinals.At(row)) * most + static_cast<uint64_t>(nth);
      ordinals.push_back(static_cast<int64_t>(ordinal & INT64_MAX));
      return rows.full(ctx.target_block_bytes) ? Flush() : Status::OK();
    }

    Status Flush() {
      size_t given = 0;
      while (!rows.empty()) {
        Block block;
        ARROW_ASSIGN_OR_RAISE(block.batch, rows.Emit(ctx.pool.get()));
        const auto begin = ordinals.begin() + static_cast<std::ptrdiff_t>(given);
        given += static_cast<size_t>(block.batch->num_rows());
        block.ordinals = RowOrdinals::List({begin, ordinals.begin() + static_cast<std::ptrdiff_t>(given)});
        ARROW_RETURN_NOT_OK(out.Emit(std::move(block)));
      }
      ordinals.clear();
      return Status::OK();
    }
  };

  Join join_;
  JoinRows rows_;  // empty: what each call begins with
  KeyMatcher matcher_;
  std::shared_ptr<JoinTable> table_;
};

}  // namespace

Result<std::unique_ptr<Transform>> MakeProbe(const TransformInit& init) {
  if (!init.table) return BugError("a join without its table");
  if (init.args->contains("asof")) return MakeAsofProbe(init);
  ARROW_ASSIGN_OR_RAISE(Join join, JoinFromJson(init.args->value("join", Json())));
  JoinKeys keys;
  ARROW_ASSIGN_OR_RAISE(keys.left, GetStringsOr(*init.args, "left_on", {}));
  ARROW_ASSIGN_OR_RAISE(keys.right, GetStringsOr(*init.args, "right_on", {}));
  ARROW_ASSIGN_OR_RAISE(auto rows,
                        JoinRows::Make(join, keys, *init.input, *init.table->schema(), init.output));
  if (init.table->gives_codes()) rows.GiveCodes();
  std::vector<int> columns;
  for (const auto& name : keys.left) columns.push_back(init.input->GetFieldIndex(name));
  ARROW_ASSIGN_OR_RAISE(auto matcher, KeyMatcher::Make(*init.input, std::move(columns)));
  return std::make_unique<Probe>(std::move(join), std::move(rows), std::move(matcher), init.table);
}

}  // namespace partita
