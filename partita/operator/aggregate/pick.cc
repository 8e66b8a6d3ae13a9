// Aggregates whose result is one row of the group: first, last; min and max of text and of what has no order
// of its own kind (dictionaries, wide decimals, extensions).
#include <arrow/array.h>
#include <arrow/compute/cast.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>

#include <vector>

#include "partita/operator/aggregate/kinds.h"
#include "partita/operator/aggregate/rows.h"
#include "partita/operator/aggregate/state.h"
#include "partita/runs/interleave.h"
#include "partita/runs/row_key.h"

namespace partita {
namespace {

using ArrayPtr = std::shared_ptr<arrow::Array>;

// How rows of a column compare. Prepared once a column; `Compare` is of rows of two columns.
struct NoOrder {
  struct Column {};
  static Result<Column> Prepare(const ArrayPtr&, arrow::MemoryPool*) { return Column(); }
  static int Compare(const Column&, int64_t, const Column&, int64_t) { return 0; }
};

template <typename ArrayType>
struct BytesOrder {
  using Column = std::shared_ptr<ArrayType>;
  static Result<Column> Prepare(const ArrayPtr& array, arrow::MemoryPool*) {
    return std::static_pointer_cast<ArrayType>(array);
  }
  static int Compare(const Column& a, int64_t i, const Column& b, int64_t j) {
    return std::string_view(a->GetView(i)).compare(std::string_view(b->GetView(j)));
  }
};

struct KeyOrder {
  using Column = RowKeys;
  static Result<Column> Prepare(const ArrayPtr& array, arrow::MemoryPool* pool) {
    const auto schema = arrow::schema({arrow::field("value", array->type())});
    ARROW_ASSIGN_OR_RAISE(const auto encoder, KeyEncoder::Make(*schema, {KeyColumn{}}));
    return encoder.Encode(*arrow::RecordBatch::Make(schema, array->length(), {array}), pool);
  }
  static int Compare(const Column& a, int64_t i, const Column& b, int64_t j) {
    return CompareKeys(a, i, b, j);
  }
};

enum class Wanted { kFirst, kLast, kMin, kMax };

// The rows of a batch that win against what their groups have are copied into a piece; a group knows its
// piece and row. Rows that have lost since go when pieces are merged.
template <typename Order, Wanted kWanted>
class Pick final : public AggregateBase {
 public:
  explicit Pick(const AggregateInit& init)
      : AggregateBase(init.input, init.output, init.pool),
        picks_(init.pool),
        candidates_(init.pool),
        touched_(init.pool),
        pieces_(1) {}

  Types state_types() const override {
    return kSkipsNulls ? Types{output_} : Types{arrow::boolean(), output_};
  }

  int64_t size_bytes() const override {
    int64_t size = picks_.size_bytes() + candidates_.size_bytes() + touched_.size_bytes();
    for (const auto& piece : pieces_) size += piece.size_bytes;
    return size;
  }

 protected:
  Status Grow(uint32_t num_groups) override {
    ARROW_RETURN_NOT_OK(picks_.Resize(num_groups));
    return candidates_.Resize(num_groups);
  }

  Status Add(const arrow::Array* column, Groups groups) override {
    const auto array = arrow::MakeArray(column->data());
    if (!kSkipsNulls) return AddWhere(array, ValidRows(), groups);
    ARROW_ASSIGN_OR_RAISE(const auto valid, ValidRows::Of(*array, pool_.get()));
    return AddWhere(array, valid, groups);
  }

  // A group of min and max without a row has null, which loses; first and last say whether they have one.
  Status AddStates(const Arrays& states, Groups groups) override {
    if (kSkipsNulls) return Add(states[0].get(), groups);
    return AddWhere(states[1], ValidRows::True(*states[0]), groups);
  }

