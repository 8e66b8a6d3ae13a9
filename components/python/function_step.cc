#include "components/python/function_step.h"

#include <arrow/api.h>
#include <arrow/util/base64.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <mutex>

#include "components/python/batch_call.h"
#include "components/python/batch_codec.h"
#include "components/python/batch_cutters.h"
#include "components/python/batch_times.h"
#include "components/python/local_pool.h"
#include "components/python/process_pool.h"
#include "components/python/python_command.h"
#include "partita/base/json.h"
#include "partita/block/select_rows.h"
#include "partita/operator/payload.h"

namespace partita {
namespace {

// Results stay in shared memory while few of them are in use; beyond, they are copied, so that a sink that
// holds many rows does not hold many descriptors and half-filled pieces.
constexpr int64_t kMostLeased = 48;
constexpr int64_t kLeasedShare = 8;  // of the budget

class FunctionStep final : public AsyncTransform {
 public:
  FunctionStep(FunctionKind kind, FunctionArgs args, const TransformInit& init, int most_workers,
               BatchEncoder encoder, std::unique_ptr<FunctionPool> pool)
      : kind_(kind),
        args_(std::move(args)),
        input_(init.input),
        output_(init.output),
        memory_(init.pool),
        keeps_going_(init.keeps_going),
        to_caller_(init.to_caller),
        most_workers_(most_workers),
        encoder_(std::move(encoder)),
        pool_(std::move(pool)) {}

  int64_t rows_in_flight() const override { return 0; }
  int64_t batch_rows() const override { return args_.batch_rows; }
  int64_t batches_in_flight() const override { return 3 * most_workers_ + 1; }
  WaitReason waits_for() const override { return WaitReason::kWorker; }
  std::vector<InFlight> Slowest(int n) const override { return pool_->Slowest(n); }

  std::unique_ptr<BatchCutter> NewCutter() const override {
    if (kind_ == FunctionKind::kMapGroups)
      return CutByGroups(*input_, args_.by, args_.batch_rows, memory_).ValueOr(nullptr);
    return args_.batch_bytes > 0 ? CutByBytes(args_.batch_bytes) : nullptr;
  }

  void Start(Block in, const OperatorContext& ctx, Done done) override {
    std::vector<int64_t> starts;
    if (kind_ == FunctionKind::kMapGroups) {
      auto groups = FindGroups(std::move(in), args_.by, ctx.pool.get());
      if (!groups.ok()) return done(groups.status());
      in = std::move(groups->rows);
      starts = std::move(groups->starts);
    }
    Submit(std::make_shared<BatchCall>(std::move(in), std::move(starts), &ctx, std::move(done)));
  }

 private:
  using Call = std::shared_ptr<BatchCall>;
  using Kind = WorkerAnswer::Kind;

  static int64_t Now(const BatchCall& call) { return call.ctx->env->MonotonicNanos(); }

  static void Finish(const Call& call, Result<std::vector<Block>> result) {
    const Done done = std::move(call->done);
    call->in = Block();
    done(std::move(result));
  }

  void Submit(const Call& call) {
    const Status status = TrySubmit(call);
    if (!status.ok()) Finish(call, status);
  }

  // Sends the rows of the search's current try.
  Status TrySubmit(const Call& call) {
    const int64_t start = Now(*call);
    ARROW_ASSIGN_OR_RAISE(auto rows, call->Rows());
    const auto now = call->span();
    WorkerJob job;
    ARROW_ASSIGN_OR_RAISE(EncodedBatch encoded,
                          encoder_.Encode(*rows, pool_->segments(), call->ctx->pool.get()));
    job.input = std::move(encoded.lease);
    job.input_bytes = encoded.bytes;
    job.rows = now.rows;
    job.groups = call->GroupRows();
    job.output_bytes_guess = output_guess_.load(std::memory_order_relaxed);
    if (job.output_bytes_guess == 0) job.output_bytes_guess = encoded.bytes;
    job.partition = call->ctx->partition;
    job.first_row = call->in.ordinals.At(now.begin);
    job.last_row = call->in.ordinals.At(now.end - 1);
    job.cancel = call->ctx->cancel;
    job.done = [this, call](WorkerAnswer answer) { Heard(call, std::move(answer)); };
    call->encode_ns = Now(*call) - start;
    pool_->Submit(std::move(job));
    return Status::OK();
  }

