#include "partita/exchange/group_source.h"

#include <arrow/api.h>

#include <algorithm>
#include <numeric>
#include <span>

#include "partita/base/json.h"
#include "partita/exchange/group_keys.h"
#include "partita/exchange/group_rows.h"
#include "partita/operator/aggregate/aggregate.h"
#include "partita/pipeline/aggregate.h"
#include "partita/runs/interleave.h"
#include "partita/runs/row_key.h"

namespace partita {
namespace {

// Numbers the groups of a stream of rows that are ordered by the hash of their key. Groups of the newest hash
// are open; those before it are closed. Keys are looked at only where a hash comes again.
class GroupNumbers {
 public:
  // Has a row the hash of the one before it, or of an open group?
  bool Repeats(std::span<const uint64_t> hashes) const {
    if (num_open_ > 0 && !hashes.empty() && hashes[0] == hash_) return true;
    return std::adjacent_find(hashes.begin(), hashes.end()) != hashes.end();
  }

  // The group of each row; new groups get the next numbers.
  void Assign(const GroupKeys& keys, std::span<const uint64_t> hashes, std::vector<uint32_t>* groups) {
    groups->resize(hashes.size());
    for (size_t row = 0; row < hashes.size(); ++row) {
      if (num_open_ == 0 || hashes[row] != hash_) Begin(hashes[row]);
      (*groups)[row] = GroupOf(keys, static_cast<int64_t>(row));
    }
  }

  // The same where no hash repeats; `last` has the key of the last row alone.
  void AssignEach(const GroupKeys& last, std::span<const uint64_t> hashes, std::vector<uint32_t>* groups) {
    groups->resize(hashes.size());
    std::iota(groups->begin(), groups->end(), count_);
    count_ += static_cast<uint32_t>(hashes.size()) - 1;
    Begin(hashes.back());
    GroupOf(last, 0);
  }

  uint32_t count() const { return count_; }
  uint32_t closed() const { return num_open_ == 0 ? count_ : first_open_; }
  void CloseAll() { num_open_ = 0; }
  // The first `n` groups are forgotten; the others move up.
  void Forget(uint32_t n) {
    count_ -= n;
    first_open_ -= std::min(n, first_open_);
    for (size_t i = 0; i < num_open_; ++i) open_[i].group -= n;
  }

 private:
  struct Open {
    KeyPrefix prefix;
    std::string long_key;
    uint32_t group = 0;
  };

  void Begin(uint64_t hash) {
    num_open_ = 0;
    hash_ = hash;
    first_open_ = count_;
  }

  uint32_t GroupOf(const GroupKeys& keys, int64_t row) {
    const auto& prefix = keys.prefix(row);
    const auto long_key = keys.long_key(row);
    for (size_t i = 0; i < num_open_; ++i) {
      if (open_[i].prefix == prefix && open_[i].long_key == long_key) return open_[i].group;
    }
    if (num_open_ == open_.size()) open_.emplace_back();
    auto& open = open_[num_open_++];
    open.prefix = prefix;
    open.long_key = long_key;
    open.group = count_;
    return count_++;
  }

  std::vector<Open> open_;  // the first num_open_; memory of the others is used again
  size_t num_open_ = 0;
  uint64_t hash_ = 0;
  uint32_t count_ = 0, first_open_ = 0;
};

Result<std::span<const uint64_t>> HashesOf(const arrow::RecordBatch& batch) {
  const auto& column = *batch.column(batch.num_columns() - 1);
  if (column.type_id() != arrow::Type::UINT64) return BugError("rows to be grouped come without their hash");
  return std::span(static_cast<const arrow::UInt64Array&>(column).raw_values(),
                   static_cast<size_t>(batch.num_rows()));
}

// Reads block after block, tells which rows make which groups, and gives out what closed groups became. A
// refused allocation may come at any point: each part of the work remembers how far it got.
class GroupSource : public Source {
 public:
  GroupSource(GroupKeys keys, std::unique_ptr<Source> rows)
      : keys_(std::move(keys)), rows_(std::move(rows)) {}

