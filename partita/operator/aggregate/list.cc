// list: all values of a group, in the order in which they came.
#include <arrow/array.h>
#include <arrow/type.h>

#include <limits>
#include <numeric>
#include <vector>

#include "partita/operator/aggregate/kinds.h"
#include "partita/operator/aggregate/rows.h"
#include "partita/operator/aggregate/state.h"

namespace partita {
namespace {

// Columns are kept as they came, not copied, until all of their rows are finished.
class List final : public AggregateBase {
 public:
  explicit List(const AggregateInit& init)
      : AggregateBase(init.input, init.output, init.pool), lengths_(init.pool) {}

  int64_t size_bytes() const override {
    int64_t size = lengths_.size_bytes();
    for (const auto& piece : pieces_) size += piece.groups.size_bytes() + BufferBytes(*piece.column->data());
    return size;
  }

 protected:
  Status Grow(uint32_t num_groups) override { return lengths_.Resize(num_groups); }

  Status Add(const arrow::Array* column, Groups groups) override {
    Piece piece{arrow::MakeArray(column->data()), GroupVector<uint32_t>(pool_)};
    ARROW_RETURN_NOT_OK(piece.groups.Reserve(groups.size()));
    for (const uint32_t group : groups) {
      piece.groups.PushBack(group);
      ++lengths_[group];
    }
    pieces_.push_back(std::move(piece));
    return Status::OK();
  }

  Result<ArrayPtr> Make(uint32_t count, arrow::MemoryPool* pool) override {
    const int64_t values = std::accumulate(lengths_.begin(), lengths_.begin() + count, int64_t{0});
    if (values > std::numeric_limits<int32_t>::max()) {
      return OutOfMemoryError("lists of more than 2^31 values together");
    }
    ARROW_ASSIGN_OR_RAISE(
        std::shared_ptr<arrow::Buffer> offset_buffer,
        arrow::AllocateBuffer((int64_t{count} + 1) * static_cast<int64_t>(sizeof(int32_t)), pool));
    auto* offsets = reinterpret_cast<int32_t*>(offset_buffer->mutable_data());
    offsets[0] = 0;
    for (uint32_t g = 0; g < count; ++g) offsets[g + 1] = offsets[g] + static_cast<int32_t>(lengths_[g]);

    GroupVector<RowPick> picks(pool_);
    ARROW_RETURN_NOT_OK(picks.Resize(static_cast<size_t>(values)));
    GroupVector<int32_t> next(pool_);  // where the next value of a group goes
    ARROW_RETURN_NOT_OK(next.Resize(count));
    std::copy_n(offsets, count, next.begin());
    std::vector<ArrayPtr> arrays = {nullptr};
    for (const auto& piece : pieces_) {
      for (size_t row = 0; row < piece.groups.size(); ++row) {
        const uint32_t group = piece.groups[row];
        if (group >= count) continue;  // kFinished too
        picks[static_cast<size_t>(next[group]++)] = {static_cast<uint32_t>(arrays.size()),
                                                     static_cast<uint32_t>(row)};
      }
      arrays.push_back(piece.column);
    }
    ARROW_ASSIGN_OR_RAISE(const auto items, PickRows(input_, std::move(arrays), /*nulls=*/false,
                                                     {picks.begin(), picks.size()}, pool));
    return std::make_shared<arrow::ListArray>(output_, count, std::move(offset_buffer), items);
  }

  void Forget(uint32_t count) override {
    lengths_.DropFront(count);
    for (auto& piece : pieces_) {
      bool used = false;
      for (uint32_t& group : piece.groups) {
        if (group == kFinished) continue;
        group = group < count ? kFinished : group - count;
        used = used || group != kFinished;
      }
      if (!used) piece.column = nullptr;
    }
    std::erase_if(pieces_, [](const Piece& piece) { return piece.column == nullptr; });
  }

 private:
  static constexpr uint32_t kFinished = std::numeric_limits<uint32_t>::max();

  struct Piece {
    ArrayPtr column;
    GroupVector<uint32_t> groups;  // of its rows
  };

  GroupVector<int64_t> lengths_;
  std::vector<Piece> pieces_;
};

}  // namespace

AggregatePtr MakeList(const AggregateInit& init) { return std::make_unique<List>(init); }

}  // namespace partita