  Result<Arrays> States(Groups groups, arrow::MemoryPool* pool) override {
    GroupVector<RowPick> picks(pool_);
    ARROW_RETURN_NOT_OK(picks.Reserve(groups.size()));
    for (const uint32_t group : groups) picks.PushBack(picks_[group]);
    Arrays states;
    if (!kSkipsNulls) {
      const auto rows = static_cast<int64_t>(groups.size());
      ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> bits, arrow::AllocateEmptyBitmap(rows, pool));
      for (int64_t i = 0; i < rows; ++i) {
        if (picks[static_cast<size_t>(i)].batch != 0) arrow::bit_util::SetBit(bits->mutable_data(), i);
      }
      states.push_back(std::make_shared<arrow::BooleanArray>(rows, std::move(bits)));
    }
    ARROW_ASSIGN_OR_RAISE(auto values, MakeOf(picks.begin(), picks.size(), pool));
    states.push_back(std::move(values));
    return states;
  }

  // Of the rows that are `valid`.
  Status AddWhere(const ArrayPtr& array, const ValidRows& valid, Groups groups) {
    if (pieces_.size() >= kMaxPieces) {
      const Status merged = MergePieces();
      if (!merged.ok() && !merged.IsOutOfMemory()) return merged;
    }
    ARROW_ASSIGN_OR_RAISE(const auto prepared, Order::Prepare(array, pool_.get()));
    ARROW_RETURN_NOT_OK(touched_.Reserve(groups.size()));
    touched_.SetSize(0);
    WithNulls(valid, [&](auto nulls) { FindCandidates<nulls>(prepared, valid, groups); });
    const Status kept = touched_.size() > 0 ? KeepCandidates(array) : Status::OK();
    for (const uint32_t group : touched_) candidates_[group] = 0;
    return kept;
  }

  Result<ArrayPtr> Make(uint32_t count, arrow::MemoryPool* pool) override {
    return MakeOf(picks_.begin(), count, pool);
  }

  Result<ArrayPtr> MakeOf(const RowPick* picks, size_t count, arrow::MemoryPool* pool) const {
    std::vector<ArrayPtr> arrays = {nullptr};
    for (size_t i = 1; i < pieces_.size(); ++i) arrays.push_back(pieces_[i].array);
    const bool nulls = std::any_of(picks, picks + count, [](RowPick pick) { return pick.batch == 0; });
    return PickRows(output_, std::move(arrays), nulls, {picks, count}, pool);
  }

  void Forget(uint32_t count) override {
    picks_.DropFront(count);
    candidates_.DropFront(count);
    if (picks_.size() == 0) {
      pieces_.resize(1);
      return;
    }
    // Of pieces that nobody needs only the place stays.
    std::vector<bool> used(pieces_.size());
    for (const RowPick pick : picks_) used[pick.batch] = true;
    for (size_t i = 1; i < pieces_.size(); ++i) {
      if (!used[i]) pieces_[i] = Piece();
    }
  }

 private:
  static constexpr size_t kMaxPieces = 64;
  static constexpr bool kSkipsNulls = kWanted == Wanted::kMin || kWanted == Wanted::kMax;

  struct Piece {
    ArrayPtr array;
    typename Order::Column prepared;
    int64_t size_bytes = 0;
  };

  // candidates_[group] is 1 + the row that wins among the rows of the batch and against the group's pick; 0:
  // none.
  template <bool kNulls>
  void FindCandidates(const typename Order::Column& column, const ValidRows& valid, Groups groups) {
    for (size_t i = 0; i < groups.size(); ++i) {
      const auto row = static_cast<int64_t>(i);
      if (kNulls && !valid[row]) continue;
      uint32_t& candidate = candidates_[groups[i]];
      if (!Wins(column, row, candidate, picks_[groups[i]])) continue;
      if (candidate == 0) touched_.PushBack(groups[i]);
      candidate = static_cast<uint32_t>(i) + 1;
    }
  }

  bool Wins(const typename Order::Column& column, int64_t row, uint32_t candidate, RowPick pick) const {
    if constexpr (kWanted == Wanted::kLast) return true;
    if (candidate == 0 && pick.batch == 0) return true;
    if constexpr (kWanted == Wanted::kFirst) return false;
    const int order = candidate != 0 ? Order::Compare(column, row, column, candidate - 1)
                                     : Order::Compare(column, row, pieces_[pick.batch].prepared, pick.row);
    return kWanted == Wanted::kMin ? order < 0 : order > 0;
  }

