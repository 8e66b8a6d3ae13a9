// Runs whose tasks other processes execute: what partita/engines drives; and rows that lie in a cluster.
#include <arrow/buffer.h>
#include <arrow/io/memory.h>
#include <arrow/ipc/writer.h>
#include <arrow/record_batch.h>
#include <nanobind/stl/tuple.h>

#include "partita/base/json.h"
#include "partita/session/remote_run.h"
#include "partita/session/summary.h"
#include "python/src/arrow_capsules.h"
#include "python/src/session.h"

namespace partita::python {
namespace {

Json TaskJson(const char* action, const Instruction& instruction) {
  return {{"do", action},
          {"stage", instruction.task.stage},
          {"partition", instruction.task.partition},
          {"attempt", instruction.attempt}};
}

Status StatusOf(const std::string& error) {
  Status status;
  Check(StatusFromJson(ValueOrThrow(ParseJson(error)), &status));
  return status;
}

// What a run that others executed has written.
struct Finished {
  RunResult result;

  std::string Json() const { return ResultJson(result); }
  std::string SummaryText(nb::handle_t<Observer> observer, double seconds) const {
    return partita::SummaryText(result, *nb::cast<Observer*>(observer), seconds, /*on_workers=*/true);
  }
  std::string SummaryJson(nb::handle_t<Observer> observer, double seconds) const {
    return PrettyJson(partita::SummaryJson(result, *nb::cast<Observer*>(observer), seconds));
  }
};

// What the command says of a run that failed or was stopped: the object of --json, the error, what becomes of
// the work; and its exit code.
std::tuple<std::string, std::string, std::string, int> FailureOf(const std::string& error,
                                                                 nb::handle_t<Observer> observer,
                                                                 double seconds) {
  const Status status = StatusOf(error);
  const auto& observed = *nb::cast<Observer*>(observer);
  return {PrettyJson(FailureJson(status, observed, seconds)), RenderError(status),
          UnfinishedText(status, observed), ExitCodeOf(status)};
}

// A run, and how it was told to end.
class Driver {
 public:
  Driver(SessionPtr session, std::unique_ptr<RemoteRun> run)
      : session_(std::move(session)), run_(std::move(run)) {}

  std::string Start(int capacity) {
    nb::gil_scoped_release release;
    return Carry(run_->coordinator()->Start(capacity));
  }
  std::string Report(const nb::bytes& bytes) {
    const std::string_view text(bytes.c_str(), bytes.size());  // `bytes` keeps it alive
    nb::gil_scoped_release release;
    return Carry(run_->coordinator()->OnReport(ValueOrThrow(TaskReport::FromText(text))));
  }
  std::string Lost(int stage, int64_t partition, const std::string& error) {
    nb::gil_scoped_release release;
    return Carry(run_->coordinator()->OnLost({stage, partition}, StatusOf(error)));
  }
  std::string Capacity(int capacity) { return Carry(run_->coordinator()->OnCapacity(capacity)); }
  std::string Tick() { return Carry(run_->coordinator()->OnTick()); }
  std::string Cancel() { return Carry(run_->coordinator()->Cancel()); }
  bool IsNeeded(int stage, int64_t partition) const {
    return run_->coordinator()->IsNeeded({stage, partition});
  }
  std::string Recalled(int stage, int64_t partition) {
    return Carry(run_->coordinator()->OnRecalled({stage, partition}));
  }
  bool IsReady(int stage) const { return run_->coordinator()->IsReady(stage); }
  int64_t EditionOf(int exchange) const { return run_->coordinator()->EditionOf(exchange); }
  nb::bytes Describe(int exchange) const {
    const std::string text = ValueOrThrow(run_->coordinator()->Describe(exchange));
    return nb::bytes(text.data(), text.size());
  }

  // "": as the coordinator said; else an error of the driver's own, as StatusToJson writes it.
  Finished* Finish(const std::string& error) {
    if (!run_) throw StatusError(BugError("the run is finished already"));
    nb::gil_scoped_release release;
    const Status status = error.empty() ? status_ : StatusOf(error);
    auto result = run_->Finish(status);
    run_.reset();
    return new Finished{ValueOrThrow(std::move(result))};
  }

  void Show(const std::string& texts) { Check(run_->coordinator()->ShowUnderWay(texts)); }

  std::string folder() const { return run_->folder(); }

