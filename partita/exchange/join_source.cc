#include "partita/exchange/join_source.h"

#include <arrow/api.h>

#include <algorithm>

#include "partita/base/json.h"
#include "partita/block/logical_bytes.h"
#include "partita/runs/interleave.h"
#include "partita/runs/row_key.h"

namespace partita {
namespace {

constexpr size_t kMaxRows = 64 << 10;  // of a block

// A block of one side with its keys. Rows of it may be picked for the block that is being made: then it has a
// place in the list of batches of that block.
struct SideBlock {
  std::shared_ptr<arrow::RecordBatch> batch;
  RowKeys keys, hashes;
  std::vector<bool> null_keys;  // empty: none
  double row_bytes = 0;
  int64_t made = -1;  // the block for which `place` holds
  uint32_t place = 0;

  uint64_t hash(int64_t row) const { return hashes.prefix(row).hi; }
  bool has_null(int64_t row) const { return !null_keys.empty() && null_keys[static_cast<size_t>(row)]; }
};
using SideBlockPtr = std::shared_ptr<SideBlock>;

class Side {
 public:
  Side(std::unique_ptr<Source> rows, KeyEncoder encoder, std::vector<int> keys)
      : rows_(std::move(rows)), encoder_(std::move(encoder)), key_columns_(std::move(keys)) {}

  // Makes a current row, or finds that there is none. After a refusal it is called again.
  Status Load(const OperatorContext& ctx) {
    while (!done_ && (!block_ || row_ == block_->batch->num_rows())) {
      block_.reset();
      if (!next_) {
        ARROW_ASSIGN_OR_RAISE(auto block, rows_->Next(ctx));
        if (!block) {
          done_ = true;
          return Status::OK();
        }
        next_ = std::move(block->batch);
      }
      auto made = std::make_shared<SideBlock>();
      made->batch = next_;
      ARROW_ASSIGN_OR_RAISE(made->keys, encoder_.Encode(*next_, ctx.pool.get()));
      ARROW_ASSIGN_OR_RAISE(made->hashes, HashKeys(made->keys, ctx.pool.get()));
      for (int column : key_columns_) AddNulls(*next_->column(column), &made->null_keys);
      ARROW_ASSIGN_OR_RAISE(const int64_t bytes, LogicalBytes(*next_));
      made->row_bytes =
          static_cast<double>(bytes) / static_cast<double>(std::max<int64_t>(1, next_->num_rows()));
      next_.reset();
      block_ = std::move(made);
      row_ = 0;
    }
    return Status::OK();
  }

  bool done() const { return done_; }
  const SideBlockPtr& block() const { return block_; }
  int64_t row() const { return row_; }
  uint64_t hash() const { return block_->hash(row_); }
  bool loaded() const { return done_ || (block_ && row_ < block_->batch->num_rows()); }
  void Advance() { ++row_; }

 private:
  static void AddNulls(const arrow::Array& column, std::vector<bool>* nulls) {
    const bool may = column.null_count() > 0 || column.type_id() == arrow::Type::NA ||
                     column.type_id() == arrow::Type::DICTIONARY;
    if (!may) return;
    nulls->resize(static_cast<size_t>(column.length()));
    for (int64_t i = 0; i < column.length(); ++i) {
      bool null = column.IsNull(i) || column.type_id() == arrow::Type::NA;
      if (!null && column.type_id() == arrow::Type::DICTIONARY) {
        const auto& typed = static_cast<const arrow::DictionaryArray&>(column);
        null = typed.dictionary()->IsNull(typed.GetValueIndex(i));
      }
      if (null) (*nulls)[static_cast<size_t>(i)] = true;
    }
  }

  std::unique_ptr<Source> rows_;
  KeyEncoder encoder_;
  std::vector<int> key_columns_;
  std::shared_ptr<arrow::RecordBatch> next_;  // read, its keys not yet encoded
  SideBlockPtr block_;
  int64_t row_ = 0;
  bool done_ = false;
};

struct How {
  bool pairs = true;       // left rows with each right row that matches
  bool lone_left = false;  // left rows without one
  bool lone_right = false;
  bool semi = false;  // left rows that have one, once
};

struct OutputColumn {
  enum class From { kLeft, kRight, kKey } from = From::kLeft;
  int left = -1, right = -1;  // in the exchanges
};

class JoinSource final : public Source {
 public:
  JoinSource(How how, std::vector<OutputColumn> columns, std::shared_ptr<arrow::Schema> schema, Side left,
             Side right)
      : how_(how),
        columns_(std::move(columns)),
        schema_(std::move(schema)),
        left_(std::move(left)),
        right_(std::move(right)) {}

