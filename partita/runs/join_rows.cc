#include "partita/runs/join_rows.h"

#include <arrow/api.h>
#include <arrow/type_traits.h>
#include <arrow/util/bit_util.h>

#include <algorithm>
#include <span>

namespace partita {
namespace {

std::vector<std::shared_ptr<arrow::RecordBatch>> Project(const std::vector<JoinBatchPtr>& batches,
                                                         const std::vector<int>& columns,
                                                         const std::shared_ptr<arrow::Schema>& schema) {
  std::vector<std::shared_ptr<arrow::RecordBatch>> out;
  for (const auto& side : batches) {
    arrow::ArrayVector arrays;
    for (int column : columns) arrays.push_back(side->batch->column(column));
    out.push_back(arrow::RecordBatch::Make(schema, side->batch->num_rows(), std::move(arrays)));
  }
  return out;
}

// Rows of one batch that follow each other need no copy.
bool IsSlice(std::span<const RowPick> picks) {
  for (size_t i = 0; i < picks.size(); ++i) {
    if (picks[i] == kNullRow || picks[i].row != picks[0].row + i) return false;
  }
  return true;
}

std::shared_ptr<arrow::RecordBatch> SliceOf(const JoinBatch& side, const std::vector<int>& columns,
                                            const std::shared_ptr<arrow::Schema>& schema, int64_t begin,
                                            int64_t count) {
  arrow::ArrayVector arrays;
  for (int column : columns) arrays.push_back(side.batch->column(column)->Slice(begin, count));
  return arrow::RecordBatch::Make(schema, count, std::move(arrays));
}

// Which rows of their batch they are, as indices; a row of nulls is none.
Result<std::shared_ptr<arrow::ArrayData>> IndicesOf(std::span<const RowPick> picks, arrow::MemoryPool* pool) {
  const auto count = static_cast<int64_t>(picks.size());
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> buffer, arrow::AllocateBuffer(count * 4, pool));
  auto* rows = reinterpret_cast<int32_t*>(buffer->mutable_data());
  int64_t nulls = 0;
  for (size_t i = 0; i < picks.size(); ++i) {
    rows[i] = static_cast<int32_t>(picks[i].row);
    nulls += picks[i] == kNullRow;
  }
  std::shared_ptr<arrow::Buffer> validity;
  if (nulls > 0) {
    ARROW_ASSIGN_OR_RAISE(validity, arrow::AllocateEmptyBitmap(count, pool));
    for (size_t i = 0; i < picks.size(); ++i) {
      if (picks[i] != kNullRow) arrow::bit_util::SetBit(validity->mutable_data(), static_cast<int64_t>(i));
    }
  }
  return arrow::ArrayData::Make(arrow::int32(), count, {std::move(validity), std::move(buffer)}, nulls);
}

// Columns of one batch, those of texts as indices.
Result<std::shared_ptr<arrow::RecordBatch>> Coded(const JoinBatchPtr& side, const std::vector<int>& columns,
                                                  arrow::FieldVector fields, std::span<const RowPick> picks,
                                                  arrow::MemoryPool* pool) {
  std::shared_ptr<arrow::ArrayData> indices;
  arrow::ArrayVector arrays(columns.size());
  arrow::FieldVector other_fields;
  std::vector<int> others;
  for (size_t c = 0; c < columns.size(); ++c) {
    if (!arrow::is_base_binary_like(fields[c]->type()->id())) {
      others.push_back(columns[c]);
      other_fields.push_back(fields[c]);
      continue;
    }
    if (!indices) {
      ARROW_ASSIGN_OR_RAISE(indices, IndicesOf(picks, pool));
    }
    auto data = indices->Copy();
    data->type = arrow::dictionary(arrow::int32(), fields[c]->type());
    data->dictionary = side->batch->column_data(columns[c]);
    fields[c] = fields[c]->WithType(data->type);
    arrays[c] = arrow::MakeArray(std::move(data));
  }
  if (!others.empty()) {
    const auto schema = arrow::schema(std::move(other_fields));
    ARROW_ASSIGN_OR_RAISE(const auto picked,
                          Interleave(schema, Project({side}, others, schema), picks, pool));
    int next = 0;
    for (auto& array : arrays) {
      if (!array) array = picked->column(next++);
    }
  }
  return arrow::RecordBatch::Make(arrow::schema(std::move(fields)), static_cast<int64_t>(picks.size()),
                                  std::move(arrays));
}

// The schema with the types that columns have.
std::shared_ptr<arrow::Schema> SchemaOf(const std::shared_ptr<arrow::Schema>& schema,
                                        const arrow::ArrayVector& columns) {
  arrow::FieldVector fields;
  bool same = true;
  for (size_t c = 0; c < columns.size(); ++c) {
    const auto& field = schema->field(static_cast<int>(c));
    const bool alike = field->type()->id() == columns[c]->type_id();
    fields.push_back(alike ? field : field->WithType(columns[c]->type()));
    same = same && alike;
  }
  return same ? schema : arrow::schema(std::move(fields));
}

}  // namespace

