#include "partita/operator/probe_asof.h"

#include <arrow/api.h>

#include <algorithm>

#include "partita/base/json.h"
#include "partita/operator/asof_distance.h"
#include "partita/operator/join_table.h"
#include "partita/runs/join_rows.h"

namespace partita {
namespace {

using Item = JoinTable::Item;

class AsofProbe final : public Transform {
 public:
  AsofProbe(JoinRows rows, KeyMatcher matcher, Asof::Direction direction, int on, AsofDistance distance,
            std::shared_ptr<JoinTable> table)
      : rows_(std::move(rows)),
        matcher_(std::move(matcher)),
        direction_(direction),
        on_(on),
        distance_(distance),
        table_(std::move(table)) {}

  Status Process(const Block& in, const OperatorContext& ctx, BlockOutput& out) const override {
    ARROW_ASSIGN_OR_RAISE(const auto table, table_->Get(ctx));
    ARROW_ASSIGN_OR_RAISE(const auto keys, matcher_.Prepare(*in.batch, ctx.pool.get()));
    ARROW_ASSIGN_OR_RAISE(const auto orders, OrdersOf(*in.batch, on_, ctx.pool.get()));
    const auto& on = *in.batch->column(on_);
    JoinRows rows = rows_;
    auto left = std::make_shared<JoinBatch>();
    left->batch = in.batch;
    std::vector<std::shared_ptr<JoinBatch>> rights;
    for (size_t b = 0; b < table->batches.size(); ++b) {
      rights.push_back(std::make_shared<JoinBatch>());
      rights.back()->batch = table->batches[b];
      rights.back()->row_bytes = table->row_bytes[b];
    }
    int64_t given = 0;
    for (int64_t row = 0; row < in.num_rows(); ++row) {
      const Item* item = nullptr;
      if (!keys.HasNull(row) && !on.IsNull(row))
        item = Nearest(*table, keys, row, orders[static_cast<size_t>(row)]);
      if (item == nullptr) {
        rows.AddLeft(left, row);
      } else {
        rows.AddPair(left, row, rights[item->batch], item->row);
      }
      if (!rows.full(ctx.target_block_bytes) && row + 1 < in.num_rows()) continue;
      while (!rows.empty()) {
        Block block;
        ARROW_ASSIGN_OR_RAISE(block.batch, rows.Emit(ctx.pool.get()));
        block.ordinals = in.ordinals.Slice(given, block.batch->num_rows());
        given += block.batch->num_rows();
        ARROW_RETURN_NOT_OK(out.Emit(std::move(block)));
      }
    }
    return Status::OK();
  }

 private:
  const Item* Nearest(const JoinTable::Rows& table, const MatchKeys& keys, int64_t row,
                      uint64_t order) const {
    const auto [begin, end] = table.Find(MatchHash(keys, row));
    // Other keys may have the same hash.
    const auto matches = [&](const Item* item) {
      return KeysMatch(keys, row, table.keys[item->batch], item->row);
    };
    const Item* back = nullptr;
    const Item* forth = nullptr;
    if (direction_ != Asof::Direction::kForward) {
      const Item* item =
          std::upper_bound(begin, end, order, [](uint64_t value, const Item& i) { return value < i.order; });
      while (item != begin && !matches(item - 1)) --item;
      if (item != begin) back = item - 1;
    }
    if (direction_ != Asof::Direction::kBackward) {
      const Item* item =
          std::lower_bound(begin, end, order, [](const Item& i, uint64_t value) { return i.order < value; });
      while (item != end && !matches(item)) ++item;
      if (item != end) forth = item;
    }
    if (back == nullptr || forth == nullptr) return back == nullptr ? forth : back;
    return distance_.BackIsNearer(back->order, order, forth->order) ? back : forth;
  }

  JoinRows rows_;  // empty: what each call begins with
  KeyMatcher matcher_;
  Asof::Direction direction_;
  int on_;
  AsofDistance distance_;
  std::shared_ptr<JoinTable> table_;
};

}  // namespace

Result<std::unique_ptr<Transform>> MakeAsofProbe(const TransformInit& init) {
  if (!init.table) return BugError("a join without its table");
  ARROW_ASSIGN_OR_RAISE(const Join join, JoinFromJson(init.args->value("join", Json())));
  ARROW_ASSIGN_OR_RAISE(const Asof asof, AsofFromJson(init.args->value("asof", Json())));
  JoinKeys keys;
  ARROW_ASSIGN_OR_RAISE(keys.left, GetStringsOr(*init.args, "left_on", {}));
  ARROW_ASSIGN_OR_RAISE(keys.right, GetStringsOr(*init.args, "right_on", {}));
  ARROW_ASSIGN_OR_RAISE(auto rows,
                        JoinRows::Make(join, keys, *init.input, *init.table->schema(), init.output));
  std::vector<int> columns;
  for (const auto& name : keys.left) columns.push_back(init.input->GetFieldIndex(name));
  ARROW_ASSIGN_OR_RAISE(auto matcher, KeyMatcher::Make(*init.input, std::move(columns)));
  const int on = init.input->GetFieldIndex(asof.left);
  if (on < 0) return BugError("an as-of join without its column '" + asof.left + "'");
  const AsofDistance distance(init.input->field(on)->type()->id());
  return std::make_unique<AsofProbe>(std::move(rows), std::move(matcher), asof.direction, on, distance,
                                     init.table);
}

}  // namespace partita