  Result<std::optional<Block>> Next(const OperatorContext& ctx) override {
    while (true) {
      ARROW_RETURN_NOT_OK(ctx.cancel.Check());
      if (!block_ && !ended_) {
        ARROW_ASSIGN_OR_RAISE(block_, rows_->Next(ctx));
        if (!block_) {
          ended_ = true;
          numbers_.CloseAll();
        }
        assigned_ = false;
        if (block_) Begin();
      }
      if (block_) {
        if (!assigned_) {
          ARROW_RETURN_NOT_OK(Assign(*block_->batch));
          assigned_ = true;
        }
        ARROW_RETURN_NOT_OK(Take(*block_->batch, groups_, before_, numbers_.count()));
      }
      const uint32_t closed = numbers_.closed();
      std::shared_ptr<arrow::RecordBatch> batch;
      if (closed > 0) {
        ARROW_ASSIGN_OR_RAISE(batch, Give(closed, ctx.pool.get()));
        numbers_.Forget(closed);
      }
      block_.reset();
      if (batch && batch->num_rows() > 0) {
        Block out;
        out.ordinals = RowOrdinals::Range(done_, batch->num_rows());
        done_ += batch->num_rows();
        out.batch = std::move(batch);
        return out;
      }
      if (ended_) return std::nullopt;
    }
  }

 protected:
  virtual void Begin() = 0;  // a new block comes
  // The rows of a block; groups [before, count) are new. Called again with the same rows after a refusal, and
  // before Give after one of Give: what is done is not done twice.
  virtual Status Take(const arrow::RecordBatch& batch, const std::vector<uint32_t>& groups, uint32_t before,
                      uint32_t count) = 0;
  // The rows of the first `closed` groups, which are then forgotten.
  virtual Result<std::shared_ptr<arrow::RecordBatch>> Give(uint32_t closed, arrow::MemoryPool* pool) = 0;

 private:
  // All or nothing.
  Status Assign(const arrow::RecordBatch& batch) {
    ARROW_ASSIGN_OR_RAISE(const auto hashes, HashesOf(batch));
    before_ = numbers_.count();
    groups_.clear();
    if (hashes.empty()) return Status::OK();
    if (numbers_.Repeats(hashes)) {
      ARROW_RETURN_NOT_OK(keys_.Encode(batch));
      numbers_.Assign(keys_, hashes, &groups_);
    } else {
      ARROW_RETURN_NOT_OK(keys_.Encode(*batch.Slice(batch.num_rows() - 1)));
      numbers_.AssignEach(keys_, hashes, &groups_);
    }
    return Status::OK();
  }

  GroupKeys keys_;
  std::unique_ptr<Source> rows_;
  GroupNumbers numbers_;
  std::optional<Block> block_;
  bool assigned_ = false, ended_ = false;
  std::vector<uint32_t> groups_;
  uint32_t before_ = 0;
  int64_t done_ = 0;
};

// A row of each group, and the batches they stand in.
class GroupRows {
 public:
  void Add(const std::shared_ptr<arrow::RecordBatch>& batch) { batches_.push_back(batch); }
  void AddGroup(int64_t row) { picks_.push_back(Here(row)); }
  void Replace(uint32_t group, int64_t row) { picks_[group] = Here(row); }
  std::span<const RowPick> picks() const { return picks_; }
  const std::vector<std::shared_ptr<arrow::RecordBatch>>& batches() const { return batches_; }

  void Forget(uint32_t n) {
    picks_.erase(picks_.begin(), picks_.begin() + n);
    std::vector<std::shared_ptr<arrow::RecordBatch>> kept;
    std::vector<int64_t> places(batches_.size(), -1);
    for (auto& pick : picks_) {
      int64_t& place = places[pick.batch];
      if (place < 0) {
        place = static_cast<int64_t>(kept.size());
        kept.push_back(batches_[pick.batch]);
      }
      pick.batch = static_cast<uint32_t>(place);
    }
    batches_ = std::move(kept);
  }