  // On the pool's thread.
  void Heard(const Call& call, WorkerAnswer answer) {
    times_.Add(answer.function_ns, answer.worker_ns - answer.function_ns + call->encode_ns, answer.waiting_ns,
               call->ctx->counters);
    switch (answer.kind) {
      case Kind::kDone: {
        if (!call->search.current().whole) return GoOn(call, call->search.Passed());
        const int64_t start = Now(*call);
        auto block = BlockOf(call.get(), answer);
        times_.Add(0, Now(*call) - start, 0, call->ctx->counters);
        if (!block.ok()) return Finish(call, block.status());
        std::vector<Block> blocks;
        if (block->num_rows() > 0) blocks.push_back(std::move(*block));
        return Finish(call, std::move(blocks));
      }
      case Kind::kBadRows:
        return BadRows(call, answer);
      case Kind::kError:
        if (!keeps_going_ ||
            (KindOf(answer.error) != ErrorKind::kUser && KindOf(answer.error) != ErrorKind::kData))
          return Finish(call, call->Located(answer.error));
        return Failed(call, answer.error);
      case Kind::kDied:
        if (!call->search.searching() && ++call->deaths <= args_.retries) return Submit(call);
        return Failed(call, answer.error);
      case Kind::kMemory:
        return Failed(call, answer.error);
      case Kind::kRefused:
      case Kind::kFatal:
        return Finish(call, answer.error);
      case Kind::kCancelled:
        return Finish(call, Status::Cancelled("the run was cancelled"));
    }
  }

  // The try failed, and no row is known to be the cause yet.
  void Failed(const Call& call, const Status& error) {
    call->last_error = error;
    int64_t unit = -1;
    const auto next = call->search.Failed(&unit);
    if (unit >= 0) {
      const Status status = call->AddError(unit, error);
      if (!status.ok()) return Finish(call, status);
    }
    GoOn(call, next);
  }

  void BadRows(const Call& call, const WorkerAnswer& answer) {
    std::vector<int64_t> named, units;
    for (const auto& [unit, text] : answer.bad_rows) named.push_back(unit);
    const auto next = call->search.FailedRows(named, &units);
    if (units.size() != answer.bad_rows.size())
      return Finish(call, BugError("a worker names rows that are not"));
    for (size_t i = 0; i < units.size(); ++i) {
      const Status status = call->AddError(units[i], UserError(answer.bad_rows[i].second));
      if (!status.ok()) return Finish(call, status);
    }
    GoOn(call, next);
  }

  void GoOn(const Call& call, BatchSearch::Next next) {
    switch (next) {
      case BatchSearch::Next::kTry:
        return Submit(call);
      case BatchSearch::Next::kEmpty:
        return Finish(call, std::vector<Block>{});
      case BatchSearch::Next::kNotOfARow:
        break;
    }
    Finish(call, call->Located(call->last_error, "; it fails on these rows together, on none of them alone"));
  }

  Result<Block> BlockOf(BatchCall* call, const WorkerAnswer& answer) {
    Block out;
    const auto now = call->span();
    const auto row_of = [&](int64_t i) { return call->in.ordinals.At(call->RowAt(i)); };
    std::vector<int64_t> origins;
    if (answer.origins_at >= 0 && answer.output != nullptr) {
      const auto* told = reinterpret_cast<const int32_t*>(answer.output->memory->data() + answer.origins_at);
      origins.assign(told, told + answer.origins_count);
      for (size_t i = 0; i < origins.size(); ++i) {
        if (origins[i] < 0 || origins[i] >= now.rows || (i > 0 && origins[i] < origins[i - 1]))
          return BugError("a worker names rows that it was not given");
      }
    }
    if (kind_ == FunctionKind::kFilterRows) return Kept(call, origins);
    if (answer.output == nullptr || answer.output_bytes == 0) return out;
    output_guess_.store(answer.output_bytes, std::memory_order_relaxed);
    ARROW_ASSIGN_OR_RAISE(out.batch, DecodeBatch(answer.output, answer.output_bytes, output_, MustCopy(*call),
                                                 call->ctx->pool.get()));
    const int64_t rows = out.batch->num_rows();
    if (args_.per_row && rows != now.rows) {
      return call->Located(UserError("the function returned " + std::to_string(rows) + " rows for " +
                                         std::to_string(now.rows) + ", though it says per_row",
                                     "return a row for each row, or leave out per_row"));
    }
    std::vector<int64_t> ordinals(static_cast<size_t>(rows));
    const bool told = static_cast<int64_t>(origins.size()) == rows;
    if (!told && rows == now.rows && !call->left_out()) {
      out.ordinals = call->in.ordinals;
      return out;
    }
    for (int64_t i = 0; i < rows; ++i) {
      // A function of batches does not say which row came of which: about the same place.
      const auto at = static_cast<size_t>(i);
      ordinals[at] = row_of(told ? origins[at] : rows == now.rows ? i : i * now.rows / rows);
    }
    out.ordinals = RowOrdinals::List(std::move(ordinals));
    return out;
  }

