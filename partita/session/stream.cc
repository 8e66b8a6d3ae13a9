#include <arrow/api.h>

#include <algorithm>
#include <limits>
#include <thread>

#include "partita/base/json.h"
#include "partita/engine/local_engine.h"
#include "partita/operator/resources.h"
#include "partita/session/session.h"

namespace partita {
namespace {

// What is made ready before the loop of a training run takes it, beside the windows that are read: enough for
// any loop, and no more than that however large the budget is.
constexpr int64_t kWindowRowsAheadBytes = 64 << 20;

// Tasks at once. A permuted window is in memory as a whole, and its blocks pass the steps on all threads: of
// large ones few are read ahead.
int MostTasks(const std::vector<WindowRead>& windows, int threads) {
  int64_t largest_bytes = 0;
  for (const auto& window : windows) {
    int64_t bytes = 0;
    for (const auto& chunk : window.chunks) bytes += window.permuted ? chunk.bytes : 0;
    largest_bytes = std::max(largest_bytes, bytes);
  }
  return largest_bytes < kWindowRowsAheadBytes ? std::numeric_limits<int>::max() : 1 + (threads + 1) / 2;
}

// A run on a thread of its own whose rows the caller takes.
class RunStream final : public RowStream {
 public:
  // `windows`: instead of the partitions of the plan's one stage; nothing: those.
  RunStream(Env* env, CompiledPlan compiled, RunOptions options, RunControl control, MemoryTables tables,
            std::optional<std::vector<WindowRead>> windows)
      : env_(env),
        compiled_(std::move(compiled)),
        options_(std::move(options)),
        control_(std::move(control)),
        windows_(std::move(windows)) {
    if (control_.observer == nullptr) control_.observer = &own_;
    if (windows_) {
      context_.windows = &*windows_;
      rows_left_ = 0;
      for (const auto& window : *windows_) rows_left_ += window.rows;
    }
    context_.plan = &compiled_.plan;
    context_.snapshot = &compiled_.snapshot;
    context_.env = env_;
    context_.observer = control_.observer;
    context_.tables = std::move(tables);
    context_.threads = options_.threads;
    const auto placed = PlaceExchanges(compiled_.plan, compiled_.snapshot, options_.exchange);
    context_.places.in_memory = PlaceStages(compiled_.plan, placed).in_memory;
  }

  ~RunStream() override {
    stop_.Cancel();  // our own: the caller's token may serve other runs
    if (collector_) collector_->Close();
    if (thread_.joinable()) thread_.join();
    collector_.reset();
  }

  Status Start() {
    ARROW_RETURN_NOT_OK(SetResources(options_.resources));
    const auto& sink = compiled_.plan.sinks.at(0);
    context_.budget = Budget::Make(options_.memory_bytes);
    control_.observer->memory_limit.store(options_.memory_bytes);
    control_.observer->started_us.store(env_->NowUnixMicros());
    int64_t ahead_bytes = std::max<int64_t>(1 << 20, options_.memory_bytes / 4);
    if (windows_) ahead_bytes = std::min(ahead_bytes, kWindowRowsAheadBytes);
    collector_ = std::make_shared<Collector>(sink.inputs, sink.limit, ahead_bytes);
    collector_->SetPoll(control_.poll);
    context_.collectors[0] = collector_;
    RunIdentity identity{compiled_.plan_hash, compiled_.snapshot_hash, ""};
    const std::string scratch = options_.spill_dir.empty() ? "/tmp" : options_.spill_dir;
    ARROW_ASSIGN_OR_RAISE(directory_, RunDirectory::Open(env_, {}, identity, scratch, {}));
    context_.directory = directory_.get();
    ARROW_ASSIGN_OR_RAISE(factory_, TaskFactory::Make(context_));
    thread_ = std::thread([this] {
      LocalEngineOptions engine;
      engine.max_attempts = options_.max_attempts;
      if (windows_) engine.most_tasks = MostTasks(*windows_, options_.threads);
      engine.cancel = stop_;
      engine.poll = [this] { return control_.cancel.Check(); };
      Status status = RunLocal(factory_.get(), context_, engine);
      control_.observer->memory_peak.store(context_.budget->peak_bytes());
      control_.observer->finished_us.store(env_->NowUnixMicros());
      collector_->EndRun(std::move(status));
    });
    return Status::OK();
  }

  const std::shared_ptr<arrow::Schema>& schema() const override { return compiled_.plan.sinks[0].schema; }
  Observer* observer() override { return control_.observer; }

  Result<std::shared_ptr<arrow::RecordBatch>> Next() override {
    ARROW_ASSIGN_OR_RAISE(auto next, collector_->Next());
    if (windows_) {
      rows_left_ -= next ? (*next)->num_rows() : 0;
      if (rows_left_ < 0 || (!next && rows_left_ > 0)) return OtherRows();
    }
    if (!next) return nullptr;
    DetachToCaller(**next);
    auto& peak = control_.observer->held_by_caller_peak;
    peak.store(std::max(peak.load(), context_.budget->held_by_caller_bytes()));
    return *next;
  }

