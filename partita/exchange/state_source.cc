#include "partita/exchange/state_source.h"

#include <arrow/api.h>

#include <algorithm>
#include <numeric>
#include <optional>
#include <utility>
#include <vector>

#include "partita/exchange/hash_window.h"
#include "partita/runs/interleave.h"
#include "partita/runs/key_match.h"

namespace partita {
namespace {

Result<const uint64_t*> HashesOf(const arrow::RecordBatch& rows) {
  const auto& column = *rows.column(rows.num_columns() - 1);
  if (column.type_id() != arrow::Type::UINT64) return BugError("states of groups come without their hash");
  return static_cast<const arrow::UInt64Array&>(column).raw_values();
}

// The first row whose hash is not less.
int64_t LowerBound(const uint64_t* hashes, int64_t rows, uint64_t hash) {
  return std::lower_bound(hashes, hashes + rows, hash) - hashes;
}

// A refused allocation may come at any point: each part of the work remembers how far it got.
class StateSource final : public Source {
 public:
  StateSource(const GroupStates* states, KeyMatcher matcher, std::shared_ptr<arrow::Schema> schema,
              SortedWindows windows, std::vector<std::unique_ptr<Aggregate>> aggregates,
              const std::shared_ptr<BudgetPool>& pool)
      : states_(states),
        matcher_(std::move(matcher)),
        schema_(std::move(schema)),
        windows_(std::move(windows)),
        aggregates_(std::move(aggregates)),
        table_(pool),
        places_(pool) {
    const auto& fields = schema_->fields();
    const auto keys = static_cast<std::ptrdiff_t>(states_->keys.size());
    key_schema_ = arrow::schema(arrow::FieldVector(fields.begin(), fields.begin() + keys));
    value_schema_ = arrow::schema(arrow::FieldVector(fields.begin() + keys, fields.end()));
  }

  Result<std::optional<Block>> Next(const OperatorContext& ctx) override {
    while (true) {
      ARROW_RETURN_NOT_OK(ctx.cancel.Check());
      if (!is_taken_) {
        if (rest_.parts.empty()) {
          if (ended_ && table_.count() == 0) return std::nullopt;
          if (!ended_) {
            ARROW_ASSIGN_OR_RAISE(rest_, windows_(ctx));
          }
          ended_ = rest_.parts.empty();
        }
        ARROW_RETURN_NOT_OK(Take(ctx));
        is_taken_ = true;
      }
      for (; next_part_ < parts_.size(); ++next_part_) {
        ARROW_RETURN_NOT_OK(ctx.cancel.Check());
        ARROW_RETURN_NOT_OK(Merge(parts_[next_part_]));
        is_assigned_ = false;
        updated_ = 0;
      }
      const uint32_t closed = Closed();
      std::shared_ptr<arrow::RecordBatch> batch;
      if (closed > 0) {
        ARROW_ASSIGN_OR_RAISE(batch, Give(closed, ctx.pool.get()));
      }
      Forget(closed);
      if (!batch) continue;
      Block block;
      block.ordinals = RowOrdinals::Range(done_, batch->num_rows());
      done_ += batch->num_rows();
      block.batch = std::move(batch);
      return block;
    }
  }

 private:
  // Rows of one run that are merged now.
  struct Part {
    std::shared_ptr<arrow::RecordBatch> rows;
    const uint64_t* hashes = nullptr;  // of rows
    uint32_t keys = 0;                 // their place in keys_
  };
  struct Keys {
    std::shared_ptr<arrow::RecordBatch> rows;
    MatchKeys match;  // of rows
  };

  // Of what has come, the rows that are merged together: all of them, or those with the lesser hashes where memory
  // is short. First the rows whose hashes are complete, then those whose hash goes on in the next window.
  Status Take(const OperatorContext& ctx) {
    bound_ = rest_.open;
    bool is_all = true;
    while (true) {
      uint64_t low = UINT64_MAX, high = 0;
      size_t rows = 0;
      for (const auto& part : rest_.parts) {
        ARROW_ASSIGN_OR_RAISE(const auto* hashes, HashesOf(*part));
        const int64_t end = is_all ? part->num_rows() : LowerBound(hashes, part->num_rows(), *bound_);
        if (end == 0) continue;
        rows += static_cast<size_t>(end);
        low = std::min(low, hashes[0]);
        high = std::max(high, hashes[end - 1]);
      }
      if (table_.count() > 0) low = table_.hash(0);
      high = std::max(low, high);
      const Status status = table_.Begin(low, high, rows);
      if (status.ok()) break;
      if (!status.IsOutOfMemory()) return status;
      ARROW_ASSIGN_OR_RAISE(const uint64_t middle, MiddleHash(is_all ? UINT64_MAX : *bound_));
      if (middle <= low) return status;
      bound_ = middle;
      is_all = false;
    }
    return Divide(is_all, ctx);
  }

