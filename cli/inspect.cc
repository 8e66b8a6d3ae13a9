// partita inspect: what is there? A dataset's format, files, columns and first rows; a compiled plan; the
// rows a pipeline gives.
#include <arrow/api.h>
#include <arrow/io/stdio.h>

#include <cstdio>

#include "cli/cell_text.h"
#include "cli/interrupt.h"
#include "cli/load.h"
#include "cli/looked.h"
#include "cli/table.h"
#include "cli/terminal.h"
#include "cli/verbs.h"
#include "partita/base/json.h"
#include "partita/base/units.h"
#include "partita/block/schema.h"
#include "partita/memory/budget.h"
#include "partita/storage/format.h"

namespace partita::cli {
namespace {

constexpr int64_t kDefaultRows = 10;
constexpr int kMostColumnsListed = 100;

VerbSpec Spec() {
  VerbSpec spec;
  spec.usage = "inspect PATH [OPTIONS]";
  spec.description =
      "Shows a dataset: its format, files, bytes, columns and first rows. PATH is a file, folder, glob or "
      "URL; a folder that Partita "
      "wrote (the quarantine too) also tells its row count. Of many files only the first ones are opened. A "
      "compiled plan.json is "
      "explained; of a pipeline.yaml the rows after its last step are shown, and nothing is written.";
  spec.min_positional = spec.max_positional = 1;
  spec.flags = {
      {"rows", "N", "how many rows to show [10]"},
      {"format", "NAME", "parquet, csv, jsonl, text, files or webdataset [by the name of the first file]"},
      {"columns", "A,B", "columns to show [all]"},
      {"step", "NAME", "of a pipeline: the step whose rows to show [the last]"},
      {"count", "", "count all rows, also where every file must be read for it"},
      {"json", "", "print the rows alone, as JSON lines"},
      SetFlag(),
  };
  spec.run_options = true;
  spec.examples =
      "  partita inspect photos/ --rows 3\n"
      "  partita inspect 'logs/*.csv' --json | head -1\n"
      "  partita inspect out/_quarantine --columns __step,__message\n";
  return spec;
}

// Rows as JSON lines on stdout, by the writer of the format.
class LinePrinter {
 public:
  Status Print(const std::shared_ptr<arrow::RecordBatch>& batch) {
    if (!writer_) {
      budget_ = Budget::Make(256 * kMiB);
      WriteRequest request;
      request.schema = batch->schema();
      request.args = &args_;
      request.pool = budget_->root();
      request.env = Env::Default();
      ARROW_ASSIGN_OR_RAISE(args_, NormaliseArgs(*FindStep("write_jsonl"), {{"path", "-"}}));
      ARROW_ASSIGN_OR_RAISE(
          writer_, FindFormat("jsonl")->OpenWriter(std::make_shared<arrow::io::StdoutStream>(), request));
    }
    return writer_->Write(batch);
  }
  Status Finish() { return writer_ ? writer_->Finish() : Status::OK(); }

 private:
  Json args_;
  std::shared_ptr<Budget> budget_;
  std::unique_ptr<FileWriter> writer_;
};

// The first rows of a dataset: of its first file alone where that has enough, so that no other file is
// opened.
class FirstRows {
 public:
  FirstRows(Session* session, const RunOptions& options, CancelToken interrupt, std::string step,
            int64_t rows)
      : session_(session),
        options_(options),
        interrupt_(std::move(interrupt)),
        step_(std::move(step)),
        rows_(rows) {}

  // `first` reads the first file of `all`; nothing: `all` is as small.
  Status Open(Pipeline all, std::optional<Pipeline> first) {
    all_ = std::move(all);
    first_alone_ = first.has_value();
    return Start(first ? *first : all_);
  }
  const arrow::Schema& schema() const { return *stream_->schema(); }