 private:
  RowPick Here(int64_t row) const {
    return {static_cast<uint32_t>(batches_.size() - 1), static_cast<uint32_t>(row)};
  }

  std::vector<std::shared_ptr<arrow::RecordBatch>> batches_;
  std::vector<RowPick> picks_;  // by group
};

enum class Keep { kFirst, kLast, kNone };

class DistinctSource final : public GroupSource {
 public:
  DistinctSource(GroupKeys keys, std::unique_ptr<Source> rows, std::shared_ptr<arrow::Schema> schema,
                 Keep keep)
      : GroupSource(std::move(keys), std::move(rows)), schema_(std::move(schema)), keep_(keep) {}

 protected:
  void Begin() override { taken_ = false; }

  Status Take(const arrow::RecordBatch& batch, const std::vector<uint32_t>& groups, uint32_t,
              uint32_t) override {
    if (taken_) return Status::OK();
    rows_.Add(batch.Slice(0));
    for (size_t i = 0; i < groups.size(); ++i) {
      const uint32_t group = groups[i];
      if (group == counts_.size()) {
        rows_.AddGroup(static_cast<int64_t>(i));
        counts_.push_back(0);
      } else if (keep_ == Keep::kLast) {
        rows_.Replace(group, static_cast<int64_t>(i));
      }
      ++counts_[group];
    }
    taken_ = true;
    return Status::OK();
  }

  Result<std::shared_ptr<arrow::RecordBatch>> Give(uint32_t closed, arrow::MemoryPool* pool) override {
    std::vector<RowPick> picks;
    for (uint32_t group = 0; group < closed; ++group) {
      if (keep_ != Keep::kNone || counts_[group] == 1) picks.push_back(rows_.picks()[group]);
    }
    ARROW_ASSIGN_OR_RAISE(auto batch, Interleave(schema_, rows_.batches(), picks, pool));
    rows_.Forget(closed);
    counts_.erase(counts_.begin(), counts_.begin() + closed);
    return batch;
  }

 private:
  std::shared_ptr<arrow::Schema> schema_;
  Keep keep_;
  GroupRows rows_;
  std::vector<int64_t> counts_;  // rows, by group
  bool taken_ = false;
};

class AggregateSource final : public GroupSource {
 public:
  struct Column {
    std::unique_ptr<Aggregate> aggregate;  // null: a key
    int index = -1;                        // of the exchange's column that it is
    AggregateInput input;
  };

  AggregateSource(GroupKeys keys, std::unique_ptr<Source> rows, std::shared_ptr<arrow::Schema> schema,
                  std::vector<Column> columns)
      : GroupSource(std::move(keys), std::move(rows)),
        schema_(std::move(schema)),
        columns_(std::move(columns)) {
    arrow::FieldVector key_fields;
    for (size_t c = 0; c < columns_.size(); ++c) {
      if (columns_[c].aggregate) continue;
      key_fields.push_back(schema_->field(static_cast<int>(c)));
      key_columns_.push_back(columns_[c].index);
    }
    key_schema_ = arrow::schema(std::move(key_fields));
    finished_.resize(columns_.size());
  }

 protected:
  void Begin() override { updated_ = 0; }

  Status Take(const arrow::RecordBatch& batch, const std::vector<uint32_t>& groups, uint32_t before,
              uint32_t count) override {
    if (updated_ == 0) {
      arrow::ArrayVector keys;
      for (int index : key_columns_) keys.push_back(batch.column(index));
      rows_.Add(arrow::RecordBatch::Make(key_schema_, batch.num_rows(), std::move(keys)));
      uint32_t next = before;
      for (size_t i = 0; i < groups.size() && next < count; ++i) {
        if (groups[i] != next) continue;
        rows_.AddGroup(static_cast<int64_t>(i));
        ++next;
      }
      updated_ = 1;
    }
    for (; updated_ <= columns_.size(); ++updated_) {
      auto& column = columns_[updated_ - 1];
      if (!column.aggregate) continue;
      ARROW_RETURN_NOT_OK(column.aggregate->Update(column.input.Of(batch).get(), groups, count));
    }
    return Status::OK();
  }