  // A hash of the longest part that has smaller ones, if any, among those up to `high`.
  Result<uint64_t> MiddleHash(uint64_t high) const {
    uint64_t middle = 0;
    int64_t longest = 0;
    for (const auto& part : rest_.parts) {
      ARROW_ASSIGN_OR_RAISE(const auto* hashes, HashesOf(*part));
      const int64_t rows = high == UINT64_MAX ? part->num_rows() : LowerBound(hashes, part->num_rows(), high);
      if (rows <= longest) continue;
      longest = rows;
      middle = hashes[rows / 2];
    }
    return middle;
  }

  Status Divide(bool is_all, const OperatorContext& ctx) {
    std::vector<Part> heads, tails;
    std::vector<std::shared_ptr<arrow::RecordBatch>> left;
    std::vector<Keys> keys;
    for (auto& part : rest_.parts) {
      ARROW_ASSIGN_OR_RAISE(const auto* hashes, HashesOf(*part));
      const int64_t rows = part->num_rows(), end = bound_ ? LowerBound(hashes, rows, *bound_) : rows;
      if (!is_all && end < rows) left.push_back(part->Slice(end));
      const int64_t taken = is_all ? rows : end;
      if (taken == 0) continue;
      arrow::ArrayVector columns;
      for (size_t key = 0; key < states_->keys.size(); ++key)
        columns.push_back(part->column(static_cast<int>(key))->Slice(0, taken));
      auto key_rows = arrow::RecordBatch::Make(key_schema_, taken, std::move(columns));
      ARROW_ASSIGN_OR_RAISE(auto match, matcher_.Prepare(*key_rows, ctx.pool.get()));
      const auto at = static_cast<uint32_t>(keys_.size() + keys.size());
      keys.push_back({std::move(key_rows), std::move(match)});
      if (end > 0) heads.push_back({part->Slice(0, end), hashes, at});
      if (end < taken) tails.push_back({part->Slice(end), hashes + end, at});
    }
    heads_ = heads.size();
    parts_ = std::move(heads);
    std::move(tails.begin(), tails.end(), std::back_inserter(parts_));
    std::move(keys.begin(), keys.end(), std::back_inserter(keys_));
    rest_.parts = std::move(left);
    next_part_ = 0;
    closed_ = table_.count();
    return Status::OK();
  }

  Status Merge(const Part& part) {
    if (!is_assigned_) {
      ARROW_RETURN_NOT_OK(places_.Reserve(table_.count() + static_cast<size_t>(part.rows->num_rows())));
      Assign(part);
      is_assigned_ = true;
      if (next_part_ < heads_) closed_ = table_.count();
    }
    for (; updated_ < aggregates_.size(); ++updated_) {
      const auto& function = states_->functions[updated_];
      const auto first = part.rows->columns().begin() + function.first_state;
      ARROW_RETURN_NOT_OK(
          aggregates_[updated_]->Merge({first, first + function.states}, groups_, table_.count()));
    }
    return Status::OK();
  }

  void Assign(const Part& part) {
    const auto rows = static_cast<size_t>(part.rows->num_rows());
    // Rows of a tail stand behind those of its head.
    const auto first = static_cast<uint32_t>(next_part_ < heads_ ? 0 : keys_[part.keys].rows->num_rows() -
                                                                           static_cast<int64_t>(rows));
    groups_.resize(rows);
    for (size_t i = 0; i < rows; ++i) {
      const uint32_t row = first + static_cast<uint32_t>(i);
      const uint32_t known = table_.count();
      groups_[i] = table_.FindOrAdd(part.hashes[i], [&](uint32_t group) {
        const RowPick& place = places_[group];
        return SameKeys(keys_[place.batch].match, place.row, keys_[part.keys].match, row);
      });
      if (groups_[i] == known) places_.PushBack({part.keys, row});
    }
  }

  // Groups whose rows have all come.
  uint32_t Closed() const {
    if (ended_ || !bound_) return table_.count();
    return table_.count() > 0 && table_.hash(0) == *bound_ ? 0 : closed_;
  }