  Result<std::optional<Block>> Next(const OperatorContext& ctx) override {
    ARROW_RETURN_NOT_OK(ctx.cancel.Check());
    if (emitted_ == 0) {
      const Status picked = Pick(ctx);
      // What was picked leaves first: that frees memory for the block that was refused.
      if (!picked.ok() && !(picked.IsOutOfMemory() && !left_picks_.empty())) return picked;
    }
    if (left_picks_.empty()) return std::nullopt;
    return Emit(ctx.pool.get());
  }

 private:
  struct GroupRow {
    SideBlockPtr block;
    int64_t row = 0;
    bool matched = false;
  };
  enum class Phase { kAlign, kLoneLeft, kLoneRight, kGather, kMatch, kRest };

  // Goes on until a block is full or both sides are at their end.
  Status Pick(const OperatorContext& ctx) {
    const auto target = static_cast<double>(ctx.target_block_bytes);
    while (left_picks_.size() < kMaxRows && picked_bytes_ < target) {
      if (phase_ == Phase::kRest) {
        PickRest();
        continue;
      }
      if (!left_.loaded()) ARROW_RETURN_NOT_OK(left_.Load(ctx));
      if (!right_.loaded()) ARROW_RETURN_NOT_OK(right_.Load(ctx));
      switch (phase_) {
        case Phase::kAlign:
          if (left_.done() && right_.done()) return Status::OK();
          if (right_.done() || (!left_.done() && left_.hash() < right_.hash())) {
            if (how_.lone_left) Add(left_.block(), left_.row(), nullptr, 0);
            left_.Advance();
          } else if (left_.done() || right_.hash() < left_.hash()) {
            if (how_.lone_right) Add(nullptr, 0, right_.block(), right_.row());
            right_.Advance();
          } else {
            hash_ = left_.hash();
            group_.clear();
            phase_ = Phase::kGather;
          }
          break;
        case Phase::kGather:
          if (!right_.done() && right_.hash() == hash_) {
            group_.push_back({right_.block(), right_.row(), false});
            right_.Advance();
          } else {
            next_ = 0;
            found_ = false;
            phase_ = Phase::kMatch;
          }
          break;
        case Phase::kMatch:
          if (left_.done() || left_.hash() != hash_) {
            next_ = 0;
            phase_ = Phase::kRest;
          } else {
            MatchLeftRow(target);
          }
          break;
        default:
          return BugError("a join is in no phase");
      }
    }
    return Status::OK();
  }

  // The current left row against the group, as far as the block has room.
  void MatchLeftRow(double target) {
    const SideBlockPtr& block = left_.block();
    const int64_t row = left_.row();
    if (!block->has_null(row)) {
      for (; next_ < group_.size(); ++next_) {
        auto& other = group_[next_];
        if (other.block->has_null(other.row) ||
            CompareKeys(block->keys, row, other.block->keys, other.row) != 0)
          continue;
        if (how_.pairs) {
          if (left_picks_.size() >= kMaxRows || picked_bytes_ >= target)
            return;  // goes on here with the next block
          Add(block, row, other.block, other.row);
        }
        other.matched = true;
        found_ = true;
        if (!how_.pairs && !how_.lone_right) break;
      }
    }
    if (found_ ? how_.semi : how_.lone_left) Add(block, row, nullptr, 0);
    left_.Advance();
    next_ = 0;
    found_ = false;
  }

  // Right rows of the group that no left row matched.
  void PickRest() {
    for (; how_.lone_right && next_ < group_.size(); ++next_) {
      if (group_[next_].matched) continue;
      Add(nullptr, 0, group_[next_].block, group_[next_].row);
      if (left_picks_.size() >= kMaxRows) {
        ++next_;
        return;
      }
    }
    group_.clear();
    phase_ = Phase::kAlign;
  }

