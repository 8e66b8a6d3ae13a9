// list: all values of a group, in the order in which they came.
#include <arrow/array.h>
#include <arrow/type.h>

#include <limits>
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
      : AggregateBase(init.input, init.output, init.pool),
        lengths_(init.pool),
        begins_(init.pool),
        next_(init.pool),
        picks_(init.pool) {}

  int64_t size_bytes() const override {
    int64_t size = lengths_.size_bytes() + begins_.size_bytes() + next_.size_bytes() + picks_.size_bytes();
    for (const auto& piece : pieces_) size += piece.groups.size_bytes() + BufferBytes(*piece.column->data());
    return size;
  }

  // What a group has, as a list of one row.
  Types state_types() const override {
    return CombinesStates(AggregateFunction::kList, input_) ? Types{output_} : Types{};
  }

 protected:
  Status Grow(uint32_t num_groups) override {
    ARROW_RETURN_NOT_OK(begins_.Resize(num_groups));
    ARROW_RETURN_NOT_OK(next_.Resize(num_groups));
    return lengths_.Resize(num_groups);
  }

  Status Add(const arrow::Array* column, Groups groups) override {
    ARROW_RETURN_NOT_OK(Reserve(groups.size()));
    if (pieces_.empty() || !GoesOn(*pieces_.back().column->data(), *column->data())) {
      Piece piece{arrow::MakeArray(column->data()), GroupVector<uint32_t>(pool_)};
      ARROW_RETURN_NOT_OK(piece.groups.Reserve(groups.size()));
      pieces_.push_back(std::move(piece));
    } else {
      ARROW_RETURN_NOT_OK(pieces_.back().groups.Reserve(pieces_.back().groups.size() + groups.size()));
      auto whole = pieces_.back().column->data()->Copy();
      whole->length += column->length();
      whole->null_count = arrow::kUnknownNullCount;
      pieces_.back().column = arrow::MakeArray(std::move(whole));
    }
    for (const uint32_t group : groups) {
      pieces_.back().groups.PushBack(group);
      ++lengths_[group];
    }
    num_values_ += groups.size();
    return Status::OK();
  }

  Result<ArrayPtr> Make(uint32_t count, arrow::MemoryPool* pool) override {
    GroupVector<uint32_t> groups(pool_);
    ARROW_RETURN_NOT_OK(groups.Reserve(count));
    for (uint32_t group = 0; group < count; ++group) groups.PushBack(group);
    return ListsOf({groups.begin(), groups.size()}, pool);
  }

  void Forget(uint32_t count) override {
    lengths_.DropFront(count);
    begins_.DropFront(count);
    next_.DropFront(count);
    num_values_ = 0;
    for (auto& piece : pieces_) {
      bool used = false;
      for (uint32_t& group : piece.groups) {
        if (group == kFinished) continue;
        group = group < count ? kFinished : group - count;
        used = used || group != kFinished;
        num_values_ += group != kFinished;
      }
      if (!used) piece.column = nullptr;
    }
    std::erase_if(pieces_, [](const Piece& piece) { return piece.column == nullptr; });
    is_ordered_ = false;
  }

  Result<Arrays> States(Groups groups, arrow::MemoryPool* pool) override {
    ARROW_ASSIGN_OR_RAISE(auto lists, ListsOf(groups, pool));
    return Arrays{std::move(lists)};
  }

  Status AddStates(const Arrays& states, Groups groups) override {
    const auto& lists = static_cast<const arrow::ListArray&>(*states[0]);
    const int64_t values = lists.value_offset(lists.length()) - lists.value_offset(0);
    ARROW_RETURN_NOT_OK(Reserve(static_cast<size_t>(values)));
    Piece piece{lists.values()->Slice(lists.value_offset(0), values), GroupVector<uint32_t>(pool_)};
    ARROW_RETURN_NOT_OK(piece.groups.Reserve(static_cast<size_t>(values)));
    for (size_t i = 0; i < groups.size(); ++i) {
      const int64_t length = lists.value_length(static_cast<int64_t>(i));
      for (int64_t value = 0; value < length; ++value) piece.groups.PushBack(groups[i]);
      lengths_[groups[i]] += length;
    }
    num_values_ += static_cast<size_t>(values);
    pieces_.push_back(std::move(piece));
    return Status::OK();
  }

 private:
  static constexpr uint32_t kFinished = std::numeric_limits<uint32_t>::max();

  struct Piece {
    ArrayPtr column;
    GroupVector<uint32_t> groups;  // of its rows
  };

  // Does `more` begin where `column` ends, as slices of one block do?
  static bool GoesOn(const arrow::ArrayData& column, const arrow::ArrayData& more) {
    return column.buffers == more.buffers && column.child_data == more.child_data &&
           column.dictionary == more.dictionary && column.offset + column.length == more.offset;
  }

  // Room for so many values more: what gives them out must not ask for it when memory is short.
  Status Reserve(size_t more) {
    is_ordered_ = false;
    return picks_.Reserve(num_values_ + more);
  }

  // Picks of the values of all groups side by side.
  void Order() {
    if (is_ordered_) return;
    picks_.SetSize(static_cast<size_t>(BeginSideBySide(lengths_, num_groups(), &begins_)));
    std::copy_n(begins_.begin(), num_groups(), next_.begin());
    for (size_t p = 0; p < pieces_.size(); ++p) {
      const auto& groups = pieces_[p].groups;
      for (size_t row = 0; row < groups.size(); ++row) {
        if (groups[row] == kFinished) continue;
        picks_[static_cast<size_t>(next_[groups[row]]++)] = {static_cast<uint32_t>(p + 1),
                                                             static_cast<uint32_t>(row)};
      }
    }
    is_ordered_ = true;
  }

  Result<ArrayPtr> ListsOf(Groups groups, arrow::MemoryPool* pool) {
    Order();
    ARROW_ASSIGN_OR_RAISE(
        std::shared_ptr<arrow::Buffer> offset_buffer,
        arrow::AllocateBuffer(static_cast<int64_t>((groups.size() + 1) * sizeof(int32_t)), pool));
    auto* offsets = reinterpret_cast<int32_t*>(offset_buffer->mutable_data());
    offsets[0] = 0;
    int64_t values = 0;
    for (size_t i = 0; i < groups.size(); ++i) {
      values += lengths_[groups[i]];
      if (values > std::numeric_limits<int32_t>::max())
        return OutOfMemoryError("lists of more than 2^31 values together");
      offsets[i + 1] = static_cast<int32_t>(values);
    }
    GroupVector<RowPick> picks(pool_);
    ARROW_RETURN_NOT_OK(picks.Resize(static_cast<size_t>(values)));
    for (size_t i = 0; i < groups.size(); ++i)
      std::copy_n(picks_.begin() + begins_[groups[i]], lengths_[groups[i]], picks.begin() + offsets[i]);
    std::vector<ArrayPtr> arrays = {nullptr};
    for (const auto& piece : pieces_) arrays.push_back(piece.column);
    ARROW_ASSIGN_OR_RAISE(const auto items, PickRows(input_, std::move(arrays), /*nulls=*/false,
                                                     {picks.begin(), picks.size()}, pool));
    return std::make_shared<arrow::ListArray>(output_, static_cast<int64_t>(groups.size()),
                                              std::move(offset_buffer), items);
  }

  GroupVector<int64_t> lengths_, begins_;
  GroupVector<int64_t> next_;   // where the next value of a group goes, while they are put in order
  GroupVector<RowPick> picks_;  // the values of each group, side by side
  size_t num_values_ = 0;       // of all pieces, that are not finished
  bool is_ordered_ = false;
  std::vector<Piece> pieces_;
};

}  // namespace

AggregatePtr MakeList(const AggregateInit& init) { return std::make_unique<List>(init); }

}  // namespace partita
