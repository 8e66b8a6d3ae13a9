// Runs whose tasks other processes execute: what partita/engines drives.
#include <arrow/buffer.h>
#include <arrow/io/memory.h>
#include <arrow/ipc/writer.h>
#include <arrow/record_batch.h>

#include "partita/base/json.h"
#include "partita/session/remote_run.h"
#include "python/src/session.h"

namespace partita::python {
namespace {

Json TaskJson(const char* action, const Instruction& instruction) {
  return {{"do", action},
          {"stage", instruction.task.stage},
          {"partition", instruction.task.partition},
          {"attempt", instruction.attempt}};
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
  nb::bytes Describe(int exchange) const {
    const std::string text = run_->coordinator()->Describe(exchange);
    return nb::bytes(text.data(), text.size());
  }

  // "": as the coordinator said; else an error of the driver's own, as StatusToJson writes it.
  std::string Finish(const std::string& error) {
    if (!run_) throw StatusError(BugError("the run is finished already"));
    nb::gil_scoped_release release;
    const Status status = error.empty() ? status_ : StatusOf(error);
    auto result = run_->Finish(status);
    run_.reset();
    return ResultJson(ValueOrThrow(std::move(result)));
  }

  // By stage: the steps it fuses, and the exchanges that it reads.
  std::string Stages() const {
    const Plan& plan = run_->compiled().plan;
    Json stages = Json::array();
    for (size_t s = 0; s < plan.stages.size(); ++s) {
      const auto& stage = plan.stages[s];
      Json steps = Json::array();
      if (stage.source.kind == PlanSource::Kind::kScan) steps.push_back(stage.source.step);
      for (const auto& node : stage.nodes) steps.push_back(node.step);
      for (const auto& output : stage.outputs) {
        const auto target = static_cast<size_t>(output.target);
        steps.push_back(output.kind == PlanOutput::Kind::kSink ? plan.sinks[target].step
                                                               : plan.exchanges[target].step);
      }
      stages.push_back({{"steps", std::move(steps)}, {"reads", ExchangesReadBy(plan, static_cast<int>(s))}});
    }
    return CanonicalJson(stages);
  }

 private:
  static Status StatusOf(const std::string& error) {
    Status status;
    Check(StatusFromJson(ValueOrThrow(ParseJson(error)), &status));
    return status;
  }

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
        case Instruction::Kind::kRetryLater:
          break;  // it is an event
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
  void Cancel(int stage, int64_t partition) {
    nb::gil_scoped_release release;
    worker_->runner()->Cancel({stage, partition});
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

Worker* OpenWorker(const PySession& self, const CompiledPlan& plan, const OptionPairs& given) {
  const RunOptions options = ValueOrThrow(MakeRunOptions(plan.options, given));
  nb::gil_scoped_release release;
  return new Worker(self.session, ValueOrThrow(self.session->OpenWorker(plan, options)));
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
    if (!table) throw StatusError(UserError("the rows that this plan reads from memory are gone"));
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
      .def("is_needed", &Driver::IsNeeded, nb::arg("stage"), nb::arg("partition"))
      .def("describe", &Driver::Describe, nb::arg("exchange"),
           "What a worker must know of a complete exchange.")
      .def("stages", &Driver::Stages, "By stage: its steps, and the exchanges it reads, as JSON.")
      .def("finish", &Driver::Finish, nb::arg("error") = "",
           "Writes manifests and record; returns the result.");
  nb::class_<Worker>(m, "Worker", "Executes tasks of one plan in this process. Thread-safe.")
      .def("add_exchange", &Worker::AddExchange, nb::arg("exchange"), nb::arg("description"))
      .def("run", &Worker::Run, nb::arg("stage"), nb::arg("partition"), "Blocks; returns the report.")
      .def("cancel", &Worker::Cancel, nb::arg("stage"), nb::arg("partition"))
      .def_prop_ro("slots", &Worker::slots)
      .def_prop_ro("threads", &Worker::threads)
      .def_prop_ro("memory_bytes", &Worker::memory_bytes)
      .def_prop_ro("plan_hash", &Worker::plan_hash);
  m.def("open_run", &OpenRun, nb::arg("session"), nb::arg("plan"), nb::arg("options"), nb::arg("observer"),
        nb::rv_policy::take_ownership, nb::keep_alive<0, 4>());
  m.def("open_worker", &OpenWorker, nb::arg("session"), nb::arg("plan"), nb::arg("options"),
        nb::rv_policy::take_ownership);
  m.def(
      "engine_of",
      [](const CompiledPlan& plan, const OptionPairs& given) {
        return ValueOrThrow(MakeRunOptions(plan.options, given)).engine;
      },
      nb::arg("plan"), nb::arg("options"));
  m.def("tables_of", &TablesOf, nb::arg("plan"));
  m.def("table_bytes", &TableBytes, nb::arg("session"), nb::arg("id"));
}

}  // namespace partita::python
