#include "components/python/batch_cutters.h"

#include <arrow/api.h>

#include <algorithm>
#include <numeric>

#include "partita/block/logical_bytes.h"
#include "partita/runs/interleave.h"
#include "partita/runs/row_key.h"

namespace partita {
namespace {

class BytesCutter final : public BatchCutter {
 public:
  explicit BytesCutter(int64_t bytes) : cutter_(0, bytes) {}

  Status Cut(const arrow::RecordBatch& batch, std::vector<int64_t>* ends) override {
    ARROW_ASSIGN_OR_RAISE(const auto cuts, cutter_.Next(batch));
    int64_t end = 0;
    for (size_t i = 0; i < cuts.lengths.size(); ++i) {
      end += cuts.lengths[i];
      if (i + 1 < cuts.lengths.size() || cuts.ends_with_cut) ends->push_back(end);
    }
    return Status::OK();
  }

 private:
  LogicalCutter cutter_;
};

Result<KeyEncoder> EncoderOf(const arrow::Schema& schema, const std::vector<std::string>& keys) {
  std::vector<KeyColumn> columns;
  for (const auto& key : keys) columns.push_back({schema.GetFieldIndex(key), false, false});
  return KeyEncoder::Make(schema, std::move(columns));
}

class GroupCutter final : public BatchCutter {
 public:
  GroupCutter(KeyEncoder encoder, int64_t rows, std::shared_ptr<BudgetPool> pool)
      : encoder_(std::move(encoder)), most_rows_(rows), pool_(std::move(pool)) {}

  Status Cut(const arrow::RecordBatch& batch, std::vector<int64_t>* ends) override {
    ARROW_ASSIGN_OR_RAISE(const RowKeys keys, encoder_.Encode(batch, pool_.get()));
    uint64_t hash = hash_;
    int64_t rows = rows_;
    for (int64_t row = 0; row < keys.rows; ++row, ++rows) {
      const uint64_t next = HashKey(keys.prefix(row), keys.whole(row));
      if (next < hash) {
        return UserError("the rows of a group do not stand together",
                         "put the step repartition with the same columns in `by` before map_groups");
      }
      if (next != hash && rows >= most_rows_) {
        ends->push_back(row);
        rows = 0;
      }
      hash = next;
    }
    hash_ = hash;
    rows_ = rows;
    return Status::OK();
  }

 private:
  const KeyEncoder encoder_;
  const int64_t most_rows_;
  const std::shared_ptr<BudgetPool> pool_;
  uint64_t hash_ = 0;  // of the last row
  int64_t rows_ = 0;   // of the open batch
};

bool SameKey(const RowKeys& keys, int64_t a, int64_t b) { return CompareKeys(keys, a, keys, b) == 0; }

// The first row of each row's group. Groups may be mixed where their hashes are equal, nowhere else.
std::vector<int64_t> FirstRows(const RowKeys& keys) {
  std::vector<int64_t> first(static_cast<size_t>(keys.rows));
  std::vector<int64_t> open;  // groups of the current hash
  uint64_t hash = 0;
  for (int64_t row = 0; row < keys.rows; ++row) {
    const uint64_t next = HashKey(keys.prefix(row), keys.whole(row));
    if (next != hash) open.clear();
    hash = next;
    auto it =
        std::find_if(open.begin(), open.end(), [&](int64_t other) { return SameKey(keys, other, row); });
    if (it == open.end()) it = open.insert(open.end(), row);
    first[static_cast<size_t>(row)] = *it;
  }
  return first;
}

}  // namespace

std::unique_ptr<BatchCutter> CutByBytes(int64_t bytes) { return std::make_unique<BytesCutter>(bytes); }

Result<std::unique_ptr<BatchCutter>> CutByGroups(const arrow::Schema& schema,
                                                 const std::vector<std::string>& keys, int64_t rows,
                                                 std::shared_ptr<BudgetPool> pool) {
  ARROW_ASSIGN_OR_RAISE(auto encoder, EncoderOf(schema, keys));
  return std::unique_ptr<BatchCutter>(new GroupCutter(std::move(encoder), rows, std::move(pool)));
}

Result<Groups> FindGroups(Block block, const std::vector<std::string>& keys, arrow::MemoryPool* pool) {
  ARROW_ASSIGN_OR_RAISE(const auto encoder, EncoderOf(*block.batch->schema(), keys));
  ARROW_ASSIGN_OR_RAISE(const RowKeys encoded, encoder.Encode(*block.batch, pool));
  std::vector<int64_t> first = FirstRows(encoded);
  Groups out;
  if (!std::is_sorted(first.begin(), first.end())) {
    std::vector<int64_t> order(first.size());
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
      return first[static_cast<size_t>(a)] < first[static_cast<size_t>(b)];
    });
    std::vector<RowPick> picks;
    for (const int64_t row : order) picks.push_back({0, static_cast<uint32_t>(row)});
    const std::vector batches = {block.batch};
    ARROW_ASSIGN_OR_RAISE(block.batch, Interleave(batches[0]->schema(), batches, picks, pool));
    block.ordinals = block.ordinals.Take(order);
    std::sort(first.begin(), first.end());
  }
  for (size_t row = 0; row < first.size(); ++row) {
    if (row == 0 || first[row] != first[row - 1]) out.starts.push_back(static_cast<int64_t>(row));
  }
  out.rows = std::move(block);
  return out;
}

}  // namespace partita
