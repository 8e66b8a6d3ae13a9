#include "partita/compile/test_pipeline.h"

namespace partita {
namespace {

using SchemaPtr = std::shared_ptr<arrow::Schema>;

SchemaPtr With(const SchemaPtr& input, const std::string& name,
               const std::shared_ptr<arrow::DataType>& type) {
  arrow::FieldVector fields;
  for (const auto& field : input->fields()) {
    if (field->name() != name) fields.push_back(field);
  }
  fields.push_back(arrow::field(name, type));
  return arrow::schema(std::move(fields));
}

Result<StepBinding> BindFetch(const Json& args, const SchemaPtr& input) {
  StepBinding binding;
  const std::string url = args.at("url").get<std::string>();
  if (input->GetFieldIndex(url) < 0) return UserError("there is no column '" + url + "'");
  binding.output = With(With(input, "image", arrow::binary()), "status", arrow::utf8());
  binding.reads = {url};
  binding.writes = {"image", "status"};
  return binding;
}

Result<StepBinding> BindResize(const Json&, const SchemaPtr& input) {
  if (input->GetFieldIndex("image") < 0) return UserError("there is no column 'image'");
  StepBinding binding;
  binding.output = With(With(input, "image", arrow::binary()), "width", arrow::int32());
  binding.reads = {"image"};
  binding.writes = {"image", "width"};
  return binding;
}

Result<StepBinding> BindDigest(const Json&, const SchemaPtr&) {
  StepBinding binding;
  binding.output = arrow::schema({arrow::field("digest", arrow::utf8())});
  binding.reads_all = true;
  binding.writes = {"digest"};
  binding.drops_others = true;
  return binding;
}

std::string Columns(const arrow::Schema& schema) {
  std::string out;
  for (const auto& name : schema.field_names()) out += (out.empty() ? "" : ",") + name;
  return "(" + out + ")";
}

}  // namespace

void RegisterTestSteps() {
  if (FindStep("test_fetch") != nullptr) return;
  StepSpec fetch;
  fetch.name = "test_fetch";
  fetch.version = "7";
  fetch.summary = "Fetches.";
  fetch.args = {
      {.name = "url", .type = ArgType::kColumn, .default_json = "\"url\"", .doc = "Column of URLs."}};
  fetch.is_volatile = true;
  fetch.rows_per_partition = 1000;
  fetch.least_bytes = 8 << 20;
  fetch.bind = BindFetch;
  ASSERT_TRUE(RegisterStep(std::move(fetch)).ok());
  StepSpec resize;
  resize.name = "test_resize";
  resize.summary = "Resizes.";
  resize.least_bytes = 16 << 20;
  resize.bind = BindResize;
  ASSERT_TRUE(RegisterStep(std::move(resize)).ok());
  StepSpec digest;
  digest.name = "test_digest";
  digest.summary = "Digests.";
  digest.bind = BindDigest;
  ASSERT_TRUE(RegisterStep(std::move(digest)).ok());
}

TestPipeline& TestPipeline::Add(std::string op, Json args, std::string name,
                                std::vector<std::string> inputs) {
  PipelineStep step;
  step.name = name.empty() ? op : std::move(name);
  step.op = std::move(op);
  step.args = std::move(args);
  step.inputs = std::move(inputs);
  const StepSpec* spec = FindStep(step.op);
  if (step.inputs.empty() && spec != nullptr && spec->kind != StepKind::kSource) {
    for (const auto& before : pipeline.steps) {
      const StepSpec* other = FindStep(before.op);
      if (other != nullptr && other->kind != StepKind::kSink) step.inputs = {before.name};
    }
  }
  pipeline.steps.push_back(std::move(step));
  return *this;
}

TestPipeline& TestPipeline::OnErrors(OnError policy) {
  pipeline.steps.back().on_error = policy;
  return *this;
}

TestPipeline& TestPipeline::At(int line, int column) {
  pipeline.steps.back().line = line;
  pipeline.steps.back().column = column;
  return *this;
}

TestPipeline& TestPipeline::Parquet(std::string name, std::vector<SourceFile> files) {
  SourceSnapshot source;
  source.step = name;
  source.format = "parquet";
  source.schema =
      arrow::schema({arrow::field("url", arrow::utf8()), arrow::field("caption", arrow::utf8()),
                     arrow::field("width", arrow::int64()), arrow::field("height", arrow::int64())});
  source.files = files.empty() ? std::vector<SourceFile>{TestFile("in/a.parquet", 1000, 10, {{10, 1000}})}
                               : std::move(files);
  return Source(std::move(source)).Add("read_parquet", {{"path", "in/" + name}}, name);
}

TestPipeline& TestPipeline::Source(SourceSnapshot source) {
  snapshot.sources.push_back(std::move(source));
  return *this;
}

Plan TestPipeline::MustCompile() const {
  auto plan = Compiled();
  EXPECT_TRUE(plan.ok()) << RenderError(plan.status());
  if (!plan.ok()) return {};
  // What is shipped is what was compiled, and the plan's own checks accept it.
  auto read = Plan::FromJson(plan->ToJson());
  EXPECT_TRUE(read.ok()) << RenderError(read.status()) << PrettyJson(plan->ToJson());
  if (read.ok()) {
    EXPECT_EQ(read->ToJson(), plan->ToJson());
  }
  EXPECT_EQ(Compile(pipeline, snapshot)->Hash(), plan->Hash());
  return *plan;
}

SourceFile TestFile(std::string location, int64_t size_bytes, int64_t num_rows,
                    std::vector<FileInfo::Unit> units) {
  SourceFile file;
  file.entry.location = std::move(location);
  file.entry.size_bytes = size_bytes;
  file.inspected = num_rows >= 0;
  file.num_rows = num_rows;
  file.units = std::move(units);
  return file;
}

std::string Shape(const Plan& plan, int index) {
  const auto& stage = plan.stages.at(index);
  const auto& source = stage.source;
  std::string out = source.kind == PlanSource::Kind::kScan ? "scan " + source.step
                                                           : "exchange " + std::to_string(source.exchange);
  out += Columns(*source.schema);
  for (const auto& node : stage.nodes) {
    out += " | " + std::to_string(node.input) + ":" + node.op + Columns(*node.output);
  }
  for (const auto& output : stage.outputs) {
    out += output.kind == PlanOutput::Kind::kSink ? " > sink " : " > exchange ";
    out += std::to_string(output.target) + "." + std::to_string(output.input_index) + "<" +
           std::to_string(output.node);
    if (output.limit >= 0) out += " limit " + std::to_string(output.limit);
  }
  return out;
}

}  // namespace partita
