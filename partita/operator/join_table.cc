#include "partita/operator/join_table.h"

#include <arrow/api.h>

#include <algorithm>
#include <bit>
#include <tuple>

#include "partita/block/logical_bytes.h"

namespace partita {
namespace {

// Of a table that is put in one piece, which for a moment is there twice.
constexpr int64_t kMostJoinedBytes = 8 << 20;

// Items in the order of their hashes, and where those with some leading bits begin: about one for each.
void Order(JoinTable::Rows* rows) {
  auto& items = rows->items;
  std::stable_sort(items.begin(), items.end(), [](const auto& a, const auto& b) {
    return std::tie(a.hash, a.order) < std::tie(b.hash, b.order);
  });
  const int bits = std::max(1, static_cast<int>(std::bit_width(items.size())));
  rows->shift = 64 - bits;
  rows->begins.assign((size_t{1} << bits) + 1, 0);
  for (const auto& item : items) ++rows->begins[(item.hash >> rows->shift) + 1];
  for (size_t i = 1; i < rows->begins.size(); ++i) rows->begins[i] += rows->begins[i - 1];
  for (size_t begin = 0; begin < items.size();) {
    size_t end = begin;
    while (end < items.size() && items[end].hash == items[begin].hash) ++end;
    rows->most_equal = std::max(rows->most_equal, static_cast<int64_t>(end - begin));
    begin = end;
  }
}

// With what std::stable_sort takes.
int64_t ItemsBytes(size_t items) {
  return static_cast<int64_t>(items * 2 * sizeof(JoinTable::Item) +
                              (2 * std::bit_ceil(items + 1) + 1) * sizeof(uint32_t));
}

}  // namespace

JoinTable::JoinTable(std::shared_ptr<arrow::Schema> schema, std::vector<int> keys, int order, Open open)
    : schema_(std::move(schema)), keys_(std::move(keys)), order_(order), open_(std::move(open)) {}

JoinTable::~JoinTable() = default;

Result<std::shared_ptr<const JoinTable::Rows>> JoinTable::Get(const OperatorContext& ctx) {
  std::lock_guard lock(mutex_);
  if (!rows_) {
    ARROW_ASSIGN_OR_RAISE(rows_, Read(ctx));
  }
  return rows_;
}

Result<std::vector<uint64_t>> OrdersOf(const arrow::RecordBatch& batch, int column, arrow::MemoryPool* pool) {
  ARROW_ASSIGN_OR_RAISE(const auto encoder, KeyEncoder::Make(*batch.schema(), {{column, false, false}}));
  ARROW_ASSIGN_OR_RAISE(const RowKeys keys, encoder.Encode(batch, pool));
  std::vector<uint64_t> orders(static_cast<size_t>(keys.rows));
  for (int64_t row = 0; row < keys.rows; ++row) {
    const auto& prefix = keys.prefix(row);
    orders[static_cast<size_t>(row)] = prefix.hi << 8 | prefix.lo >> 56;
  }
  return orders;
}

// All of them; a claim for their items is made as they come.
Result<arrow::RecordBatchVector> JoinTable::ReadBatches(const OperatorContext& ctx,
                                                        Reservation* items_memory) const {
  ARROW_ASSIGN_OR_RAISE(auto source, open_());
  arrow::RecordBatchVector batches;
  size_t rows = 0;
  int64_t bytes = 0;
  while (true) {
    ARROW_RETURN_NOT_OK(ctx.cancel.Check());
    ARROW_ASSIGN_OR_RAISE(auto block, source->Next(ctx));
    if (!block) break;
    if (block->num_rows() == 0) continue;
    rows += static_cast<size_t>(block->num_rows());
    if (rows > UINT32_MAX / 4) return UserError("the right side of a broadcast join has too many rows");
    ARROW_RETURN_NOT_OK(items_memory->Resize(ItemsBytes(rows)));
    ARROW_ASSIGN_OR_RAISE(const int64_t b, LogicalBytes(*block->batch));
    bytes += b;
    batches.push_back(std::move(block->batch));
  }
  if (batches.size() < 2 || bytes > kMostJoinedBytes) return batches;
  // In one piece they are quicker to pick from; where that is refused or Arrow cannot, they stay as they are.
  auto whole = arrow::ConcatenateRecordBatches(batches, ctx.pool.get());
  if (whole.ok()) batches = {std::move(*whole)};
  return batches;
}

Result<std::shared_ptr<JoinTable::Rows>> JoinTable::Read(const OperatorContext& ctx) const {
  auto rows = std::make_shared<Rows>();
  ARROW_ASSIGN_OR_RAISE(rows->memory, ctx.pool->Reserve(ItemsBytes(0)));
  ARROW_ASSIGN_OR_RAISE(const auto matcher, KeyMatcher::Make(*schema_, keys_));
  ARROW_ASSIGN_OR_RAISE(rows->batches, ReadBatches(ctx, &rows->memory));
  for (uint32_t batch = 0; batch < rows->batches.size(); ++batch) {
    const auto& columns = *rows->batches[batch];
    const int64_t count = columns.num_rows();
    ARROW_ASSIGN_OR_RAISE(auto keys, matcher.Prepare(columns, ctx.pool.get()));
    std::vector<uint64_t> orders;
    if (order_ >= 0) {
      ARROW_ASSIGN_OR_RAISE(orders, OrdersOf(columns, order_, ctx.pool.get()));
    }
    for (int64_t row = 0; row < count; ++row) {
      if (keys.HasNull(row) || (order_ >= 0 && columns.column(order_)->IsNull(row))) continue;
      const uint64_t order = order_ < 0 ? 0 : orders[static_cast<size_t>(row)];
      rows->items.push_back({MatchHash(keys, row), batch, static_cast<uint32_t>(row), order});
    }
    ARROW_ASSIGN_OR_RAISE(const int64_t bytes, LogicalBytes(columns));
    rows->row_bytes.push_back(static_cast<double>(bytes) / static_cast<double>(count));
    rows->keys.push_back(std::move(keys));
  }
  rows->items.shrink_to_fit();
  Order(rows.get());
  return rows;
}

}  // namespace partita