  Result<std::shared_ptr<arrow::RecordBatch>> Next() {
    while (true) {
      ARROW_ASSIGN_OR_RAISE(auto batch, stream_->Next());
      if (!batch) {
        if (!first_alone_ || given_ >= rows_) return nullptr;
        // The same rows again, and those of the next files. The schema is the first file's either way.
        first_alone_ = false;
        ARROW_RETURN_NOT_OK(Start(all_));
        passed_over_ = given_;
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
  Status Start(const Pipeline& pipeline) {
    stream_.reset();
    RunControl control;
    control.cancel = interrupt_;
    return session_->Stream(pipeline, step_, rows_, options_, std::move(control)).Value(&stream_);
  }

  Session* session_;
  RunOptions options_;
  CancelToken interrupt_;
  std::string step_;
  int64_t rows_;
  Pipeline all_;
  bool first_alone_ = false;
  int64_t given_ = 0, passed_over_ = 0;
  std::unique_ptr<RowStream> stream_;
};

Status PrintLines(FirstRows* rows) {
  LinePrinter printer;
  while (true) {
    ARROW_ASSIGN_OR_RAISE(auto batch, rows->Next());
    if (!batch) return printer.Finish();
    ARROW_RETURN_NOT_OK(printer.Print(batch));
  }
}

void PrintSchema(const arrow::Schema& schema) {
  std::printf("columns  %d\n", schema.num_fields());
  const int shown = std::min(schema.num_fields(), kMostColumnsListed);
  for (int i = 0; i < shown; ++i) {
    const auto& field = *schema.field(i);
    std::printf("  %s  %s%s\n", field.name().c_str(), TypeToString(*field.type()).c_str(),
                field.nullable() ? "" : " not null");
  }
  if (shown < schema.num_fields()) std::printf("  … and %d more\n", schema.num_fields() - shown);
}

// Cells are made as batches come, so that no batch with large values is kept.
Status PrintTable(FirstRows* rows) {
  TextTable table;
  for (const auto& field : rows->schema().fields())
    table.columns.push_back({field->name(), IsNumberColumn(*field->type())});
  while (true) {
    ARROW_ASSIGN_OR_RAISE(auto batch, rows->Next());
    if (!batch) break;
    for (int64_t row = 0; row < batch->num_rows(); ++row) {
      auto& cells = table.rows.emplace_back();
      for (const auto& column : batch->columns()) cells.push_back(CellText(*column, row));
    }
  }
  if (table.rows.empty()) {
    std::printf("\nno rows\n");
  } else if (!table.columns.empty()) {
    std::printf("\n%s", table.Render(TerminalWidth(stdout)).c_str());
  }
  return Status::OK();
}

void PrintFacts(const std::string& path, const Looked& looked) {
  std::printf("%s\n", path.c_str());
  std::printf("format   %s\n", looked.format.c_str());
  std::printf("files    %s", FormatCount(looked.files).c_str());
  if (looked.bytes >= 0) std::printf(", %s", FormatBytes(looked.bytes).c_str());
  std::printf("\n");
  if (!looked.plan_hash.empty()) std::printf("plan     %.12s\n", looked.plan_hash.c_str());
  if (looked.unfinished) std::printf("state    not finished: a run of Partita was stopped or is under way\n");
}

// `looked` is null for a pipeline file.
Status InspectRows(Session* session, const Pipeline& pipeline, const Looked* looked,
                   const Arguments& arguments, const RunOptions& options) {
  ARROW_ASSIGN_OR_RAISE(const int64_t limit,
                        ParseNumber("rows", arguments.Get("rows", std::to_string(kDefaultRows)), 0));
  const CancelToken interrupt;
  const Interruptible interruptible(interrupt);
  const std::string step = arguments.Get("step");
  int64_t count = looked == nullptr ? -1 : looked->rows;
  if (arguments.Has("count") && count < 0) {
    RunControl control;
    control.cancel = interrupt;
    ARROW_ASSIGN_OR_RAISE(count, session->Count(pipeline, step, options, std::move(control)));
  }
  FirstRows rows(session, options, interrupt, step, limit);
  ARROW_RETURN_NOT_OK(rows.Open(pipeline, looked == nullptr ? std::nullopt : FirstFile(pipeline, *looked)));
  if (arguments.Has("json")) return PrintLines(&rows);
  if (looked != nullptr) PrintFacts(arguments.positional[0], *looked);
  if (count >= 0) std::printf("rows     %s\n", FormatCount(count).c_str());
  PrintSchema(rows.schema());
  return PrintTable(&rows);
}

Status InspectPath(const Arguments& arguments) {
  const auto& path = arguments.positional[0];
  Session session(Env::Default());
  if (path.ends_with(".yaml") || path.ends_with(".yml")) {
    ARROW_ASSIGN_OR_RAISE(auto loaded, Load(path, arguments));
    ARROW_ASSIGN_OR_RAISE(const auto options, OptionsOf(arguments, loaded.pipeline.options));
    return InFile(InspectRows(&session, loaded.pipeline, nullptr, arguments, options), path, loaded.pipeline);
  }
  ARROW_ASSIGN_OR_RAISE(const auto plan, PlanAt(Env::Default(), path));
  if (plan) {
    ARROW_ASSIGN_OR_RAISE(const auto text, partita::Explain(plan->plan, plan->snapshot));
    std::fputs(arguments.Has("json") ? PrettyJson(plan->plan.ToJson()).c_str() : text.c_str(), stdout);
    return Status::OK();
  }
  ARROW_ASSIGN_OR_RAISE(const auto options, OptionsOf(arguments, Json::object()));
  ARROW_ASSIGN_OR_RAISE(const auto looked, LookAt(Env::Default(), path, arguments.Get("format")));
  Pipeline pipeline;
  pipeline.name = "inspect";
  PipelineStep source;
  source.op = source.name = "read_" + looked.format;
  source.args = {{"path", Json::array({path})}};
  pipeline.steps.push_back(std::move(source));
  if (const std::string columns = arguments.Get("columns"); !columns.empty()) {
    PipelineStep select;
    select.op = select.name = "select";
    select.args = {{"columns", SplitNames(columns)}};
    select.inputs = {pipeline.steps[0].name};
    pipeline.steps.push_back(std::move(select));
  }
  return InspectRows(&session, pipeline, &looked, arguments, options);
}

}  // namespace

int Inspect(const std::vector<std::string>& words) {
  int exit_code = 0;
  const auto arguments = ParseVerb(words, Spec(), &exit_code);
  if (!arguments) return exit_code;
  const Status status = InspectPath(*arguments);
  return OutputReaderGone() && !status.IsCancelled() ? 0 : Report(status);
}

}  // namespace partita::cli