  // By stage: the steps it fuses, the exchanges that it reads, and where it hands rows over: [output, input
  // of the sink].
  std::string Stages() const {
    const Plan& plan = run_->compiled().plan;
    Json stages = Json::array();
    for (size_t s = 0; s < plan.stages.size(); ++s) {
      const auto& stage = plan.stages[s];
      Json steps = Json::array(), hands_over = Json::array();
      if (stage.source.kind == PlanSource::Kind::kScan) steps.push_back(stage.source.step);
      for (const auto& node : stage.nodes) steps.push_back(node.step);
      for (size_t o = 0; o < stage.outputs.size(); ++o) {
        const auto& output = stage.outputs[o];
        if (output.kind == PlanOutput::Kind::kSink &&
            plan.sinks[static_cast<size_t>(output.target)].op == "collect")
          hands_over.push_back(Json::array({o, output.input_index}));
        const auto target = static_cast<size_t>(output.target);
        steps.push_back(output.kind == PlanOutput::Kind::kSink ? plan.sinks[target].step
                                                               : plan.exchanges[target].step);
      }
      stages.push_back({{"steps", std::move(steps)},
                        {"reads", ExchangesReadBy(plan, static_cast<int>(s))},
                        {"hands_over", std::move(hands_over)}});
    }
    return CanonicalJson(stages);
  }

 private:
  std::string Carry(const std::vector<Instruction>& instructions) {
    Json out = Json::array();
    for (const auto& instruction : instructions) {
      switch (instruction.kind) {
        case Instruction::Kind::kStartTask:
          out.push_back(TaskJson("start", instruction));
          break;
        case Instruction::Kind::kCancelTask:
          out.push_back(TaskJson("cancel", instruction));
          break;
        case Instruction::Kind::kRecallTask:
          out.push_back(TaskJson("recall", instruction));
          break;
        case Instruction::Kind::kRetryLater:
        case Instruction::Kind::kRedoTask:
          break;  // these are events
        case Instruction::Kind::kFinishRun:
          status_ = Status::OK();
          out.push_back({{"do", "finish"}});
          break;
        case Instruction::Kind::kFailRun:
          status_ = instruction.status;
          out.push_back({{"do", "fail"}});
          break;
      }
    }
    return CanonicalJson(out);
  }

  SessionPtr session_;
  std::unique_ptr<RemoteRun> run_;
  Status status_ = Status::Cancelled("the run was given up");
};

class Worker {
 public:
  Worker(SessionPtr session, std::unique_ptr<RemoteWorker> worker)
      : session_(std::move(session)), worker_(std::move(worker)) {}

  void AddExchange(int exchange, const nb::bytes& bytes) {
    const std::string_view text(bytes.c_str(), bytes.size());
    nb::gil_scoped_release release;
    Check(worker_->runner()->AddExchange(exchange, text));
  }
  nb::bytes Run(int stage, int64_t partition) {
    std::string text;
    {
      nb::gil_scoped_release release;
      text = ValueOrThrow(worker_->runner()->Run({stage, partition})).ToText();
    }
    return nb::bytes(text.data(), text.size());
  }
  std::string UnderWay() {
    nb::gil_scoped_release release;
    return worker_->runner()->UnderWay();
  }
  void Cancel(int stage, int64_t partition) {
    nb::gil_scoped_release release;
    worker_->runner()->Cancel({stage, partition});
  }
  nb::capsule Take(int stage, int64_t partition, int output) {
    const auto& target = worker_->compiled().plan.stages.at(static_cast<size_t>(stage)).outputs;
    const auto sink = static_cast<size_t>(target.at(static_cast<size_t>(output)).target);
    return ToCapsule(
        ValueOrThrow(arrow::RecordBatchReader::Make(worker_->runner()->Take({stage, partition}, output),
                                                    worker_->compiled().plan.sinks.at(sink).schema)));
  }
  int slots() const { return worker_->runner()->slots(); }
  int threads() const { return worker_->options().threads; }
  int64_t memory_bytes() const { return worker_->options().memory_bytes; }
  const std::string& plan_hash() const { return worker_->compiled().plan_hash; }

