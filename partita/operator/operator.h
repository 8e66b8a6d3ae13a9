// The operator contract: source, transform, sink. See ARCHITECTURE.md, "The life of a block".
//
//   Source     gives the blocks of one partition, in order. One caller at a time.
//   Transform  maps a block to blocks; no state between calls; called from many threads at once. It emits
//   output in pieces of about
//              `target_block_bytes`, in row order. One instance serves all tasks of a run.
//   AsyncTransform  the same, but waits for the network or another process instead of the CPU: Start returns
//   at once.
//   Sink       takes the blocks of one task's output in order and turns them into files. One caller at a
//   time.
//
// Memory: everything from ctx.pool or a Reservation of it. A refusal (Status::OutOfMemory) is passed up
// unchanged: execute/ discards what the call emitted, and calls again later with half of the rows, down to
// one. So a Transform must not have side effects outside its outputs. Long work checks ctx.cancel.
//
// Bad rows: a Transform reports a row with ctx.errors->Add(row, status) and leaves it out of its output;
// policy (fail, skip, quarantine) is the executor's. Add returns non-OK when the run must fail: return that
// status. Failing as a whole with kind data is also right: execute/ halves the block until the bad rows are
// alone.
//
// To add an operator: imitate operator/filter.{h,cc} (a transform) or components/image/resize_images.cc (a
// component), register the spec (pipeline/step_spec.h) and the factory (below), add a case in tests/cases/, a
// line in docs/steps.md.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "partita/base/cancel.h"
#include "partita/base/env.h"
#include "partita/base/error.h"
#include "partita/base/json_fwd.h"
#include "partita/block/block.h"
#include "partita/memory/budget.h"
#include "partita/observe/observe.h"

namespace partita {

class RowErrors {
 public:
  virtual ~RowErrors() = default;
  // `row` is an index in the input block of the call. Thread-safe within one call.
  virtual Status Add(int64_t row, const Status& error) = 0;
};

struct OperatorContext {
  std::string_view step;  // the user's name of the step
  int64_t partition = 0;
  std::shared_ptr<BudgetPool> pool;
  Env* env = nullptr;
  CancelToken cancel;
  StepCounters* counters = nullptr;  // may be null
  RowErrors* errors = nullptr;       // never null in Process/Start
  int64_t target_block_bytes = 4 << 20;
};

class BlockOutput {
 public:
  virtual ~BlockOutput() = default;
  // Takes the next output rows, in row order. A non-OK status must be returned by the caller at once.
  virtual Status Emit(Block block) = 0;
};

class Source {
 public:
  virtual ~Source() = default;
  virtual Result<std::optional<Block>> Next(const OperatorContext& ctx) = 0;  // nullopt: no more rows
  virtual int64_t bytes_read() const { return 0; }
};

class Transform {
 public:
  virtual ~Transform() = default;
  // Blocks are sliced to at most so many rows before Process: small where a row is much work (an image), so
  // that threads share one partition. Purely physical.
  virtual int64_t max_rows_per_call() const { return INT64_MAX; }
  virtual Status Process(const Block& in, const OperatorContext& ctx, BlockOutput& out) const = 0;
};

// What an asynchronous step is waiting for: shown when a run stalls.
struct InFlight {
  int64_t partition = -1;
  int64_t row = -1;  // ordinal in the partition
  std::string what;  // "GET http://…"
  double seconds = 0;
};

// Says where the rows of a partition are cut in calls, from the rows alone (law 1). One a partition: it is
// given every batch of the step's input once, in order.
class BatchCutter {
 public:
  virtual ~BatchCutter() = default;
  // Adds the rows of `batch` before which a call ends, ascending: 0 is before its first row, num_rows behind
  // its last. After an error nothing has changed.
  virtual Status Cut(const arrow::RecordBatch& batch, std::vector<int64_t>* ends) = 0;
};

class AsyncTransform {
 public:
  // Called exactly once, from any thread, also after cancellation. Blocks are in row order and hold only rows
  // of `in`.
  using Done = std::function<void(Result<std::vector<Block>>)>;
  virtual ~AsyncTransform() = default;
  virtual int64_t max_rows_per_call() const { return INT64_MAX; }
  // How many rows should be in flight over all tasks to keep the step busy.
  virtual int64_t rows_in_flight() const = 0;
  // Not 0: every call gets exactly so many rows, the last of a partition fewer, counted by ordinal in the
  // step's input and never by block (law 1). Such a call is never cut in halves: a refused one is called again
  // as it is, and the step finds its bad rows itself. INT64_MAX: the whole partition is one call.
  virtual int64_t batch_rows() const { return 0; }
  // With batch_rows: who cuts instead, where the number of rows is not all that counts. Null: nobody.
  virtual std::unique_ptr<BatchCutter> NewCutter() const { return nullptr; }
  // With batch_rows: calls of one task that should be under way, or wait for their turn, to keep the step busy.
  virtual int64_t batches_in_flight() const { return 1; }
  virtual WaitReason waits_for() const { return WaitReason::kNetwork; }
  // ctx (and what it points to) stays valid until `done` is called.
  virtual void Start(Block in, const OperatorContext& ctx, Done done) = 0;
  virtual std::vector<InFlight> Slowest(int n) const = 0;
};

// A file that a task made, not yet visible: `temporary` is renamed to `path` when the task commits.
struct OutputFile {
  std::string path;       // relative to the dataset's folder
  std::string temporary;  // absolute
  int64_t rows = 0;
  int64_t size_bytes = 0;
};

class Sink {
 public:
  virtual ~Sink() = default;
  // Takes rows from the front of `block` and says how many, also when the status is OutOfMemory: the executor
  // calls again with the rest, in smaller slices. Called with zero rows to go on with what was taken but not
  // finished.
  virtual Status Write(const Block& block, const OperatorContext& ctx, int64_t* taken) = 0;
  // False: the reader of this sink is behind; wait (named "output full") until the wake-up given at its
  // making is called.
  virtual bool ready() const { return true; }
  // May be called again after OutOfMemory.
  virtual Result<std::vector<OutputFile>> Finish(const OperatorContext& ctx) = 0;
  virtual void Abort() = 0;  // removes what it made; also called after a failed Finish
};

class JoinTable;

// Factories by step name. Exactly one of the two is set for a transform step.
struct TransformInit {
  const Json* args = nullptr;  // normalised
  std::shared_ptr<arrow::Schema> input;
  std::shared_ptr<arrow::Schema> output;  // as bound
  Env* env = nullptr;
  int threads = 1;
  std::shared_ptr<JoinTable> table;  // of a join: the rows of its right side (operator/join_table.h)
  std::string step;              // the user's name
  bool keeps_going = false;      // bad rows are skipped or quarantined
  bool to_caller = false;        // what it makes may leave the run's memory for the caller's
  std::shared_ptr<BudgetPool> pool;
  Observer* observer = nullptr;  // for notices; outlives the step; may be null
};
struct TransformFactory {
  std::function<Result<std::unique_ptr<Transform>>(const TransformInit&)> make;
  std::function<Result<std::unique_ptr<AsyncTransform>>(const TransformInit&)> make_async;
};
Status RegisterTransform(std::string name, TransformFactory factory);
const TransformFactory* FindTransform(std::string_view name);
void RegisterBuiltinTransforms();  // idempotent: filter, project, …

}  // namespace partita