  // Rows of the input itself: nothing came back but which.
  static Result<Block> Kept(BatchCall* call, const std::vector<int64_t>& kept) {
    Block out;
    if (kept.empty()) return out;
    std::vector<int64_t> rows;
    rows.reserve(kept.size());
    for (const int64_t row : kept) rows.push_back(call->RowAt(row));
    out.ordinals = call->in.ordinals.Take(rows);
    const int64_t count = call->in.num_rows();
    if (static_cast<int64_t>(rows.size()) == count) return call->in;
    arrow::BooleanBuilder mask(call->ctx->pool.get());
    ARROW_RETURN_NOT_OK(mask.Reserve(count));
    for (int64_t row = 0, next = 0; row < count; ++row) {
      const bool keep = next < static_cast<int64_t>(rows.size()) && rows[static_cast<size_t>(next)] == row;
      mask.UnsafeAppend(keep);
      next += keep;
    }
    ARROW_ASSIGN_OR_RAISE(auto array, mask.Finish());
    if (call->in.batch->num_columns() == 0) {
      out.batch = call->in.batch->Slice(0, static_cast<int64_t>(rows.size()));
      return out;
    }
    ARROW_ASSIGN_OR_RAISE(out.batch,
                          SelectRows(*call->in.batch, std::static_pointer_cast<arrow::BooleanArray>(array),
                                     call->ctx->pool.get()));
    return out;
  }

  bool MustCopy(const BatchCall& call) const {
    if (to_caller_) return true;
    const SegmentPool& segments = *pool_->segments();
    const int64_t share = call.ctx->pool->budget()->limit_bytes() / kLeasedShare;
    return segments.leased_count() > kMostLeased + 4 * most_workers_ || segments.leased_bytes() > share;
  }

  const FunctionKind kind_;
  const FunctionArgs args_;
  const std::shared_ptr<arrow::Schema> input_, output_;
  const std::shared_ptr<BudgetPool> memory_;
  const bool keeps_going_, to_caller_;
  const int64_t most_workers_;
  const BatchEncoder encoder_;
  std::atomic<int64_t> output_guess_{0};
  BatchTimes times_;
  std::unique_ptr<FunctionPool> pool_;  // last: its threads call the rest
};

Json Named(const Json& args, const char* name, Json empty) {
  const auto it = args.find(name);
  return it == args.end() || it->is_null() ? std::move(empty) : *it;
}

}  // namespace

Result<std::unique_ptr<AsyncTransform>> MakeFunctionStep(FunctionKind kind, const TransformInit& init) {
  ARROW_ASSIGN_OR_RAISE(FunctionArgs args, ParseFunctionArgs(kind, *init.args));
  ARROW_ASSIGN_OR_RAISE(const std::string schema, EncodeSchema(init.output ? *init.output : *init.input));
  Json setup = {{"kind", std::string(FunctionStepName(kind))},
                {"step", init.step},
                {"fn", args.fn},
                {"batch_format", args.batch_format},
                {"schema", arrow::util::base64_encode(schema)},
                {"memory", args.memory_bytes},
                {"inline", args.compute == FunctionArgs::Compute::kInline},
                {"budget", args.gpus > 0 ? 0 : init.pool->budget()->limit_bytes()},
                {"keeps_going", init.keeps_going},
                {"sys_path", GetPythonRuntime().sys_path},
                {"log_level", GetPythonRuntime().log_level},
                {"fn_args", Named(*init.args, "fn_args", Json::array())},
                {"fn_kwargs", Named(*init.args, "fn_kwargs", Json::object())},
                {"fn_constructor_args", Named(*init.args, "fn_constructor_args", Json::array())},
                {"fn_constructor_kwargs", Named(*init.args, "fn_constructor_kwargs", Json::object())}};
  ARROW_ASSIGN_OR_RAISE(BatchEncoder encoder, BatchEncoder::Make(init.input));
  std::shared_ptr<const std::string> payload;
  if (args.fn.starts_with(kPayloadPrefix)) {
    payload = FindPayload(args.fn);
    if (payload == nullptr) {
      return UserError("the plan does not hold the code of this function",
                       "run the script that made the plan");
    }
  }
  const auto most =
      static_cast<int>(args.compute == FunctionArgs::Compute::kInline ? 1
                       : args.max_workers > 0                         ? args.max_workers
                                              : std::max(1.0, std::floor(init.threads / args.cpus)));
  std::unique_ptr<FunctionPool> pool;
  if (args.compute != FunctionArgs::Compute::kProcesses && HasLocalHost()) {
    pool = std::make_unique<LocalPool>(LocalPoolOptions{.step = init.step,
                                                        .setup = CanonicalJson(setup),
                                                        .payload = payload,
                                                        .threads = most,
                                                        .pool = init.pool,
                                                        .observer = init.observer});
  } else {
    ProcessPoolOptions options;
    options.step = init.step;
    options.command = PythonCommand();
    options.setup = CanonicalJson(setup);
    options.payload = payload;
    options.max_workers = most;
    options.min_workers = static_cast<int>(std::min<int64_t>(args.min_workers, most));
    options.memory_bytes = args.memory_bytes;
    // What a function makes of itself may be random: then each worker makes its own.
    options.shares_start = args.deterministic && args.gpus == 0;
    options.gpus = args.gpus;
    options.resources = args.resources;
    options.timeout_s = args.timeout_s;
    options.pool = init.pool;
    options.env = init.env;
    options.observer = init.observer;
    pool = std::make_unique<ProcessPool>(std::move(options));
  }
  return std::unique_ptr<AsyncTransform>(
      new FunctionStep(kind, std::move(args), init, most, std::move(encoder), std::move(pool)));
}

}  // namespace partita