  RowPick PickOf(const SideBlockPtr& block, int64_t row,
                 std::vector<std::shared_ptr<arrow::RecordBatch>>* batches) {
    if (!block) return kNullRow;
    if (block->made != made_) {
      block->made = made_;
      block->place = static_cast<uint32_t>(batches->size());
      batches->push_back(block->batch);
    }
    picked_bytes_ += block->row_bytes;
    return {block->place, static_cast<uint32_t>(row)};
  }

  void Add(const SideBlockPtr& left, int64_t left_row, const SideBlockPtr& right, int64_t right_row) {
    left_picks_.push_back(PickOf(left, left_row, &left_batches_));
    right_picks_.push_back(PickOf(right, right_row, &right_batches_));
  }

  using Batches = std::vector<std::shared_ptr<arrow::RecordBatch>>;
  static Batches Project(const Batches& batches, const std::vector<int>& columns,
                         const std::shared_ptr<arrow::Schema>& schema) {
    Batches out;
    for (const auto& batch : batches) {
      arrow::ArrayVector arrays;
      for (int column : columns) arrays.push_back(batch->column(column));
      out.push_back(arrow::RecordBatch::Make(schema, batch->num_rows(), std::move(arrays)));
    }
    return out;
  }

  // The columns of one kind for some of the picks.
  Result<std::shared_ptr<arrow::RecordBatch>> Columns(OutputColumn::From from, size_t begin, size_t count,
                                                      arrow::MemoryPool* pool) const {
    arrow::FieldVector fields;
    std::vector<int> left, right;
    for (size_t c = 0; c < columns_.size(); ++c) {
      if (columns_[c].from != from) continue;
      fields.push_back(schema_->field(static_cast<int>(c)));
      left.push_back(columns_[c].left);
      right.push_back(columns_[c].right);
    }
    if (fields.empty()) return nullptr;
    const auto schema = arrow::schema(std::move(fields));
    const std::span<const RowPick> left_picks(left_picks_.data() + begin, count),
        right_picks(right_picks_.data() + begin, count);
    if (from == OutputColumn::From::kLeft)
      return Interleave(schema, Project(left_batches_, left, schema), left_picks, pool);
    if (from == OutputColumn::From::kRight)
      return Interleave(schema, Project(right_batches_, right, schema), right_picks, pool);
    // Keys: of the left row, or of the right one where there is none.
    Batches both = Project(left_batches_, left, schema);
    const auto lefts = static_cast<uint32_t>(both.size());
    for (auto& batch : Project(right_batches_, right, schema)) both.push_back(std::move(batch));
    std::vector<RowPick> picks(left_picks.begin(), left_picks.end());
    for (size_t i = 0; i < count; ++i) {
      if (picks[i] == kNullRow) picks[i] = {right_picks[i].batch + lefts, right_picks[i].row};
    }
    return Interleave(schema, both, picks, pool);
  }

  Result<std::optional<Block>> Emit(arrow::MemoryPool* pool) {
    size_t count = left_picks_.size() - emitted_;
    std::shared_ptr<arrow::RecordBatch> batch;
    while (true) {
      auto made = Make(count, pool);
      if (made.ok()) {
        batch = std::move(*made);
        break;
      }
      if (!made.status().IsOutOfMemory() || count == 1) return made.status();
      count /= 2;
    }
    emitted_ += count;
    if (emitted_ == left_picks_.size()) {
      left_picks_.clear();
      right_picks_.clear();
      left_batches_.clear();
      right_batches_.clear();
      emitted_ = 0;
      picked_bytes_ = 0;
      ++made_;
    }
    Block block;
    block.ordinals = RowOrdinals::Range(done_, batch->num_rows());
    done_ += batch->num_rows();
    block.batch = std::move(batch);
    return block;
  }

