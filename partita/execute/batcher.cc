#include "partita/execute/batcher.h"

#include <arrow/api.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace partita {
namespace {

RowOrdinals Joined(const std::vector<Block>& parts, int64_t rows) {
  const int64_t first = parts.front().ordinals.At(0);
  const RowOrdinals& end = parts.back().ordinals;
  std::vector<int64_t> ordinals;
  ordinals.reserve(static_cast<size_t>(rows));
  for (const Block& part : parts) {
    for (int64_t i = 0; i < part.num_rows(); ++i) ordinals.push_back(part.ordinals.At(i));
  }
  const bool dense = end.At(end.size() - 1) - first == rows - 1 &&
                     std::adjacent_find(ordinals.begin(), ordinals.end(),
                                        [](int64_t a, int64_t b) { return b != a + 1; }) == ordinals.end();
  return dense ? RowOrdinals::Range(first, rows) : RowOrdinals::List(std::move(ordinals));
}

}  // namespace

Status Batcher::Add(const Block& block) {
  if (block.num_rows() == 0) return Status::OK();
  if (cutter_) {
    std::vector<int64_t> ends;
    ARROW_RETURN_NOT_OK(cutter_->Cut(*block.batch, &ends));
    int64_t last = ends_.empty() ? taken_ : ends_.back();
    for (const int64_t end : ends) {
      const int64_t at = taken_ + rows_ + end;
      if (at > last) ends_.push_back(at);  // a cut before the first row of all, or twice the same, is none
      last = at;
    }
  }
  rows_ += block.num_rows();
  blocks_.push_back(block);
  return Status::OK();
}

Result<Block> Batcher::Take(arrow::MemoryPool* pool) {
  const int64_t rows = cutter_ && !ends_.empty() ? ends_.front() - taken_
                       : cutter_                 ? rows_
                                                 : std::min(rows_, batch_rows_);
  if (rows == 0) return BugError("a batch was taken where no rows are");
  std::vector<Block> parts;
  int64_t missing = rows;
  for (size_t i = 0; missing > 0; ++i) {
    const int64_t taken = std::min(missing, blocks_[i].num_rows());
    parts.push_back(taken == blocks_[i].num_rows() ? blocks_[i] : blocks_[i].Slice(0, taken));
    missing -= taken;
  }
  Block batch = parts[0];
  if (parts.size() > 1) {
    std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
    batches.reserve(parts.size());
    for (const Block& part : parts) batches.push_back(part.batch);
    batch.ordinals = Joined(parts, rows);
    if (batches[0]->num_columns() == 0) {
      batch.batch = arrow::RecordBatch::Make(batches[0]->schema(), rows, arrow::ArrayVector{});
    } else {
      ARROW_ASSIGN_OR_RAISE(batch.batch, arrow::ConcatenateRecordBatches(batches, pool));
    }
  }
  rows_ -= rows;
  taken_ += rows;
  if (!ends_.empty()) ends_.pop_front();
  for (int64_t left = rows; left > 0;) {
    Block& front = blocks_.front();
    const int64_t taken = std::min(left, front.num_rows());
    left -= taken;
    if (taken == front.num_rows()) {
      blocks_.pop_front();
    } else {
      front = front.Slice(taken, front.num_rows() - taken);
    }
  }
  return batch;
}

}  // namespace partita
