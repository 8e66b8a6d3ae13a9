// The rows that a join gives out: picks of left and right rows are gathered until there are enough for a
// block, then its columns are made. Shared by all ways to join.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "partita/block/block.h"
#include "partita/pipeline/join.h"
#include "partita/runs/interleave.h"

namespace partita {

// A batch of one side, some of whose rows are picked.
struct JoinBatch {
  std::shared_ptr<arrow::RecordBatch> batch;
  double row_bytes = 0;  // about
  int64_t made = -1;     // the block for which `place` holds
  uint32_t place = 0;
};
using JoinBatchPtr = std::shared_ptr<JoinBatch>;

class JoinRows {
 public:
  static constexpr size_t kMaxRows = 64 << 10;  // of a block

  // `output` are the columns of `join`, pairwise; keys as in both schemas.
  static Result<JoinRows> Make(const Join& join, const JoinKeys& keys, const arrow::Schema& left,
                               const arrow::Schema& right, std::shared_ptr<arrow::Schema> output);

  // `Batch` is a JoinBatch or made of one.
  template <typename Batch>
  void AddPair(const std::shared_ptr<Batch>& left, int64_t left_row, const std::shared_ptr<Batch>& right,
               int64_t right_row) {
    left_picks_.push_back(PickOf(left, left_row, &left_batches_));
    right_picks_.push_back(PickOf(right, right_row, &right_batches_));
  }
  template <typename Batch>
  void AddLeft(const std::shared_ptr<Batch>& left, int64_t row) {
    left_picks_.push_back(PickOf(left, row, &left_batches_));
    right_picks_.push_back(kNullRow);
  }
  template <typename Batch>
  void AddRight(const std::shared_ptr<Batch>& right, int64_t row) {
    left_picks_.push_back(kNullRow);
    right_picks_.push_back(PickOf(right, row, &right_batches_));
  }
  // Room for about so many rows.
  void Reserve(int64_t rows) {
    const auto most = std::min(static_cast<size_t>(rows), kMaxRows);
    left_picks_.reserve(most);
    right_picks_.reserve(most);
  }
  bool full(int64_t target_bytes) const {
    return left_picks_.size() >= kMaxRows || picked_bytes_ >= static_cast<double>(target_bytes);
  }
  bool empty() const { return left_picks_.empty(); }
  // Part of what was picked was given out: nothing may be added before the rest is.
  bool emitting() const { return emitted_ > 0; }
  // Texts of the right side may stand as indices of the batch that they come from, where there is one batch.
  void GiveCodes() { gives_codes_ = true; }
  // What was picked, or its first part where memory is short. Columns of a left batch that stands alone are
  // of the types that it has.
  Result<std::shared_ptr<arrow::RecordBatch>> Emit(arrow::MemoryPool* pool);
  // The same with ordinals, counted from the first row that was given out; nothing where nothing is picked.
  Result<std::optional<Block>> EmitBlock(arrow::MemoryPool* pool);

 private:
  struct OutputColumn {
    JoinColumn::Side from = JoinColumn::Side::kLeft;
    int left = -1, right = -1;  // in the inputs
  };
  using Batches = std::vector<JoinBatchPtr>;

  template <typename Batch>
  RowPick PickOf(const std::shared_ptr<Batch>& batch, int64_t row, Batches* batches) {
    if (batch->made != made_) {
      batch->made = made_;
      batch->place = static_cast<uint32_t>(batches->size());
      batches->push_back(batch);
    }
    picked_bytes_ += batch->row_bytes;
    return {batch->place, static_cast<uint32_t>(row)};
  }
  Result<std::shared_ptr<arrow::RecordBatch>> Make(size_t count, arrow::MemoryPool* pool) const;
  Result<std::shared_ptr<arrow::RecordBatch>> Columns(JoinColumn::Side from, size_t begin, size_t count,
                                                      arrow::MemoryPool* pool) const;

  std::vector<OutputColumn> columns_;
  std::shared_ptr<arrow::Schema> schema_;
  int64_t made_ = 0;  // blocks
  Batches left_batches_, right_batches_;
  std::vector<RowPick> left_picks_, right_picks_;
  size_t emitted_ = 0;
  int64_t given_rows_ = 0;  // in blocks
  double picked_bytes_ = 0;
  bool gives_codes_ = false;
};

}  // namespace partita