  // The first `closed` groups in order.
  Result<std::shared_ptr<arrow::RecordBatch>> Give(uint32_t closed, arrow::MemoryPool* pool) {
    std::vector<uint32_t> order(closed);
    table_.Order(order);
    std::vector<RowPick> picks(closed);
    if (!given_keys_) {
      std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
      for (const auto& keys : keys_) batches.push_back(keys.rows);
      std::transform(order.begin(), order.end(), picks.begin(), [&](uint32_t g) { return places_[g]; });
      ARROW_ASSIGN_OR_RAISE(given_keys_, Interleave(key_schema_, batches, picks, pool));
    }
    while (finished_.size() < aggregates_.size()) {
      ARROW_ASSIGN_OR_RAISE(auto values, aggregates_[finished_.size()]->Finish(closed, pool));
      finished_.push_back(std::move(values));
    }
    auto values = arrow::RecordBatch::Make(value_schema_, closed, finished_);
    if (!std::is_sorted(order.begin(), order.end())) {
      std::transform(order.begin(), order.end(), picks.begin(), [](uint32_t g) { return RowPick{0, g}; });
      const std::vector<std::shared_ptr<arrow::RecordBatch>> batches = {std::move(values)};
      ARROW_ASSIGN_OR_RAISE(values, Interleave(value_schema_, batches, picks, pool));
    }
    arrow::ArrayVector columns = given_keys_->columns();
    for (const auto& column : values->columns()) columns.push_back(column);
    return arrow::RecordBatch::Make(schema_, closed, std::move(columns));
  }

  // What is merged and given out; groups that are not move up.
  void Forget(uint32_t closed) {
    table_.Forget(closed);
    places_.DropFront(closed);
    std::vector<Keys> kept;
    std::vector<int64_t> moved(keys_.size(), -1);
    for (auto& place : places_) {
      int64_t& to = moved[place.batch];
      if (to < 0) {
        to = static_cast<int64_t>(kept.size());
        kept.push_back(std::move(keys_[place.batch]));
      }
      place.batch = static_cast<uint32_t>(to);
    }
    keys_ = std::move(kept);
    parts_.clear();
    given_keys_.reset();
    finished_.clear();
    is_taken_ = false;
  }

  const GroupStates* states_;
  KeyMatcher matcher_;
  std::shared_ptr<arrow::Schema> schema_, key_schema_, value_schema_;
  SortedWindows windows_;
  std::vector<std::unique_ptr<Aggregate>> aggregates_;

  RunMerger::Window rest_;         // what has come and is not taken
  bool ended_ = false;             // nothing more comes
  std::optional<uint64_t> bound_;  // of what is taken: hashes below it are complete; none: all are
  bool is_taken_ = false;
  std::vector<Part> parts_;
  size_t heads_ = 0;  // of parts_, those below the bound
  size_t next_part_ = 0;
  // Of parts_[next_part_].
  bool is_assigned_ = false;
  size_t updated_ = 0;
  std::vector<uint32_t> groups_;

  HashWindow table_;
  uint32_t closed_ = 0;           // groups when the last head was merged
  std::vector<Keys> keys_;        // of parts_, and of groups that are open
  GroupVector<RowPick> places_;   // of each group's keys in keys_
  std::shared_ptr<arrow::RecordBatch> given_keys_;
  arrow::ArrayVector finished_;   // by function, until all are
  int64_t done_ = 0;
};

}  // namespace

Result<std::unique_ptr<Source>> MakeStateSource(const GroupStates* states, std::shared_ptr<arrow::Schema> schema,
                                                SortedWindows windows, const std::shared_ptr<BudgetPool>& pool) {
  const auto& fields = schema->fields();
  std::vector<int> keys(states->keys.size());
  std::iota(keys.begin(), keys.end(), 0);
  const auto end = fields.begin() + static_cast<std::ptrdiff_t>(keys.size());
  ARROW_ASSIGN_OR_RAISE(auto matcher, KeyMatcher::Make(arrow::Schema({fields.begin(), end}), std::move(keys)));
  std::vector<std::unique_ptr<Aggregate>> aggregates;
  for (const auto& function : states->functions) {
    ARROW_ASSIGN_OR_RAISE(auto aggregate, states->Make(function, pool));
    aggregates.push_back(std::move(aggregate));
  }
  return std::make_unique<StateSource>(states, std::move(matcher), std::move(schema), std::move(windows),
                                       std::move(aggregates), pool);
}

}  // namespace partita
