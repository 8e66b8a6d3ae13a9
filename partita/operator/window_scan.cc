#include "partita/operator/window_scan.h"

#include <arrow/api.h>

#include <algorithm>
#include <limits>
#include <span>

#include "partita/runs/interleave.h"
#include "partita/runs/row_key.h"

namespace partita {
namespace {

constexpr int64_t kFragmentRows = int64_t{1} << kOrdinalFragmentShift;

// Reads chunk after chunk, from a row of the first one on, and checks that each has the rows it should have.
class ChunkReader {
 public:
  explicit ChunkReader(WindowScanInit init) : init_(std::move(init)) {}

  // Rows before `row` (of all chunks) are not given, and where the format can, not read.
  void StartAt(int64_t row) {
    while (chunk_ < chunks().size() && row >= chunks()[chunk_].rows) row -= chunks()[chunk_++].rows;
    skip_ = row;
    NextFragment();
  }

  Result<std::optional<Block>> Next(const OperatorContext& ctx) {
    while (chunk_ < chunks().size()) {
      if (!source_) ARROW_RETURN_NOT_OK(Open());
      ARROW_ASSIGN_OR_RAISE(auto block, source_->Next(ctx));
      if (!block) {
        ARROW_RETURN_NOT_OK(EndChunk());
        continue;
      }
      const int64_t drop = std::min(skip_, block->num_rows());
      skip_ -= drop;
      given_ += block->num_rows();
      if (given_ > chunks()[chunk_].rows) return OtherRows();
      if (drop == block->num_rows()) continue;
      Block rest = block->Slice(drop, block->num_rows() - drop);
      rest.ordinals = Numbered(given_ - rest.num_rows(), rest.num_rows());
      return rest;
    }
    return std::nullopt;
  }

  int64_t bytes_read() const { return bytes_read_ + (source_ ? source_->bytes_read() : 0); }

 private:
  const std::vector<Chunk>& chunks() const { return init_.window->chunks; }

  Status Open() {
    ScanInit scan;
    scan.source = init_.source;
    scan.snapshot = init_.snapshot;
    scan.table = init_.table;
    scan.partition = chunks()[chunk_].part;
    given_ = 0;
    auto& fragments = scan.partition.fragments;
    if (fragments.empty()) {
      scan.partition.first_row += skip_;
      scan.partition.rows -= skip_;
      given_ = std::exchange(skip_, 0);
    } else if (fragments.size() > 1) {
      fragments.erase(fragments.begin(), fragments.begin() + skip_);
      given_ = std::exchange(skip_, 0);
    } else if (fragments[0].range == Fragment::Range::kRows) {
      fragments[0].begin += skip_;
      given_ = std::exchange(skip_, 0);
    }
    return MakeScan(std::move(scan)).Value(&source_);
  }

  Status EndChunk() {
    if (given_ != chunks()[chunk_].rows) return OtherRows();
    bytes_read_ += source_->bytes_read();
    source_.reset();
    ++chunk_;
    NextFragment();
    return Status::OK();
  }

  // How many fragments stand before the chunk: the high part of its ordinals.
  void NextFragment() {
    first_fragment_ = 0;
    for (size_t i = 0; i < chunk_ && i < chunks().size(); ++i)
      first_fragment_ += static_cast<int64_t>(chunks()[i].part.fragments.size());
  }

  RowOrdinals Numbered(int64_t row, int64_t count) const {
    const auto& part = chunks()[chunk_].part;
    if (part.fragments.empty()) return RowOrdinals::Range(part.first_row + row, count);
    if (part.fragments.size() == 1) return RowOrdinals::Range(first_fragment_ * kFragmentRows + row, count);
    std::vector<int64_t> ordinals;
    for (int64_t i = 0; i < count; ++i) ordinals.push_back((first_fragment_ + row + i) * kFragmentRows);
    return RowOrdinals::List(std::move(ordinals));
  }

  Status OtherRows() const {
    const auto& chunk = chunks()[chunk_];
    const std::string file = chunk.part.fragments.empty() ? "" : chunk.part.fragments[0].file.location;
    return WithContext(EnvironmentError("a part of the source has other rows than the " +
                                            std::to_string(chunk.rows) + " that were counted: it has changed",
                                        "open the dataset again, without the index and states made before",
                                        /*retriable=*/false),
                       {.file = file});
  }

  WindowScanInit init_;
  size_t chunk_ = 0;
  int64_t first_fragment_ = 0;
  int64_t skip_ = 0;   // rows of the open or next chunk that are read and not given
  int64_t given_ = 0;  // rows of the open chunk that have passed, with those that were skipped unread
  std::unique_ptr<Source> source_;
  int64_t bytes_read_ = 0;
};

class PlainWindow final : public Source {
 public:
  explicit PlainWindow(WindowScanInit init) : left_(init.window->rows), reader_(init) {
    reader_.StartAt(init.window->first);
  }

  Result<std::optional<Block>> Next(const OperatorContext& ctx) override {
    if (left_ == 0) return std::nullopt;
    ARROW_ASSIGN_OR_RAISE(auto block, reader_.Next(ctx));
    if (!block) return BugError("a window ends before its rows");
    if (block->num_rows() > left_) block = block->Slice(0, left_);
    left_ -= block->num_rows();
    return block;
  }

  int64_t bytes_read() const override { return reader_.bytes_read(); }

