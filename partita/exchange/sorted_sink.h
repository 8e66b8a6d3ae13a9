// The writing side of a sorted exchange (sort, shuffle, hash): a task's rows leave as sorted runs in one run
// file, or in memory. Rows are held until they fill their share of the budget or memory is refused, then
// sorted and written; how many runs that makes is a physical matter.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "partita/operator/operator.h"
#include "partita/plan/plan.h"
#include "partita/runs/merge.h"

namespace partita {

class ExchangeMemory;

struct SortedSinkInit {
  Env* env = nullptr;
  const PlanExchange* exchange = nullptr;  // outlives the sink
  std::string folder, name, attempt;       // writes `folder`/<name>.tmp-<attempt>
  int input_index = 0;
  int64_t partition = 0;
  int order_column = -1;  // of a hash exchange, by which rows of one hash are ordered; -1: by their positions
  bool samples = false;   // of a hash exchange: a sample is kept with the runs, as always of a sort
  // Of a hash exchange, of whose groups only so many first rows are wanted: others need not move. -1: all
  // are.
  int64_t group_limit = -1;
  int64_t hold_bytes = 64 << 20;
  int64_t cached_bytes = INT64_MAX;                  // of the file (WriteOptions)
  int64_t most_kept_bytes = INT64_MAX;               // a larger share is a file
  std::shared_ptr<ExchangeMemory> memory = nullptr;  // where runs may stay; null: in the file
};
Result<std::unique_ptr<Sink>> MakeSortedSink(SortedSinkInit init);

// The columns of a sorted exchange's run files: the exchange's, and the 64-bit key where it is not made of
// columns alone.
std::shared_ptr<arrow::Schema> RunSchema(const PlanExchange& exchange);
// The keys of what is in such a file. `order_column`: as its sink was given.
Result<KeysOf> RunKeys(const PlanExchange& exchange, int order_column = -1);
// How the keys of a hash exchange begin: with the hash. Where groups have an order, it is written as the keys
// behind it are.
KeyPrefix HashPrefix(const PlanExchange& exchange, uint64_t hash);
// How large a frame should be.
int64_t FrameBytes(int64_t hold_bytes);

}  // namespace partita
