#include "partita/exchange/group_rows.h"

#include <arrow/api.h>
#include <arrow/util/bit_util.h>

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "partita/block/select_rows.h"
#include "partita/exchange/group_keys.h"
#include "partita/pipeline/group_steps.h"

namespace partita {
namespace {

// The place of each row in its group, in a stream of rows that are ordered by the hash of their key. Groups
// of one hash may be mixed: those of the newest hash are open.
class GroupPlaces {
 public:
  void Fill(const GroupKeys& keys, const uint64_t* hashes, int64_t* places) {
    for (int64_t row = 0; row < keys.rows(); ++row) places[row] = GroupOf(keys, hashes[row], row).rows++;
  }

 private:
  struct Open {
    KeyPrefix prefix;
    std::string long_key;
    int64_t rows = 0;
  };

  Open& GroupOf(const GroupKeys& keys, uint64_t hash, int64_t row) {
    if (hash != hash_) num_open_ = 0;
    hash_ = hash;
    const auto& prefix = keys.prefix(row);
    const auto long_key = keys.long_key(row);
    for (size_t i = 0; i < num_open_; ++i) {
      if (open_[i].prefix == prefix && open_[i].long_key == long_key) return open_[i];
    }
    if (num_open_ == open_.size()) open_.emplace_back();
    Open& open = open_[num_open_++];
    open.prefix = prefix;
    open.long_key = long_key;
    open.rows = 0;
    return open;
  }

  std::vector<Open> open_;  // the first num_open_; memory of the others is used again
  size_t num_open_ = 0;
  uint64_t hash_ = 0;
};

class GroupRowsSource final : public Source {
 public:
  GroupRowsSource(GroupKeys keys, GroupRows what, std::vector<int> columns,
                  std::shared_ptr<arrow::Schema> schema, std::unique_ptr<Source> rows)
      : keys_(std::move(keys)),
        what_(std::move(what)),
        columns_(std::move(columns)),
        schema_(std::move(schema)),
        rows_(std::move(rows)) {}

  // A refused allocation may come at any point: a block that was read, and places that were counted, are
  // kept.
  Result<std::optional<Block>> Next(const OperatorContext& ctx) override {
    while (true) {
      ARROW_RETURN_NOT_OK(ctx.cancel.Check());
      if (!block_) {
        ARROW_ASSIGN_OR_RAISE(block_, rows_->Next(ctx));
        if (!block_) return std::nullopt;
      }
      const int64_t rows = block_->num_rows();
      if (!places_) ARROW_RETURN_NOT_OK(Count(rows, ctx.pool.get()));
      std::shared_ptr<arrow::RecordBatch> batch;
      const int64_t kept = KeptOf(rows);
      if (kept > 0) {
        ARROW_ASSIGN_OR_RAISE(batch, Numbered(rows, ctx.pool.get()));
        if (kept < rows) {
          ARROW_ASSIGN_OR_RAISE(const auto mask, MaskOf(rows, ctx.pool.get()));
          ARROW_ASSIGN_OR_RAISE(batch, SelectRows(*batch, mask, ctx.pool.get()));
        }
      }
      block_.reset();
      places_.reset();
      if (!batch) continue;
      Block out;
      out.ordinals = RowOrdinals::Range(done_, kept);
      out.batch = std::move(batch);
      done_ += kept;
      return out;
    }
  }

 private:
  const int64_t* places() const { return reinterpret_cast<const int64_t*>(places_->data()); }

  // All or nothing.
  Status Count(int64_t rows, arrow::MemoryPool* pool) {
    const auto& batch = *block_->batch;
    const auto& hashes = *batch.column(batch.num_columns() - 1);
    if (hashes.type_id() != arrow::Type::UINT64) return BugError("rows of groups come without their hash");
    ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> buffer, arrow::AllocateBuffer(rows * 8, pool));
    ARROW_RETURN_NOT_OK(keys_.Encode(batch));
    counted_.Fill(keys_, static_cast<const arrow::UInt64Array&>(hashes).raw_values(),
                  reinterpret_cast<int64_t*>(buffer->mutable_data()));
    places_ = std::move(buffer);
    return Status::OK();
  }

  bool Keeps(int64_t row) const { return what_.limit < 0 || places()[row] < what_.limit; }

  int64_t KeptOf(int64_t rows) const {
    int64_t kept = 0;
    for (int64_t row = 0; row < rows; ++row) kept += Keeps(row);
    return kept;
  }

  Result<std::shared_ptr<arrow::BooleanArray>> MaskOf(int64_t rows, arrow::MemoryPool* pool) const {
    ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> bits, arrow::AllocateEmptyBitmap(rows, pool));
    for (int64_t row = 0; row < rows; ++row) {
      if (Keeps(row)) arrow::bit_util::SetBit(bits->mutable_data(), row);
    }
    return std::make_shared<arrow::BooleanArray>(rows, std::move(bits));
  }

  // The block's columns, then the numbers of its rows.
  Result<std::shared_ptr<arrow::RecordBatch>> Numbered(int64_t rows, arrow::MemoryPool* pool) const {
    arrow::ArrayVector arrays;
    for (const int column : columns_) arrays.push_back(block_->batch->column(column));
    for (const auto& number : what_.numbers) {
      std::shared_ptr<arrow::Buffer> values = places_;
      if (number.first != 0) {
        ARROW_ASSIGN_OR_RAISE(values, arrow::AllocateBuffer(rows * 8, pool));
        auto* out = reinterpret_cast<uint64_t*>(values->mutable_data());
        for (int64_t row = 0; row < rows; ++row)
          out[row] = static_cast<uint64_t>(places()[row]) + static_cast<uint64_t>(number.first);
      }
      arrays.push_back(std::make_shared<arrow::Int64Array>(rows, std::move(values)));
    }
    return arrow::RecordBatch::Make(schema_, rows, std::move(arrays));
  }

  GroupKeys keys_;
  const GroupRows what_;
  const std::vector<int> columns_;  // of a block, those of schema_ before the numbers
  const std::shared_ptr<arrow::Schema> schema_;
  std::unique_ptr<Source> rows_;
  GroupPlaces counted_;
  std::optional<Block> block_;
  std::shared_ptr<arrow::Buffer> places_;  // int64, of the block's rows
  int64_t done_ = 0;
};

}  // namespace

Result<std::unique_ptr<Source>> MakeGroupRowsSource(const PlanExchange& exchange, const PlanSource& source,
                                                    std::unique_ptr<Source> rows,
                                                    const std::shared_ptr<BudgetPool>& pool) {
  ARROW_ASSIGN_OR_RAISE(GroupRows what, GroupRowsFromJson(source.reduce));
  std::vector<int> key_columns, columns;
  for (const auto& key : exchange.keys) key_columns.push_back(exchange.schema->GetFieldIndex(key.column));
  const auto& schema = *source.schema;
  const int passed = schema.num_fields() - static_cast<int>(what.numbers.size());
  for (int i = 0; i < passed; ++i) columns.push_back(exchange.schema->GetFieldIndex(schema.field(i)->name()));
  ARROW_ASSIGN_OR_RAISE(auto keys, GroupKeys::Make(*exchange.schema, key_columns, pool));
  return std::make_unique<GroupRowsSource>(std::move(keys), std::move(what), std::move(columns),
                                           source.schema, std::move(rows));
}

}  // namespace partita
