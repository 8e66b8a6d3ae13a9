// The right side of a broadcast join in memory: read from its exchange by the first task that needs it,
// shared by all. Rows stand in the order of a hash of their keys, equal ones in the order of the right side,
// or of a column of it (as-of joins).
//
// Thread-safe. Memory: that of the first caller, until the table dies.
#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "partita/operator/operator.h"
#include "partita/runs/key_match.h"

namespace partita {

class JoinTable {
 public:
  struct Item {
    uint64_t hash = 0;
    uint32_t batch = 0;
    uint32_t row = 0;
    uint64_t order = 0;  // the first eight bytes of the order column's row key, behind its first; or 0
  };
  struct Rows {
    std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
    std::vector<double> row_bytes;  // of each batch, about
    std::vector<MatchKeys> keys;    // of each batch
    std::vector<Item> items;        // without those that have a null key
    std::vector<uint32_t> begins;   // of items by the leading bits of their hash
    int shift = 0;
    int64_t most_equal = 0;  // the most items of one hash
    Reservation memory;

    // The items of one hash.
    std::pair<const Item*, const Item*> Find(uint64_t hash) const {
      const size_t bucket = hash >> shift;
      const Item* item = items.data() + begins[bucket];
      const Item* end = items.data() + begins[bucket + 1];
      while (item != end && item->hash < hash) ++item;
      if (item == end || item->hash != hash) return {item, item};
      if (most_equal == 1) return {item, item + 1};
      const Item* past =
          std::partition_point(item, end, [hash](const Item& other) { return other.hash == hash; });
      return {item, past};
    }
  };
  using Open = std::function<Result<std::unique_ptr<Source>>()>;

  // `keys`: the key columns' indices in `schema`, the columns of what `open` gives. Without keys all rows are
  // equal.
  // `order`: the column to order by, of a type of IsAsofType; rows where it is null are left out. -1: none.
  JoinTable(std::shared_ptr<arrow::Schema> schema, std::vector<int> keys, int order, Open open);
  ~JoinTable();

  const std::shared_ptr<arrow::Schema>& schema() const { return schema_; }
  // Texts may be given out as the rows of this table that they stand in: as indices of a dictionary. Before
  // the first use.
  void GiveCodes() { gives_codes_ = true; }
  bool gives_codes() const { return gives_codes_; }
  // Reads the rows at the first call. A refusal leaves nothing behind: it may be called again.
  Result<std::shared_ptr<const Rows>> Get(const OperatorContext& ctx);

 private:
  Result<std::shared_ptr<Rows>> Read(const OperatorContext& ctx) const;
  Result<arrow::RecordBatchVector> ReadBatches(const OperatorContext& ctx, Reservation* items_memory) const;

  std::shared_ptr<arrow::Schema> schema_;
  std::vector<int> keys_;
  int order_;
  Open open_;
  bool gives_codes_ = false;
  std::mutex mutex_;
  std::shared_ptr<const Rows> rows_;
};

// What JoinTable orders by: numbers that compare like the values of a column, of rows that are not null.
Result<std::vector<uint64_t>> OrdersOf(const arrow::RecordBatch& batch, int column, arrow::MemoryPool* pool);

}  // namespace partita