Result<JoinRows> JoinRows::Make(const Join& join, const JoinKeys& keys, const arrow::Schema& left,
                                const arrow::Schema& right, std::shared_ptr<arrow::Schema> output) {
  JoinRows rows;
  for (const auto& entry : join.columns) {
    OutputColumn column;
    column.from = entry.side;
    if (entry.side == JoinColumn::Side::kLeft) {
      column.left = left.GetFieldIndex(entry.column);
    } else if (entry.side == JoinColumn::Side::kRight) {
      column.right = right.GetFieldIndex(entry.column);
    } else {
      const auto at = std::find(keys.left.begin(), keys.left.end(), entry.column);
      if (at != keys.left.end()) {
        column.left = left.GetFieldIndex(*at);
        column.right = right.GetFieldIndex(keys.right[static_cast<size_t>(at - keys.left.begin())]);
      }
    }
    const bool known = (column.from == JoinColumn::Side::kRight || column.left >= 0) &&
                       (column.from == JoinColumn::Side::kLeft || column.right >= 0);
    if (!known) return BugError("a join's column '" + entry.column + "' comes from nowhere");
    // A key of a row that has a left side is the left one's.
    if (column.from == JoinColumn::Side::kKey && !join.may_lack_left()) column.from = JoinColumn::Side::kLeft;
    rows.columns_.push_back(column);
  }
  if (static_cast<int>(rows.columns_.size()) != output->num_fields())
    return BugError("a join has other columns than its schema");
  rows.schema_ = std::move(output);
  return rows;
}

// The columns of one kind for some of the picks.
Result<std::shared_ptr<arrow::RecordBatch>> JoinRows::Columns(JoinColumn::Side from, size_t begin,
                                                              size_t count, arrow::MemoryPool* pool) const {
  using Side = JoinColumn::Side;
  arrow::FieldVector fields;
  std::vector<int> left, right;
  for (size_t c = 0; c < columns_.size(); ++c) {
    if (columns_[c].from != from) continue;
    auto field = schema_->field(static_cast<int>(c));
    if (from == Side::kLeft && left_batches_.size() == 1)
      field = field->WithType(left_batches_[0]->batch->column(columns_[c].left)->type());
    fields.push_back(std::move(field));
    left.push_back(columns_[c].left);
    right.push_back(columns_[c].right);
  }
  if (fields.empty()) return nullptr;
  const std::span<const RowPick> left_picks(left_picks_.data() + begin, count),
      right_picks(right_picks_.data() + begin, count);
  if (from == Side::kRight && gives_codes_ && right_batches_.size() == 1)
    return Coded(right_batches_[0], right, std::move(fields), right_picks, pool);
  const auto schema = arrow::schema(std::move(fields));
  if (from == Side::kLeft && left_batches_.size() == 1 && IsSlice(left_picks)) {
    return SliceOf(*left_batches_[0], left, schema, left_picks[0].row, static_cast<int64_t>(count));
  }
  if (from == Side::kLeft) return Interleave(schema, Project(left_batches_, left, schema), left_picks, pool);
  if (from == Side::kRight)
    return Interleave(schema, Project(right_batches_, right, schema), right_picks, pool);
  // Keys: of the left row, or of the right one where there is none.
  auto both = Project(left_batches_, left, schema);
  const auto lefts = static_cast<uint32_t>(both.size());
  for (auto& batch : Project(right_batches_, right, schema)) both.push_back(std::move(batch));
  std::vector<RowPick> picks(left_picks.begin(), left_picks.end());
  for (size_t i = 0; i < count; ++i) {
    if (picks[i] == kNullRow) picks[i] = {right_picks[i].batch + lefts, right_picks[i].row};
  }
  return Interleave(schema, both, picks, pool);
}

Result<std::shared_ptr<arrow::RecordBatch>> JoinRows::Make(size_t count, arrow::MemoryPool* pool) const {
  using Side = JoinColumn::Side;
  ARROW_ASSIGN_OR_RAISE(auto left, Columns(Side::kLeft, emitted_, count, pool));
  ARROW_ASSIGN_OR_RAISE(auto right, Columns(Side::kRight, emitted_, count, pool));
  ARROW_ASSIGN_OR_RAISE(auto keys, Columns(Side::kKey, emitted_, count, pool));
  arrow::ArrayVector arrays;
  int l = 0, r = 0, k = 0;
  for (const auto& column : columns_) {
    arrays.push_back(column.from == Side::kLeft    ? left->column(l++)
                     : column.from == Side::kRight ? right->column(r++)
                                                   : keys->column(k++));
  }
  auto schema = SchemaOf(schema_, arrays);
  return arrow::RecordBatch::Make(std::move(schema), static_cast<int64_t>(count), std::move(arrays));
}

Result<std::shared_ptr<arrow::RecordBatch>> JoinRows::Emit(arrow::MemoryPool* pool) {
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
  return batch;
}

Result<std::optional<Block>> JoinRows::EmitBlock(arrow::MemoryPool* pool) {
  if (empty()) return std::nullopt;
  Block block;
  ARROW_ASSIGN_OR_RAISE(block.batch, Emit(pool));
  block.ordinals = RowOrdinals::Range(given_rows_, block.batch->num_rows());
  given_rows_ += block.batch->num_rows();
  return block;
}

}  // namespace partita
