#include "partita/exchange/asof_source.h"

#include <arrow/api.h>

#include <algorithm>
#include <deque>

#include "partita/base/json.h"
#include "partita/block/logical_bytes.h"
#include "partita/exchange/run_groups.h"
#include "partita/exchange/sorted_sink.h"
#include "partita/operator/asof_distance.h"
#include "partita/operator/join_table.h"
#include "partita/runs/join_rows.h"
#include "partita/runs/key_match.h"

namespace partita {
namespace {

constexpr int64_t kMaxWindowBytes = 4 << 20;
constexpr int64_t kMinWindowBytes = 256 << 10;
constexpr size_t kMaxRuns = 256;  // of a side; each has a frame in memory

struct AsofBatch : JoinBatch {
  const uint64_t* hashes = nullptr;
  std::vector<uint64_t> orders;
  MatchKeys keys;
  std::shared_ptr<arrow::Array> on;

  // Rows with a null match nothing.
  bool HasNull(int64_t row) const { return keys.HasNull(row) || on->IsNull(row); }
};
using AsofBatchPtr = std::shared_ptr<AsofBatch>;

struct AsofRow {
  AsofBatchPtr batch;
  int64_t row = 0;

  uint64_t hash() const { return batch->hashes[row]; }
  uint64_t order() const { return batch->orders[static_cast<size_t>(row)]; }
  bool HasKeyOf(const AsofRow& other) const {
    return KeysMatch(batch->keys, row, other.batch->keys, other.row);
  }
};

// The rows of one side, one by one.
class AsofSide {
 public:
  static Result<AsofSide> Make(const JoinSourceInit& init, const PlanExchange& exchange,
                               const SortedShares& shares, const std::string& on, const std::string& name) {
    AsofSide side;
    side.on_ = exchange.schema->GetFieldIndex(on);
    if (side.on_ < 0) return BugError("an as-of join without its column '" + on + "'");
    std::vector<int> columns;
    for (const auto& key : exchange.keys) columns.push_back(exchange.schema->GetFieldIndex(key.column));
    ARROW_ASSIGN_OR_RAISE(auto matcher, KeyMatcher::Make(*exchange.schema, std::move(columns)));
    side.matcher_ = std::make_unique<KeyMatcher>(std::move(matcher));
    side.env_ = init.env;
    side.schema_ = RunSchema(exchange);
    side.slices_ = shares.SlicesOf(init.partition);
    side.hold_bytes_ = init.hold_bytes;
    ARROW_ASSIGN_OR_RAISE(side.keys_of_, RunKeys(exchange, side.on_));
    side.groups_ = std::make_unique<RunGroups>(init.env, side.schema_, side.keys_of_, init.scratch + name,
                                               FrameBytes(init.hold_bytes));
    return side;
  }

  // The next row; null where there is none. After a refusal it may be called again.
  Result<const AsofRow*> Peek(int64_t block_bytes, const OperatorContext& ctx) {
    while (!ended_ && (!now_.batch || now_.row == now_.batch->batch->num_rows())) {
      now_ = {};
      ARROW_RETURN_NOT_OK(ReadNext(block_bytes, ctx));
    }
    return ended_ ? nullptr : &now_;
  }
  void Pass() { ++now_.row; }

 private:
  Status ReadNext(int64_t block_bytes, const OperatorContext& ctx) {
    if (!merger_) {
      int64_t frame = FrameBytes(hold_bytes_);
      for (const auto& slice : slices_) frame = std::max(frame, slice.index->longest_frame);
      const auto most = std::clamp<size_t>(static_cast<size_t>(hold_bytes_ / (4 * frame)), 2, kMaxRuns);
      ARROW_RETURN_NOT_OK(groups_->Reduce(most, &slices_, ctx));
      merger_ = std::make_unique<RunMerger>(env_, slices_, schema_, keys_of_,
                                            std::clamp(hold_bytes_ / 8, kMinWindowBytes, kMaxWindowBytes));
    }
    if (!read_) {
      ARROW_ASSIGN_OR_RAISE(read_, merger_->Next(block_bytes, ctx.pool.get()));
      ended_ = read_ == nullptr;
    }
    if (ended_) return Status::OK();
    auto made = std::make_shared<AsofBatch>();
    ARROW_ASSIGN_OR_RAISE(made->orders, OrdersOf(*read_, on_, ctx.pool.get()));
    ARROW_ASSIGN_OR_RAISE(made->keys, matcher_->Prepare(*read_, ctx.pool.get()));
    ARROW_ASSIGN_OR_RAISE(const int64_t bytes, LogicalBytes(*read_));
    made->row_bytes =
        static_cast<double>(bytes) / static_cast<double>(std::max<int64_t>(1, read_->num_rows()));
    const auto& hashes = *read_->column(read_->num_columns() - 1);
    if (hashes.type_id() != arrow::Type::UINT64) return BugError("a run without its key");
    made->hashes = static_cast<const arrow::UInt64Array&>(hashes).raw_values();
    made->on = read_->column(on_);
    made->batch = std::move(read_);
    now_ = {std::move(made), 0};
    return Status::OK();
  }

  Env* env_ = nullptr;
  int on_ = -1;
  int64_t hold_bytes_ = 0;
  std::shared_ptr<arrow::Schema> schema_;
  std::unique_ptr<KeyMatcher> matcher_;
  KeysOf keys_of_;
  std::vector<RunSlice> slices_;
  std::unique_ptr<RunGroups> groups_;
  std::unique_ptr<RunMerger> merger_;
  std::shared_ptr<arrow::RecordBatch> read_;  // not yet looked at
  AsofRow now_;
  bool ended_ = false;
};

class AsofSource final : public Source {
 public:
  AsofSource(Asof::Direction direction, AsofDistance distance, JoinRows rows, AsofSide left, AsofSide right)
      : direction_(direction),
        distance_(distance),
        rows_(std::move(rows)),
        left_(std::move(left)),
        right_(std::move(right)) {}