  Result<std::shared_ptr<arrow::RecordBatch>> Make(size_t count, arrow::MemoryPool* pool) const {
    using From = OutputColumn::From;
    ARROW_ASSIGN_OR_RAISE(auto left, Columns(From::kLeft, emitted_, count, pool));
    ARROW_ASSIGN_OR_RAISE(auto right, Columns(From::kRight, emitted_, count, pool));
    ARROW_ASSIGN_OR_RAISE(auto keys, Columns(From::kKey, emitted_, count, pool));
    arrow::ArrayVector arrays;
    int l = 0, r = 0, k = 0;
    for (const auto& column : columns_) {
      arrays.push_back(column.from == From::kLeft    ? left->column(l++)
                       : column.from == From::kRight ? right->column(r++)
                                                     : keys->column(k++));
    }
    return arrow::RecordBatch::Make(schema_, static_cast<int64_t>(count), std::move(arrays));
  }

  How how_;
  std::vector<OutputColumn> columns_;
  std::shared_ptr<arrow::Schema> schema_;
  Side left_, right_;

  Phase phase_ = Phase::kAlign;
  uint64_t hash_ = 0;
  std::vector<GroupRow> group_;  // the right rows of hash_
  size_t next_ = 0;              // in group_
  bool found_ = false;           // the current left row has a match

  // The block that is being made; made_ numbers them.
  int64_t made_ = 0;
  std::vector<std::shared_ptr<arrow::RecordBatch>> left_batches_, right_batches_;
  std::vector<RowPick> left_picks_, right_picks_;
  size_t emitted_ = 0;
  double picked_bytes_ = 0;
  int64_t done_ = 0;
};

Result<Side> SideOf(const PlanExchange& exchange, std::unique_ptr<Source> rows) {
  std::vector<KeyColumn> keys;
  std::vector<int> columns;
  for (const auto& key : exchange.keys) {
    columns.push_back(exchange.schema->GetFieldIndex(key.column));
    keys.push_back({columns.back(), false, false});
  }
  ARROW_ASSIGN_OR_RAISE(auto encoder, KeyEncoder::Make(*exchange.schema, std::move(keys)));
  return Side(std::move(rows), std::move(encoder), std::move(columns));
}

// Where a key column of either side stands in both.
OutputColumn KeyColumnOf(const std::string& name, const PlanExchange& left, const PlanExchange& right) {
  OutputColumn column;
  column.from = OutputColumn::From::kKey;
  for (size_t k = 0; k < left.keys.size() && k < right.keys.size(); ++k) {
    if (left.keys[k].column != name && right.keys[k].column != name) continue;
    column.left = left.schema->GetFieldIndex(left.keys[k].column);
    column.right = right.schema->GetFieldIndex(right.keys[k].column);
    break;
  }
  return column;
}

}  // namespace

Result<std::unique_ptr<Source>> MakeJoinSource(const PlanSource& source, const PlanExchange& left_exchange,
                                               const PlanExchange& right_exchange,
                                               std::unique_ptr<Source> left, std::unique_ptr<Source> right) {
  const std::string name = source.reduce.value("how", std::string("inner"));
  How how;
  how.semi = name == "semi";
  how.pairs = name != "semi" && name != "anti";
  how.lone_left = name == "left" || name == "full" || name == "anti";
  how.lone_right = name == "right" || name == "full";
  std::vector<OutputColumn> columns;
  for (const auto& entry : source.reduce.value("columns", Json::array())) {
    const std::string from = entry.value("side", std::string()), of = entry.value("column", std::string());
    OutputColumn column;
    if (from == "left") {
      column.left = left_exchange.schema->GetFieldIndex(of);
    } else if (from == "right") {
      column.from = OutputColumn::From::kRight;
      column.right = right_exchange.schema->GetFieldIndex(of);
    } else {
      column = KeyColumnOf(of, left_exchange, right_exchange);
    }
    if (column.left < 0 && column.right < 0)
      return BugError("a join's column '" + of + "' comes from nowhere");
    columns.push_back(column);
  }
  if (static_cast<int>(columns.size()) != source.schema->num_fields())
    return BugError("a join has other columns than its schema");
  ARROW_ASSIGN_OR_RAISE(auto left_side, SideOf(left_exchange, std::move(left)));
  ARROW_ASSIGN_OR_RAISE(auto right_side, SideOf(right_exchange, std::move(right)));
  return std::make_unique<JoinSource>(how, std::move(columns), source.schema, std::move(left_side),
                                      std::move(right_side));
}

}  // namespace partita