 private:
  static Status OtherRows() {
    return UserError("a step gave other than one row for each row, so that its rows cannot be skipped into",
                     "write them once (ds.write_parquet(...)) and read that");
  }

  Env* env_;
  CompiledPlan compiled_;
  RunOptions options_;
  RunControl control_;
  const std::optional<std::vector<WindowRead>> windows_;
  int64_t rows_left_ = 0;  // of the windows
  CancelToken stop_;
  Observer own_;
  RunContext context_;
  std::unique_ptr<RunDirectory> directory_;
  std::unique_ptr<TaskFactory> factory_;
  std::shared_ptr<Collector> collector_;
  std::thread thread_;
};

// Counters of a run that starts again from its first row.
void StartOver(Observer* observer) {
  for (const auto& step : observer->steps()) {
    auto* counters = const_cast<StepCounters*>(&step);
    for (auto* counter : {&counters->rows_in, &counters->rows_out, &counters->bytes_out,
                          &counters->rows_skipped, &counters->rows_quarantined}) {
      counter->store(0);
    }
    for (const auto& [key, n] : counters->Details()) counters->AddDetail(key, -n);
  }
  for (auto* counter : {&observer->tasks_total, &observer->tasks_done, &observer->tasks_running,
                        &observer->source_bytes_read}) {
    counter->store(0);
  }
}

// Whether the first rows after the last step can be made of the first file alone: one source, whose rows keep
// their order and come out the same when they are made again.
bool KeepsFileOrder(const Pipeline& pipeline) {
  int sources = 0;
  for (const auto& step : pipeline.steps) {
    const auto* spec = FindStep(step.op);
    if (spec == nullptr || spec->is_volatile || spec->is_exchange) return false;
    const auto deterministic = step.args.find("deterministic");
    if (deterministic != step.args.end() && *deterministic == false) return false;
    sources += spec->kind == StepKind::kSource ? 1 : 0;
  }
  return sources == 1;
}

// The source without the files behind the one that was opened for its columns. Nothing: there are none.
bool CutAfterFirstFile(Snapshot* snapshot) {
  auto& files = snapshot->sources.at(0).files;
  const auto opened =
      std::find_if(files.begin(), files.end(), [](const SourceFile& file) { return file.inspected; });
  if (opened == files.end() || opened + 1 == files.end()) return false;
  files.erase(opened + 1, files.end());
  return true;
}

}  // namespace

// The first rows of many files: those of the first file alone; where these are not enough, the same rows
// again and those of the next files.
class FirstRowsStream final : public RowStream {
 public:
  FirstRowsStream(Session* session, Pipeline pipeline, int64_t limit, RunOptions options, RunControl control,
                  std::unique_ptr<RowStream> first)
      : session_(session),
        pipeline_(std::move(pipeline)),
        limit_(limit),
        options_(std::move(options)),
        control_(std::move(control)),
        stream_(std::move(first)),
        schema_(stream_->schema()) {}

  const std::shared_ptr<arrow::Schema>& schema() const override { return schema_; }
  Observer* observer() override { return stream_->observer(); }

  Result<std::shared_ptr<arrow::RecordBatch>> Next() override {
    while (true) {
      ARROW_ASSIGN_OR_RAISE(auto batch, stream_->Next());
      if (!batch) {
        if (all_ || given_ >= limit_) return nullptr;
        ARROW_RETURN_NOT_OK(ReadAll());
        continue;
      }
      const int64_t over = std::min(passed_over_, batch->num_rows());
      passed_over_ -= over;
      if (over == batch->num_rows()) continue;
      if (over > 0) batch = batch->Slice(over);
      given_ += batch->num_rows();
      return batch;
    }
  }

 private:
  Status ReadAll() {
    all_ = true;
    passed_over_ = given_;
    stream_.reset();
    if (control_.observer != nullptr) StartOver(control_.observer);
    ARROW_ASSIGN_OR_RAISE(auto compiled,
                          session_->CompilePipeline(pipeline_, Session::Look::kPlan, control_));
    return session_->OpenStream(std::move(compiled), options_, control_).Value(&stream_);
  }