 private:
  int64_t left_;
  ChunkReader reader_;
};

class PermutedWindow final : public Source {
 public:
  explicit PermutedWindow(WindowScanInit init) : init_(init), reader_(init) { reader_.StartAt(0); }

  Result<std::optional<Block>> Next(const OperatorContext& ctx) override {
    if (!order_) ARROW_RETURN_NOT_OK(Load(ctx));
    const int64_t left = init_.window->rows - given_;
    if (left == 0) {
      blocks_.clear();
      batches_.clear();
      order_.reset();
      return std::nullopt;
    }
    const int64_t rows = std::min(left, BlockRows());
    auto block = Pick(init_.window->first + given_, rows, ctx);
    if (block.status().IsOutOfMemory()) block_rows_ = std::max<int64_t>(1, rows / 2);
    ARROW_RETURN_NOT_OK(block.status());
    given_ += rows;
    return std::move(*block);
  }

  int64_t bytes_read() const override { return reader_.bytes_read(); }

 private:
  struct Place {
    uint64_t hash;
    RowPick pick;
  };

  Status Load(const OperatorContext& ctx) {
    while (true) {
      ARROW_RETURN_NOT_OK(ctx.cancel.Check());
      ARROW_ASSIGN_OR_RAISE(auto block, reader_.Next(ctx));
      if (!block) break;
      bytes_ += BufferBytes(*block->batch);
      rows_ += block->num_rows();
      batches_.push_back(block->batch);
      blocks_.push_back(std::move(*block));
    }
    if (init_.window->first + init_.window->rows > rows_) return BugError("a window ends before its rows");
    ARROW_ASSIGN_OR_RAISE(order_,
                          arrow::AllocateBuffer(rows_ * static_cast<int64_t>(sizeof(Place)), ctx.pool.get()));
    const auto places = Places();
    int64_t position = 0;
    for (size_t b = 0; b < batches_.size(); ++b) {
      for (int64_t i = 0; i < batches_[b]->num_rows(); ++i, ++position) {
        places[static_cast<size_t>(position)] = {
            ShuffleKey(init_.window->key, 0, init_.window->window, position),
            {static_cast<uint32_t>(b), static_cast<uint32_t>(i)}};
      }
    }
    // Rows of equal hash stand as they were read: (batch, row) is the order of positions.
    std::sort(places.begin(), places.end(), [](const Place& a, const Place& b) {
      if (a.hash != b.hash) return a.hash < b.hash;
      return a.pick.batch != b.pick.batch ? a.pick.batch < b.pick.batch : a.pick.row < b.pick.row;
    });
    block_rows_ = std::max<int64_t>(1, ctx.target_block_bytes / std::max<int64_t>(1, bytes_ / rows_));
    return Status::OK();
  }

  // As many whole batches as a block has room for, or a part of one.
  int64_t BlockRows() const {
    const int64_t batch = init_.window->batch_rows;
    if (batch <= 0) return block_rows_;
    const int64_t rest = batch - (init_.window->batch_at + given_) % batch;
    return rest >= block_rows_ ? block_rows_ : rest + (block_rows_ - rest) / batch * batch;
  }

  std::span<Place> Places() const {
    return {reinterpret_cast<Place*>(order_->mutable_data()), static_cast<size_t>(rows_)};
  }

  Result<Block> Pick(int64_t first, int64_t rows, const OperatorContext& ctx) const {
    std::vector<RowPick> picks;
    std::vector<int64_t> ordinals;
    for (const Place& place : Places().subspan(static_cast<size_t>(first), static_cast<size_t>(rows))) {
      picks.push_back(place.pick);
      ordinals.push_back(blocks_[place.pick.batch].ordinals.At(place.pick.row));
    }
    Block block;
    block.ordinals = RowOrdinals::List(std::move(ordinals));
    if (init_.source->schema->num_fields() == 0) {
      block.batch = arrow::RecordBatch::Make(init_.source->schema, rows, arrow::ArrayVector{});
    } else {
      ARROW_ASSIGN_OR_RAISE(block.batch, Interleave(init_.source->schema, batches_, picks, ctx.pool.get()));
    }
    return block;
  }

  WindowScanInit init_;
  ChunkReader reader_;
  std::vector<Block> blocks_;
  std::vector<std::shared_ptr<arrow::RecordBatch>> batches_;
  std::shared_ptr<arrow::Buffer> order_;  // Place, sorted
  int64_t rows_ = 0, bytes_ = 0, given_ = 0;
  int64_t block_rows_ = 1;
};

}  // namespace

Result<std::unique_ptr<Source>> MakeWindowScan(WindowScanInit init) {
  int64_t rows = 0;
  for (const auto& chunk : init.window->chunks) rows += chunk.rows;
  const auto& window = *init.window;
  if (window.first < 0 || window.rows < 0 || window.first > rows - window.rows ||
      rows > std::numeric_limits<uint32_t>::max()) {
    return BugError("a window does not have the rows that are wanted of it");
  }
  if (window.permuted) return std::unique_ptr<Source>(new PermutedWindow(std::move(init)));
  return std::unique_ptr<Source>(new PlainWindow(std::move(init)));
}

Partition PartitionOf(const WindowRead& window, int64_t index) {
  Partition all;
  all.index = index;
  for (const auto& chunk : window.chunks)
    all.fragments.insert(all.fragments.end(), chunk.part.fragments.begin(), chunk.part.fragments.end());
  return all;
}

}  // namespace partita