  Result<std::shared_ptr<arrow::RecordBatch>> Give(uint32_t closed, arrow::MemoryPool* pool) override {
    if (!keys_) {
      ARROW_ASSIGN_OR_RAISE(keys_,
                            Interleave(key_schema_, rows_.batches(), rows_.picks().first(closed), pool));
    }
    for (size_t c = 0; c < columns_.size(); ++c) {
      if (!columns_[c].aggregate || finished_[c]) continue;
      ARROW_ASSIGN_OR_RAISE(finished_[c], columns_[c].aggregate->Finish(closed, pool));
    }
    arrow::ArrayVector arrays;
    int key = 0;
    for (size_t c = 0; c < columns_.size(); ++c) {
      arrays.push_back(columns_[c].aggregate ? std::move(finished_[c]) : keys_->column(key++));
      finished_[c].reset();
    }
    keys_.reset();
    rows_.Forget(closed);
    return arrow::RecordBatch::Make(schema_, closed, std::move(arrays));
  }

 private:
  std::shared_ptr<arrow::Schema> schema_, key_schema_;
  std::vector<Column> columns_;  // of schema_
  std::vector<int> key_columns_;
  GroupRows rows_;
  size_t updated_ = 0;  // of the current block: 0 nothing, 1 the keys, 1 + n the first n columns
  std::shared_ptr<arrow::RecordBatch> keys_;
  arrow::ArrayVector finished_;  // by column, until all are
};

// The columns of `schema`, computed from rows.
Result<std::vector<AggregateSource::Column>> ColumnsOf(const arrow::Schema& schema,
                                                       const PlanExchange& exchange, const Json& reduce,
                                                       const std::shared_ptr<BudgetPool>& pool) {
  std::vector<AggregateSource::Column> columns;
  ARROW_ASSIGN_OR_RAISE(auto specs, AggregatesFromJson(reduce.value("aggregates", Json::array())));
  for (const auto& field : schema.fields()) {
    AggregateSource::Column column;
    const auto spec =
        std::find_if(specs.begin(), specs.end(), [&](const auto& s) { return s.name == field->name(); });
    if (spec == specs.end()) {
      column.index = exchange.schema->GetFieldIndex(field->name());
    } else {
      ARROW_ASSIGN_OR_RAISE(column.input, AggregateInput::Make(*spec, *exchange.schema));
      ARROW_ASSIGN_OR_RAISE(column.aggregate, MakeAggregate(*spec, column.input.type(), pool));
    }
    columns.push_back(std::move(column));
  }
  return columns;
}

}  // namespace

Result<std::unique_ptr<Source>> MakeGroupSource(const PlanExchange& exchange, const PlanSource& source,
                                                std::unique_ptr<Source> rows,
                                                const std::shared_ptr<BudgetPool>& pool) {
  const std::string op = source.reduce.value("op", std::string());
  if (op == "rows") return MakeGroupRowsSource(exchange, source, std::move(rows), pool);
  std::vector<int> key_columns;
  for (const auto& key : exchange.keys) key_columns.push_back(exchange.schema->GetFieldIndex(key.column));
  ARROW_ASSIGN_OR_RAISE(auto keys, GroupKeys::Make(*exchange.schema, std::move(key_columns), pool));
  if (op == "distinct") {
    const std::string keep = source.reduce.value("keep", std::string("first"));
    return std::make_unique<DistinctSource>(std::move(keys), std::move(rows), source.schema,
                                            keep == "last"   ? Keep::kLast
                                            : keep == "none" ? Keep::kNone
                                                             : Keep::kFirst);
  }
  if (op != "aggregate") return BugError("an exchange is reduced by '" + op + "', which there is not");
  ARROW_ASSIGN_OR_RAISE(auto columns, ColumnsOf(*source.schema, exchange, source.reduce, pool));
  return std::make_unique<AggregateSource>(std::move(keys), std::move(rows), source.schema,
                                           std::move(columns));
}

}  // namespace partita