  Status KeepCandidates(const ArrayPtr& array) {
    GroupVector<RowPick> rows(pool_);
    ARROW_RETURN_NOT_OK(rows.Reserve(touched_.size()));
    for (const uint32_t group : touched_) rows.PushBack({1, candidates_[group] - 1});
    ARROW_ASSIGN_OR_RAISE(Piece piece, MakePiece({nullptr, array}, rows));
    const auto index = static_cast<uint32_t>(pieces_.size());
    pieces_.push_back(std::move(piece));
    for (size_t i = 0; i < touched_.size(); ++i) picks_[touched_[i]] = {index, static_cast<uint32_t>(i)};
    return Status::OK();
  }

  Result<Piece> MakePiece(std::vector<ArrayPtr> arrays, const GroupVector<RowPick>& rows) {
    Piece piece;
    ARROW_ASSIGN_OR_RAISE(piece.array, PickRows(input_, std::move(arrays), /*nulls=*/false,
                                                {rows.begin(), rows.size()}, pool_.get()));
    ARROW_ASSIGN_OR_RAISE(piece.prepared, Order::Prepare(piece.array, pool_.get()));
    piece.size_bytes = BufferBytes(*piece.array->data());
    if constexpr (std::is_same_v<Order, KeyOrder>) piece.size_bytes += piece.prepared.size_bytes();
    return piece;
  }

  Status MergePieces() {
    GroupVector<RowPick> rows(pool_);
    ARROW_RETURN_NOT_OK(rows.Reserve(picks_.size()));
    for (const RowPick pick : picks_) {
      if (pick.batch != 0) rows.PushBack(pick);
    }
    std::vector<ArrayPtr> arrays;
    for (const auto& piece : pieces_) arrays.push_back(piece.array);
    ARROW_ASSIGN_OR_RAISE(Piece merged, MakePiece(std::move(arrays), rows));
    uint32_t next = 0;
    for (RowPick& pick : picks_) {
      if (pick.batch != 0) pick = {1, next++};
    }
    pieces_.resize(1);
    pieces_.push_back(std::move(merged));
    return Status::OK();
  }

  GroupVector<RowPick> picks_;  // {0, 0}: no row
  GroupVector<uint32_t> candidates_, touched_;
  std::vector<Piece> pieces_;  // the first is none
};

template <typename Order>
AggregatePtr MakeOrdered(const AggregateInit& init) {
  if (init.function == AggregateFunction::kMin) return std::make_unique<Pick<Order, Wanted::kMin>>(init);
  return std::make_unique<Pick<Order, Wanted::kMax>>(init);
}

}  // namespace

AggregatePtr MakePick(const AggregateInit& init) {
  if (init.function == AggregateFunction::kFirst)
    return std::make_unique<Pick<NoOrder, Wanted::kFirst>>(init);
  if (init.function == AggregateFunction::kLast) return std::make_unique<Pick<NoOrder, Wanted::kLast>>(init);
  switch (init.input->id()) {
    case arrow::Type::STRING:
    case arrow::Type::BINARY:
      return MakeOrdered<BytesOrder<arrow::BinaryArray>>(init);
    case arrow::Type::LARGE_STRING:
    case arrow::Type::LARGE_BINARY:
      return MakeOrdered<BytesOrder<arrow::LargeBinaryArray>>(init);
    case arrow::Type::STRING_VIEW:
    case arrow::Type::BINARY_VIEW:
      return MakeOrdered<BytesOrder<arrow::BinaryViewArray>>(init);
    case arrow::Type::FIXED_SIZE_BINARY:
      return MakeOrdered<BytesOrder<arrow::FixedSizeBinaryArray>>(init);
    default:
      return MakeOrdered<KeyOrder>(init);
  }
}

}  // namespace partita
