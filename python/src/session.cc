// The front door.
#include "python/src/session.h"

#include <arrow/record_batch.h>

#include "partita/base/json.h"
#include "partita/compile/compile.h"
#include "partita/pipeline/pipeline.h"

namespace partita::python {

namespace {

// Rows that the session holds for as long as a dataset may read them.
struct Table : KnownRows {
  using KnownRows::KnownRows;
};

Table* AddTable(const PySession& self, nb::handle object) {
  Rows rows = RowsFrom(object);
  int64_t num_rows = 0;
  for (const auto& batch : rows.batches) num_rows += batch->num_rows();
  std::string id = ValueOrThrow(self.session->AddTable(std::move(rows.schema), std::move(rows.batches)));
  return new Table(self.session, std::move(id), num_rows);
}

Json WrittenJson(const WrittenDataset& dataset) {
  Json files = Json::array();
  for (const auto& partition : dataset.manifest.partitions) {
    for (const CommittedFile& file : partition.files)
      files.push_back({{"path", file.path}, {"rows", file.rows}, {"bytes", file.size_bytes}});
  }
  return {{"step", dataset.step},
          {"path", dataset.path},
          {"format", dataset.format},
          {"rows", dataset.manifest.num_rows},
          {"partitions", dataset.manifest.partitions.size()},
          {"files", std::move(files)}};
}

CompiledPlan CompilePlan(const PySession& self, const Pipeline& pipeline) {
  nb::gil_scoped_release release;
  return ValueOrThrow(self.session->CompilePipeline(pipeline));
}

std::string RunPlan(const PySession& self, const CompiledPlan& plan, const OptionPairs& given,
                    nb::handle_t<Observer> observer, nb::object on_poll, bool retry_quarantine) {
  const RunOptions options = ValueOrThrow(MakeRunOptions(plan.options, given));
  const Call call(observer, std::move(on_poll));
  return ResultJson(call([&](const RunControl& control) {
    return retry_quarantine ? self.session->RetryQuarantine(plan, options, control)
                            : self.session->Run(plan, options, control);
  }));
}

StreamHandle* StreamRows(const PySession& self, const Pipeline& pipeline, const std::string& step,
                         int64_t limit, const OptionPairs& given, nb::handle_t<Observer> observer,
                         nb::object on_poll) {
  const RunOptions options = ValueOrThrow(MakeRunOptions(pipeline.options, given));
  const Call call(observer, std::move(on_poll));
  auto stream = call([&](const RunControl& control) {
    return self.session->Stream(pipeline, step, limit, options, control);
  });
  return new StreamHandle(
      std::make_shared<PyStream>(self.session, std::move(stream), call.cancel(), call.poll()));
}

int64_t CountRows(const PySession& self, const Pipeline& pipeline, const std::string& step,
                  const OptionPairs& given, nb::handle_t<Observer> observer, nb::object on_poll) {
  const RunOptions options = ValueOrThrow(MakeRunOptions(pipeline.options, given));
  const Call call(observer, std::move(on_poll));
  return call(
      [&](const RunControl& control) { return self.session->Count(pipeline, step, options, control); });
}

// Also of a pipeline that writes nothing: then as if its rows were handed to the caller.
std::string ExplainPipeline(const PySession& self, const Pipeline& pipeline, const OptionPairs& given) {
  nb::gil_scoped_release release;
  bool writes = false;
  for (const PipelineStep& step : pipeline.steps) {
    const StepSpec* spec = FindStep(step.op);
    writes = writes || (spec != nullptr && spec->kind == StepKind::kSink);
  }
  const Pipeline whole = writes ? pipeline : ValueOrThrow(CollectPipeline(pipeline, "", -1));
  const CompiledPlan compiled = ValueOrThrow(self.session->CompilePipeline(whole));
  const RunOptions options = ValueOrThrow(MakeRunOptions(pipeline.options, given));
  Check(options.exchange.Check(compiled.plan));
  return ValueOrThrow(Explain(compiled.plan, compiled.snapshot)) +
         DescribePlaces(compiled.plan, PlaceExchanges(compiled.plan, compiled.snapshot, options.exchange));
}

nb::capsule SchemaOf(const PySession& self, const Pipeline& pipeline, const std::string& step) {
  std::shared_ptr<arrow::Schema> schema;
  {
    nb::gil_scoped_release release;
    schema = ValueOrThrow(self.session->SchemaOf(pipeline, step));
  }
  return ToCapsule(*schema);
}

}  // namespace

std::string ResultJson(const RunResult& result) {
  Json datasets = Json::array();
  for (const WrittenDataset& dataset : result.datasets) datasets.push_back(WrittenJson(dataset));
  return CanonicalJson({{"datasets", std::move(datasets)},
                        {"quarantine", result.quarantine ? WrittenJson(*result.quarantine) : Json()},
                        {"was_complete", result.was_complete},
                        {"record_path", result.record_path}});
}

void BindSession(nb::module_& m) {
  nb::class_<Table>(m, "Table", nb::is_weak_referenceable(),
                    "Rows that the caller holds, known to a session until this object dies.")
      .def_ro("id", &Table::id)
      .def_ro("num_rows", &Table::num_rows);
  nb::class_<CompiledPlan>(m, "CompiledPlan", "A plan and the snapshot it was made from.")
      .def_static(
          "from_text", [](const std::string& text) { return ValueOrThrow(CompiledPlan::FromText(text)); },
          nb::arg("text"))
      .def("to_text", &CompiledPlan::ToText)
      .def("explain",
           [](const CompiledPlan& self) { return ValueOrThrow(Explain(self.plan, self.snapshot)); })
      .def("least_budget_bytes", [](const CompiledPlan& self) { return LeastBudgetBytes(self.plan); })
      .def_ro("plan_hash", &CompiledPlan::plan_hash)
      .def_ro("snapshot_hash", &CompiledPlan::snapshot_hash);
  nb::class_<PySession>(m, "Session", "From a pipeline to a finished run. Thread-safe.")
      .def(nb::init<>())
      .def("add_table", &AddTable, nb::arg("rows"), nb::rv_policy::take_ownership)
      .def("compile", &CompilePlan, nb::arg("pipeline"))
      .def("run", &RunPlan, nb::arg("plan"), nb::arg("options"), nb::arg("observer"),
           nb::arg("on_poll").none(), nb::arg("retry_quarantine") = false,
           "Writes the datasets; returns the result as JSON.")
      .def("stream", &StreamRows, nb::arg("pipeline"), nb::arg("step"), nb::arg("limit"), nb::arg("options"),
           nb::arg("observer"), nb::arg("on_poll").none(), nb::rv_policy::take_ownership)
      .def("count", &CountRows, nb::arg("pipeline"), nb::arg("step"), nb::arg("options"), nb::arg("observer"),
           nb::arg("on_poll").none())
      .def("explain", &ExplainPipeline, nb::arg("pipeline"), nb::arg("options"))
      .def("schema", &SchemaOf, nb::arg("pipeline"), nb::arg("step"));
}

}  // namespace partita::python