  Result<std::optional<Block>> Next(const OperatorContext& ctx) override {
    ARROW_RETURN_NOT_OK(ctx.cancel.Check());
    if (!rows_.emitting()) {
      const Status picked = Pick(ctx);
      // What was picked leaves first: that frees memory for what was refused.
      if (!picked.ok() && !(picked.IsOutOfMemory() && !rows_.empty())) return picked;
    }
    return rows_.EmitBlock(ctx.pool.get());
  }

 private:
  using Direction = Asof::Direction;

  // Until a block is full, or the left side at its end.
  Status Pick(const OperatorContext& ctx) {
    while (!rows_.full(ctx.target_block_bytes)) {
      ARROW_ASSIGN_OR_RAISE(const AsofRow* left, left_.Peek(ctx.target_block_bytes / 2, ctx));
      if (left == nullptr) return Status::OK();
      AsofRow found;
      if (!left->batch->HasNull(left->row)) {
        ARROW_ASSIGN_OR_RAISE(found, Nearest(*left, ctx));
      }
      if (found.batch) {
        rows_.AddPair(left->batch, left->row, found.batch, found.row);
      } else {
        rows_.AddLeft(left->batch, left->row);
      }
      left_.Pass();
    }
    return Status::OK();
  }

  // Left rows come in order: what is behind one is behind the next. A refusal leaves what was done done.
  Result<AsofRow> Nearest(const AsofRow& left, const OperatorContext& ctx) {
    if (!has_hash_ || hash_ != left.hash()) {
      has_hash_ = true;
      hash_ = left.hash();
      last_.clear();
      ahead_.clear();
    }
    const auto is_behind = [&](const AsofRow& right) {
      return right.order() < left.order() ||
             (right.order() == left.order() && direction_ != Direction::kForward);
    };
    for (; !ahead_.empty() && is_behind(ahead_.front()); ahead_.pop_front()) SetLast(ahead_.front());
    while (ahead_.empty()) {
      ARROW_ASSIGN_OR_RAISE(const AsofRow* right, PeekRight(ctx));
      if (right == nullptr || !is_behind(*right)) break;
      SetLast(*right);
      right_.Pass();
    }
    AsofRow back, forth;
    for (const auto& row : last_) {
      if (row.HasKeyOf(left)) back = row;
    }
    if (direction_ != Direction::kBackward) {
      ARROW_ASSIGN_OR_RAISE(forth, Forth(left, ctx));
    }
    if (!back.batch || !forth.batch) return back.batch ? back : forth;
    return distance_.BackIsNearer(back.order(), left.order(), forth.order()) ? back : forth;
  }

  // The next right row of the hash, without those that match nothing; null where there is none.
  Result<const AsofRow*> PeekRight(const OperatorContext& ctx) {
    while (true) {
      ARROW_ASSIGN_OR_RAISE(const AsofRow* right, right_.Peek(ctx.target_block_bytes / 4, ctx));
      if (right == nullptr || right->hash() > hash_) return nullptr;
      if (right->hash() == hash_ && !right->batch->HasNull(right->row)) return right;
      right_.Pass();
    }
  }

  // Of each key the last row that is behind: one, but for keys that have one hash.
  void SetLast(const AsofRow& right) {
    if (direction_ == Direction::kForward) return;
    for (auto& row : last_) {
      if (!row.HasKeyOf(right)) continue;
      row = right;
      return;
    }
    last_.push_back(right);
  }

  // The first row of the left one's key that is ahead of it. Those before it, which keys of the same hash
  // have, are remembered.
  Result<AsofRow> Forth(const AsofRow& left, const OperatorContext& ctx) {
    for (const auto& row : ahead_) {
      if (row.HasKeyOf(left)) return row;
    }
    while (true) {
      ARROW_ASSIGN_OR_RAISE(const AsofRow* right, PeekRight(ctx));
      if (right == nullptr) return AsofRow();
      ahead_.push_back(*right);
      right_.Pass();
      if (ahead_.back().HasKeyOf(left)) return ahead_.back();
    }
  }

  const Direction direction_;
  const AsofDistance distance_;
  JoinRows rows_;
  AsofSide left_, right_;
  bool has_hash_ = false;
  uint64_t hash_ = 0;
  std::vector<AsofRow> last_;
  std::deque<AsofRow> ahead_;
};

}  // namespace

Result<std::unique_ptr<Source>> MakeAsofSource(JoinSourceInit init) {
  ARROW_ASSIGN_OR_RAISE(const Join join, JoinFromJson(init.source->reduce));
  ARROW_ASSIGN_OR_RAISE(const Asof asof, AsofFromJson(init.source->reduce.value("asof", Json())));
  const auto& left = *init.left_exchange;
  const auto& right = *init.right_exchange;
  ARROW_ASSIGN_OR_RAISE(auto rows, JoinRows::Make(join, {left.key_names(), right.key_names()}, *left.schema,
                                                  *right.schema, init.source->schema));
  ARROW_ASSIGN_OR_RAISE(auto lefts, AsofSide::Make(init, left, *init.left, asof.left, "-left"));
  ARROW_ASSIGN_OR_RAISE(auto rights, AsofSide::Make(init, right, *init.right, asof.right, "-right"));
  const AsofDistance distance(left.schema->GetFieldByName(asof.left)->type()->id());
  return std::make_unique<AsofSource>(asof.direction, distance, std::move(rows), std::move(lefts),
                                      std::move(rights));
}

}  // namespace partita