  Session* session_;
  Pipeline pipeline_;
  int64_t limit_;
  RunOptions options_;
  RunControl control_;
  std::unique_ptr<RowStream> stream_;
  std::shared_ptr<arrow::Schema> schema_;
  bool all_ = false;
  int64_t given_ = 0, passed_over_ = 0;
};

Result<Pipeline> CollectPipeline(const Pipeline& pipeline, const std::string& step, int64_t limit) {
  if (pipeline.steps.empty()) return UserError("the pipeline has no step");
  Pipeline result = pipeline;
  std::string target = step;
  std::erase_if(result.steps, [](const PipelineStep& s) {
    const auto* spec = FindStep(s.op);
    return spec != nullptr && spec->kind == StepKind::kSink;
  });
  if (target.empty()) {
    // The last step that is no sink, or what the last sink was fed with.
    const auto& last = pipeline.steps.back();
    const auto* spec = FindStep(last.op);
    target =
        spec != nullptr && spec->kind == StepKind::kSink && !last.inputs.empty() ? last.inputs[0] : last.name;
  }
  if (result.Find(target) == nullptr) return UserError("there is no step '" + target + "' that gives rows");
  if (limit >= 0) {
    PipelineStep cut;
    cut.op = "limit";
    cut.args = {{"n", limit}};
    cut.inputs = {target};
    target = AddStep(&result, std::move(cut));
  }
  PipelineStep collect;
  collect.op = "collect";
  collect.inputs = {target};
  AddStep(&result, std::move(collect));
  return result;
}

Result<std::unique_ptr<RowStream>> Session::Stream(const Pipeline& pipeline, const std::string& step,
                                                   int64_t limit, const RunOptions& given,
                                                   RunControl control) {
  ARROW_ASSIGN_OR_RAISE(auto collect, CollectPipeline(pipeline, step, limit));
  const bool few = limit >= 0 && KeepsFileOrder(collect);
  ARROW_ASSIGN_OR_RAISE(auto options, ResolveOptions(given, env_));
  ARROW_ASSIGN_OR_RAISE(auto compiled,
                        CompilePipeline(collect, few ? Look::kFirstFile : Look::kPlan, control));
  if (!few || !CutAfterFirstFile(&compiled.snapshot)) {
    return OpenStream(std::move(compiled), options, std::move(control));
  }
  compiled.snapshot_hash = compiled.snapshot.Hash();
  ARROW_ASSIGN_OR_RAISE(auto first, OpenStream(std::move(compiled), options, control));
  return std::make_unique<FirstRowsStream>(this, std::move(collect), limit, std::move(options),
                                           std::move(control), std::move(first));
}

Result<std::unique_ptr<RowStream>> Session::OpenStream(CompiledPlan compiled, const RunOptions& options,
                                                       RunControl control) {
  return StartStream(std::move(compiled), options, std::move(control), std::nullopt);
}

Result<std::unique_ptr<RowStream>> Session::OpenStream(CompiledPlan compiled, const RunOptions& options,
                                                       RunControl control, std::vector<WindowRead> windows) {
  return StartStream(std::move(compiled), options, std::move(control), std::move(windows));
}

Result<std::unique_ptr<RowStream>> Session::StartStream(CompiledPlan compiled, const RunOptions& options,
                                                        RunControl control,
                                                        std::optional<std::vector<WindowRead>> windows) {
  MemoryTables tables;
  {
    std::lock_guard lock(mutex_);
    tables = tables_;
  }
  auto stream = std::make_unique<RunStream>(env_, std::move(compiled), options, std::move(control),
                                            std::move(tables), std::move(windows));
  ARROW_RETURN_NOT_OK(stream->Start());
  return std::unique_ptr<RowStream>(std::move(stream));
}

Result<int64_t> Session::Count(const Pipeline& pipeline, const std::string& step, const RunOptions& options,
                               RunControl control) {
  ARROW_ASSIGN_OR_RAISE(auto collect, CollectPipeline(pipeline, step, -1));
  // A source alone, of a format whose files tell their row count, needs no run.
  if (collect.steps.size() == 2) {
    ARROW_ASSIGN_OR_RAISE(auto snapshot, TakeSnapshot(collect, Look::kRowCounts, control));
    const auto& source = snapshot.sources.at(0);
    int64_t rows = std::max<int64_t>(0, source.num_rows);
    bool known = true;
    for (const auto& file : source.files) {
      known = known && file.num_rows >= 0;
      rows += source.num_rows < 0 ? file.num_rows : 0;
    }
    if (known) return rows;
  }
  // Only row counts are wanted: no column is read that no step needs.
  PipelineStep none;
  none.op = "select";
  none.args = {{"columns", Json::array()}};
  auto& sink = collect.steps.back();
  none.inputs = sink.inputs;
  PipelineStep last = std::move(sink);
  collect.steps.pop_back();
  last.inputs = {AddStep(&collect, std::move(none))};
  last.name.clear();
  AddStep(&collect, std::move(last));
  ARROW_ASSIGN_OR_RAISE(auto stream, Stream(collect, "", -1, options, std::move(control)));
  int64_t rows = 0;
  while (true) {
    ARROW_ASSIGN_OR_RAISE(auto batch, stream->Next());
    if (!batch) return rows;
    rows += batch->num_rows();
  }
}

}  // namespace partita