 private:
  SessionPtr session_;
  std::unique_ptr<RemoteWorker> worker_;
};

Driver* OpenRun(const PySession& self, const CompiledPlan& plan, const OptionPairs& given,
                nb::handle_t<Observer> observer) {
  const RunOptions options = ValueOrThrow(MakeRunOptions(plan.options, given));
  auto* observed = nb::cast<Observer*>(observer);
  nb::gil_scoped_release release;
  return new Driver(self.session, ValueOrThrow(self.session->OpenRun(plan, options, observed)));
}

Worker* OpenWorker(const PySession& self, const CompiledPlan& plan, const OptionPairs& given,
                   const std::string& run_folder, const std::string& node_host,
                   const std::string& node_token) {
  const RunOptions options = ValueOrThrow(MakeRunOptions(plan.options, given));
  nb::gil_scoped_release release;
  return new Worker(self.session,
                    ValueOrThrow(self.session->OpenWorker(plan, options, run_folder, node_host, node_token)));
}

// A plan that hands over the rows after a step.
CompiledPlan CompileRows(const PySession& self, const Pipeline& pipeline, const std::string& step) {
  nb::gil_scoped_release release;
  return ValueOrThrow(self.session->CompilePipeline(ValueOrThrow(CollectPipeline(pipeline, step, -1))));
}

// Rows that are fetched block by block.
struct Blocks : KnownRows {
  using KnownRows::KnownRows;
};

// `fetch(i)` gives anything with __arrow_c_stream__; an error it raises may pass, for a cluster is asked.
MemoryTable::Fetch FetchOf(nb::object fetch) {
  // The last copy may die in any thread.
  std::shared_ptr<nb::object> function(new nb::object(std::move(fetch)), [](nb::object* object) {
    nb::gil_scoped_acquire acquire;
    delete object;
  });
  return [function](int64_t block) -> Result<std::vector<std::shared_ptr<arrow::RecordBatch>>> {
    nb::gil_scoped_acquire acquire;
    try {
      return RowsFrom((*function)(block)).batches;
    } catch (const StatusError& error) {
      return error.status;
    } catch (const nb::python_error& error) {
      const auto kind = nb::cast<std::string>(error.type().attr("__name__"));
      return EnvironmentError("block " + std::to_string(block) + " cannot be read: " + kind + ": " +
                                  nb::cast<std::string>(nb::str(error.value())),
                              "rows that a cluster has lost must be made again", /*retriable=*/true);
    }
  };
}

Blocks* AddBlocks(const PySession& self, const std::string& name, nb::handle schema,
                  const std::vector<std::pair<int64_t, int64_t>>& rows_and_bytes, nb::object fetch,
                  bool fetch_copies) {
  std::vector<RemoteBlock> blocks;
  int64_t num_rows = 0;
  for (const auto& [rows, size_bytes] : rows_and_bytes) {
    blocks.push_back({rows, size_bytes});
    num_rows += rows;
  }
  auto columns = SchemaFrom(schema);
  return new Blocks(self.session,
                    ValueOrThrow(self.session->AddBlocks(name, std::move(columns), std::move(blocks),
                                                         FetchOf(std::move(fetch)), fetch_copies)),
                    num_rows);
}

// The ids of the tables that the caller holds and the plan reads.
std::vector<std::string> TablesOf(const CompiledPlan& plan) {
  std::vector<std::string> ids;
  for (const auto& stage : plan.plan.stages) {
    if (stage.source.kind == PlanSource::Kind::kScan && stage.source.format == "memory")
      ids.push_back(stage.source.args.value("id", std::string()));
  }
  return ids;
}

// Such a table's rows, as an IPC stream for another process.
nb::bytes TableBytes(const PySession& self, const std::string& id) {
  std::shared_ptr<arrow::Buffer> buffer;
  {
    nb::gil_scoped_release release;
    const auto table = self.session->TableOf(id);
    if (!table || table->fetch)
      throw StatusError(UserError("the rows that this plan reads from memory are gone"));
    auto out = ValueOrThrow(arrow::io::BufferOutputStream::Create());
    auto writer = ValueOrThrow(arrow::ipc::MakeStreamWriter(out, table->schema));
    for (const auto& batch : table->batches) Check(writer->WriteRecordBatch(*batch));
    Check(writer->Close());
    buffer = ValueOrThrow(out->Finish());
  }
  return nb::bytes(reinterpret_cast<const char*>(buffer->data()), static_cast<size_t>(buffer->size()));
}

}  // namespace

void BindEngines(nb::module_& m) {
  nb::class_<Driver>(m, "Driver", "A run of which others execute the tasks. Instructions are JSON lists.")
      .def("start", &Driver::Start, nb::arg("capacity"))
      .def("report", &Driver::Report, nb::arg("report"), "What a worker returned for a task.")
      .def("lost", &Driver::Lost, nb::arg("stage"), nb::arg("partition"), nb::arg("error"),
           "A task ended without a report; `error` is a status as JSON.")
      .def("capacity", &Driver::Capacity, nb::arg("capacity"))
      .def("tick", &Driver::Tick)
      .def("cancel", &Driver::Cancel)
      .def("recalled", &Driver::Recalled, nb::arg("stage"), nb::arg("partition"),
           "A task that was to be recalled had not begun.")
      .def("is_ready", &Driver::IsReady, nb::arg("stage"))
      .def("edition_of", &Driver::EditionOf, nb::arg("exchange"),
           "Which description of an exchange is the last: it grows when a part was lost and made anew.")
      .def("is_needed", &Driver::IsNeeded, nb::arg("stage"), nb::arg("partition"))
      .def("describe", &Driver::Describe, nb::arg("exchange"),
           "What a worker must know of a complete exchange.")
      .def("show", &Driver::Show, nb::arg("texts"),
           "What workers are at: a JSON list of what under_way gave, instead of the last one.")
      .def("folder", &Driver::folder, "For open_worker.")
      .def("stages", &Driver::Stages, "By stage: its steps, and the exchanges it reads, as JSON.")
      .def("finish", &Driver::Finish, nb::arg("error") = "", nb::rv_policy::take_ownership,
           "Writes manifests and record; returns the result.");
  nb::class_<Finished>(m, "Finished", "What a run has written.")
      .def("to_json", &Finished::Json)
      .def("summary_text", &Finished::SummaryText, nb::arg("observer"), nb::arg("seconds"))
      .def("summary_json", &Finished::SummaryJson, nb::arg("observer"), nb::arg("seconds"));
  m.def("failure", &FailureOf, nb::arg("error"), nb::arg("observer"), nb::arg("seconds"),
        "JSON, the error's text, what becomes of the work, exit code; `error` is a status as JSON.");
  nb::class_<Worker>(m, "Worker", "Executes tasks of one plan in this process. Thread-safe.")
      .def("add_exchange", &Worker::AddExchange, nb::arg("exchange"), nb::arg("description"))
      .def("run", &Worker::Run, nb::arg("stage"), nb::arg("partition"), "Blocks; returns the report.")
      .def("cancel", &Worker::Cancel, nb::arg("stage"), nb::arg("partition"))
      .def("under_way", &Worker::UnderWay, "Rows of tasks that run, by step, for Driver.show.")
      .def("take", &Worker::Take, nb::arg("stage"), nb::arg("partition"), nb::arg("output"),
           "The rows that a task handed over, as an arrow_array_stream capsule; once.")
      .def_prop_ro("slots", &Worker::slots)
      .def_prop_ro("threads", &Worker::threads)
      .def_prop_ro("memory_bytes", &Worker::memory_bytes)
      .def_prop_ro("plan_hash", &Worker::plan_hash);
  m.def("open_run", &OpenRun, nb::arg("session"), nb::arg("plan"), nb::arg("options"), nb::arg("observer"),
        nb::rv_policy::take_ownership, nb::keep_alive<0, 4>());
  m.def("open_worker", &OpenWorker, nb::arg("session"), nb::arg("plan"), nb::arg("options"),
        nb::arg("run_folder") = "", nb::arg("node_host") = "", nb::arg("node_token") = "",
        nb::rv_policy::take_ownership);
  m.def("compile_rows", &CompileRows, nb::arg("session"), nb::arg("pipeline"), nb::arg("step"));
  nb::class_<Blocks>(m, "Blocks", nb::is_weak_referenceable(),
                     "Rows that lie in a cluster, known to a session until this object dies.")
      .def_ro("id", &Blocks::id)
      .def_ro("num_rows", &Blocks::num_rows);
  m.def("add_blocks", &AddBlocks, nb::arg("session"), nb::arg("name"), nb::arg("schema"), nb::arg("blocks"),
        nb::arg("fetch"), nb::arg("fetch_copies"), nb::rv_policy::take_ownership,
        "`blocks`: rows and bytes of each; `fetch(i)` gives the rows of one, from any thread.");
  m.def(
      "engine_of",
      [](const CompiledPlan& plan, const OptionPairs& given) {
        return ValueOrThrow(MakeRunOptions(plan.options, given)).engine;
      },
      nb::arg("plan"), nb::arg("options"));
  m.def(
      "exchange_of",
      [](const CompiledPlan& plan, const OptionPairs& given) {
        return ValueOrThrow(MakeRunOptions(plan.options, given)).exchange.Text();
      },
      nb::arg("plan"), nb::arg("options"));
  m.def("tables_of", &TablesOf, nb::arg("plan"));
  m.def("table_bytes", &TableBytes, nb::arg("session"), nb::arg("id"));
}

}  // namespace partita::python
