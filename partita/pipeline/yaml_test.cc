#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "partita/base/env.h"
#include "partita/base/json.h"
#include "partita/pipeline/pipeline.h"
#include "partita/pipeline/step_spec.h"

namespace partita {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;
using Set = std::map<std::string, std::string>;

Result<Pipeline> Parse(std::string_view text, const Set& set = {}) {
  return ParsePipelineYaml(text, "pipeline.yaml", set);
}

std::string ErrorOf(std::string_view text, const Set& set = {}) {
  auto pipeline = Parse(text, set);
  if (pipeline.ok()) return "no error";
  EXPECT_EQ(KindOf(pipeline.status()), ErrorKind::kUser) << pipeline.status();
  return pipeline.status().message();
}

// The pipeline with its arguments in normal form: what compile sees.
Json Normal(const Pipeline& pipeline) {
  Json out = pipeline.ToJson();
  for (Json& step : out["steps"]) {
    step["args"] = NormaliseArgs(*FindStep(step["op"].get<std::string>()), step["args"]).ValueOrDie();
    step.erase("line");
    step.erase("column");
  }
  return out;
}

constexpr char kPhotos[] = R"(# A chain, a branch and a union.
pipeline: photos
parameters:
  urls: {type: string, default: urls.parquet}
  least: {type: int, default: 256, description: Least width in pixels.}
  kept: [url, width, height]
options: {memory: 2GiB, threads: 2}
steps:
  - read_parquet: {path: "${urls}", columns: "${kept}"}
  - with_columns: {area: width * height, "is wide": width > height}
    on_error: quarantine
  - filter: width >= ${least}
    name: large
  - write_parquet: {path: out/parquet, compression: snappy}
  - select: [url, {megapixels: area / 1000000}]
  - write_csv: out/csv
  - read_jsonl: [a.jsonl, b.jsonl]
    name: more
  - select: [url]
    name: more_urls
  - select: url
    input: large
    name: large_urls
  - union:
    input: [large_urls, more_urls]
  - limit: 100
  - write_webdataset:
      path: out/shards
      rows_per_shard: 10
      extensions: {url: txt}
)";

TEST(PipelineYaml, ReadsChainsBranchesAndUnions) {
  const Pipeline pipeline = Parse(kPhotos).ValueOrDie();
  EXPECT_EQ(pipeline.name, "photos");
  EXPECT_EQ(pipeline.options["memory"], "2GiB");
  EXPECT_EQ(pipeline.options["threads"], 2);
  std::vector<std::string> graph;
  for (const PipelineStep& step : pipeline.steps) {
    std::string line = step.name;
    for (const std::string& input : step.inputs) line += " <" + input;
    graph.push_back(line);
  }
  EXPECT_THAT(graph, ElementsAre("read_parquet", "with_columns <read_parquet", "large <with_columns",
                                 "write_parquet <large", "select <large", "write_csv <select", "more",
                                 "more_urls <more", "large_urls <large", "union <large_urls <more_urls",
                                 "limit <union", "write_webdataset <limit"));
  EXPECT_EQ(pipeline.steps[0].args,
            ParseJson(R"({"path": "urls.parquet", "columns": ["url", "width", "height"]})").ValueOrDie());
  EXPECT_EQ(pipeline.steps[1].args.dump(),
            R"({"columns":[["area","width * height"],["is wide","width > height"]]})");
  EXPECT_EQ(pipeline.steps[1].on_error, OnError::kQuarantine);
  EXPECT_EQ(pipeline.steps[2].args["predicate"], "width >= 256");
  EXPECT_EQ(pipeline.steps[10].args["n"], 100);
  EXPECT_EQ(pipeline.steps[2].line, 12);
  EXPECT_EQ(pipeline.steps[2].column, 5);
}

TEST(PipelineYaml, RoundTrips) {
  const Pipeline pipeline = Parse(kPhotos).ValueOrDie();
  const std::string text = PipelineToYaml(pipeline);
  auto again = Parse(text);
  ASSERT_TRUE(again.ok()) << again.status() << "\n" << text;
  EXPECT_EQ(Normal(*again), Normal(pipeline)) << text;
  EXPECT_EQ(PipelineToYaml(*again), text);
}

TEST(PipelineYaml, RoundTripsWhatLooksLikeSomethingElse) {
  Pipeline pipeline;
  pipeline.name = "null";
  PipelineStep read{.op = "read_csv"};
  read.args =
      ParseJson(
          R"({"path": ["007", "${x}", "a: b", "#c", "true", "", " d ", "é\n\t\"'", "{e}", "1e3", "- f", "*g"],
                            "column_types": {"1": "int32", "a, b": "string"}, "null_values": ["null", "~", "NA"],
                            "delimiter": "\t", "quote": "'"})")
          .ValueOrDie();
  AddStep(&pipeline, read);
  PipelineStep select{.name = "2", .op = "select", .inputs = {"read_csv"}};
  select.args =
      ParseJson(R"({"columns": ["true", ["null", {"column": "odd \"n\""}], ["columns", "'${y}'"]]})")
          .ValueOrDie();
  AddStep(&pipeline, select);
  AddStep(&pipeline, {.op = "write_csv", .args = {{"path", "~"}, {"has_header", false}}, .inputs = {"2"}});
  const std::string text = PipelineToYaml(pipeline);
  auto again = Parse(text);
  ASSERT_TRUE(again.ok()) << again.status() << "\n" << text;
  EXPECT_EQ(Normal(*again), Normal(pipeline)) << text;
}

TEST(PipelineYaml, PointsAtTheWrongWord) {
  const std::string head = "steps:\n  - range: 5\n";
  EXPECT_EQ(ErrorOf(head + "  - filtre: id > 1\n"),
            "pipeline.yaml:3:5: unknown step 'filtre'; did you mean 'filter'?");
  EXPECT_EQ(ErrorOf(head + "  - write_csv: {pth: out}\n"),
            "pipeline.yaml:3:17: step 'write_csv' has no argument 'pth'; did you mean 'path'?");
  EXPECT_EQ(ErrorOf(head + "  - limit: ten\n"),
            "pipeline.yaml:3:12: step 'limit', argument 'n': expected an integer, not \"ten\"");
  EXPECT_THAT(ErrorOf(head + "  - filter: id >\n"),
              StartsWith("pipeline.yaml:3:13: step 'filter', argument 'predicate': "));
  EXPECT_THAT(ErrorOf(head + "  - with_columns:\n      a: id +\n"),
              StartsWith("pipeline.yaml:4:7: step 'with_columns'"));
  EXPECT_EQ(ErrorOf(head + "  - limit: 5\n    inptu: range\n"),
            "pipeline.yaml:4:5: a step has no key 'inptu'; did you mean 'input'?");
  EXPECT_EQ(ErrorOf(head + "  - limit: 5\n    input: rnge\n"),
            "pipeline.yaml:4:12: step 'limit' takes its rows from 'rnge', but no step above has that name; "
            "did you mean 'range'?");
  EXPECT_EQ(ErrorOf(head + "  - limit: 5\n    on_error: skp\n"),
            "pipeline.yaml:4:15: on_error cannot be 'skp'; did you mean 'skip'?");
  EXPECT_EQ(ErrorOf(head + "  - limit:\n    n: 5\n"),
            "pipeline.yaml:4:5: the argument 'n' stands beside its step 'limit'");
  EXPECT_EQ(ErrorOf(head + "  - write_csv:\n"),
            "pipeline.yaml:3:5: step 'write_csv' needs the argument 'path'");
  EXPECT_EQ(ErrorOf("stepz: []\n"),
            "pipeline.yaml:1:1: a pipeline file has no key 'stepz'; did you mean 'steps'?");
  EXPECT_THAT(ErrorOf("steps: []\nfilter: a\n"),
              HasSubstr("pipeline.yaml:2:1: the step 'filter' stands outside"));
  EXPECT_THAT(ErrorOf("steps:\n  - filter: a\n"), HasSubstr("pipeline.yaml:2:5: step 'filter' has no input"));
  EXPECT_THAT(ErrorOf(head + "  - limit: 5\n    write_csv: out\n"), HasSubstr("4:5: two steps in one item"));
  EXPECT_THAT(ErrorOf(head + "    name: a\n  - limit: 5\n    name: a\n"),
              HasSubstr("5:11: two steps are called 'a'"));
  EXPECT_THAT(ErrorOf(head + "  - union\n"), HasSubstr("3:5: a union needs the names of its inputs"));
  EXPECT_THAT(ErrorOf(head + "  - collect\n"), HasSubstr("unknown step 'collect'"));
}

TEST(PipelineYaml, AJoinNamesItsTwoInputs) {
  const std::string sources = "steps:\n  - range: 5\n    name: a\n  - range: 5\n    name: b\n";
  const std::string text = sources + "  - join: {on: [id], how: left}\n    input: [b, a]\n";
  const Pipeline pipeline = Parse(text).ValueOrDie();
  EXPECT_THAT(pipeline.steps[2].inputs, ElementsAre("b", "a"));
  EXPECT_EQ(Parse(PipelineToYaml(pipeline)).ValueOrDie().steps[2].inputs, pipeline.steps[2].inputs);
  EXPECT_EQ(Parse(PipelineToYaml(pipeline)).ValueOrDie().steps[2].args, pipeline.steps[2].args);
  EXPECT_THAT(ErrorOf(sources + "  - join: id\n"),
              HasSubstr("6:5: a join needs the names of its two inputs"));
  EXPECT_THAT(ErrorOf(sources + "  - join: id\n    input: a\n"), HasSubstr("takes two inputs, it has 1"));
  EXPECT_THAT(ErrorOf(sources + "  - join: id\n    input: [a, b, a]\n"),
              HasSubstr("takes two inputs, it has 3"));
}

TEST(PipelineYaml, RefusesForwardReferencesAndSelf) {
  EXPECT_THAT(ErrorOf("steps:\n  - range: 5\n  - limit: 1\n    input: later\n  - limit: 2\n    input: "
                      "range\n    name: later\n"),
              HasSubstr("4:12: step 'limit' takes its rows from 'later', but no step above"));
  EXPECT_THAT(ErrorOf("steps:\n  - range: 5\n  - limit: 1\n    name: me\n    input: me\n"),
              HasSubstr("no step above"));
}

TEST(PipelineYaml, GivenNamesAreKeptFree) {
  const Pipeline pipeline =
      Parse("steps:\n  - range: 5\n  - limit: 4\n  - limit: 3\n    name: limit\n").ValueOrDie();
  EXPECT_EQ(pipeline.steps[1].name, "limit_2");
  EXPECT_EQ(pipeline.steps[2].name, "limit");
}

TEST(PipelineYaml, ReplacesParameters) {
  const std::string text =
      "parameters:\n  n: {type: int}\n  s: a\n  on: false\n  files: {type: list, default: [x]}\n  r: {type: "
      "float, default: 1}\n"
      "options: {memory: \"${s}\"}\n"
      "steps:\n  - read_csv: {path: \"${files}\", has_header: \"${on}\", rows_per_partition: \"${n}\"}\n"
      "  - filter: x > ${n} and y == '$${s}-${s}' and z > ${r}\n";
  const Pipeline pipeline = Parse(text, {{"n", "7"}, {"files", "a.csv,b.csv"}}).ValueOrDie();
  EXPECT_EQ(pipeline.steps[0].args.dump(),
            R"({"has_header":false,"path":["a.csv","b.csv"],"rows_per_partition":7})");
  EXPECT_EQ(pipeline.steps[1].args["predicate"], "x > 7 and y == '${s}-a' and z > 1.0");
  EXPECT_EQ(pipeline.options["memory"], "a");
  EXPECT_EQ(Parse(text, {{"n", "7"}, {"files", "['a,b', c]"}})->steps[0].args["path"],
            Json::array({"a,b", "c"}));

  EXPECT_THAT(ErrorOf(text), HasSubstr("pipeline.yaml:2:3: the parameter 'n' has no value"));
  EXPECT_THAT(RenderError(Parse(text).status()), HasSubstr("--set n="));
  EXPECT_THAT(ErrorOf(text, {{"n", "seven"}}), HasSubstr("--set n=seven: expected an integer"));
  EXPECT_THAT(ErrorOf(text, {{"n", "7"}, {"fils", "x"}}), HasSubstr("did you mean 'files'?"));
  EXPECT_THAT(ErrorOf("steps: [range: \"${m}\"]"), HasSubstr("unknown parameter 'm'"));
  EXPECT_THAT(ErrorOf("steps: [range: \"${m\"]"), HasSubstr("'${' without '}'"));
  EXPECT_THAT(ErrorOf("parameters: {a: {type: integr}}\nsteps: [range: 1]"),
              HasSubstr("unknown parameter type"));
  EXPECT_THAT(ErrorOf("parameters: {a: {type: int, default: x}}\nsteps: [range: 1]"),
              HasSubstr("expected an integer"));
  EXPECT_THAT(ErrorOf("parameters: {a: {typ: int}}\nsteps: [range: 1]"), HasSubstr("did you mean 'type'?"));
}

TEST(PipelineYaml, TypesFollowTheArgument) {
  const Pipeline pipeline =
      Parse(
          "steps:\n  - read_csv: {path: 007, delimiter: ';', null_values: [NA, 0], has_header: \"true\"}\n"
          "  - with_columns: {five: 5, yes: true, nothing: null}\n  - filter: true\n")
          .ValueOrDie();
  EXPECT_EQ(pipeline.steps[0].args["path"], "007");
  EXPECT_EQ(pipeline.steps[0].args["null_values"], Json::array({"NA", "0"}));
  EXPECT_EQ(pipeline.steps[1].args.dump(), R"({"columns":[["five","5"],["yes","true"],["nothing","null"]]})");
  EXPECT_EQ(pipeline.steps[2].args["predicate"], "true");
  EXPECT_THAT(ErrorOf("steps:\n  - read_csv: {path: a, null_values: [null]}\n"), HasSubstr("2:"));
}

TEST(PipelineYaml, MapsMayStandAlone) {
  const Pipeline pipeline = Parse(
                                "steps:\n  - range: {n: 3, column: id}\n  - rename: {id: a}\n  - cast: {a: "
                                "int32}\n  - select: {b: a + 1}\n"
                                "  - select:\n      columns: {columns: b}\n")
                                .ValueOrDie();
  ASSERT_EQ(pipeline.steps.size(), 5u);
  EXPECT_EQ(pipeline.steps[1].args.dump(), R"({"columns":{"id":"a"}})");
  EXPECT_EQ(pipeline.steps[2].args.dump(), R"({"columns":{"a":"int32"}})");
  EXPECT_EQ(pipeline.steps[4].args.dump(), R"({"columns":[["columns","b"]]})");
  // Where the argument is named, other keys are no columns.
  EXPECT_THAT(ErrorOf("steps:\n  - range: 3\n  - select: {b: id, columns: [id]}\n"),
              HasSubstr("no argument 'b'"));
}

TEST(PipelineYaml, RefusesHostileFiles) {
  EXPECT_THAT(ErrorOf(""), HasSubstr("the file is empty"));
  EXPECT_THAT(ErrorOf("# nothing\n"), HasSubstr("the file is empty"));
  EXPECT_THAT(ErrorOf("5"), HasSubstr("1:1: a pipeline file is a map"));
  EXPECT_THAT(ErrorOf("steps:\n  - range: \"\xFF\"\n"),
              HasSubstr("pipeline.yaml:2:13: the file is no UTF-8 text"));
  EXPECT_THAT(ErrorOf(std::string_view("steps\0:", 7)), HasSubstr("1:6: the file is no UTF-8 text"));
  EXPECT_THAT(ErrorOf("steps: [range: {n: 1, n: 2}]"), HasSubstr("1:23: the key 'n' stands twice"));
  EXPECT_THAT(ErrorOf("steps: [range: 1]\nsteps: [range: 2]"),
              HasSubstr("2:1: the key 'steps' stands twice"));
  EXPECT_THAT(ErrorOf("steps: [range: 1"), HasSubstr("this is no YAML"));
  EXPECT_THAT(ErrorOf("steps: *nothing"), HasSubstr("this is no YAML"));
  EXPECT_THAT(ErrorOf("steps: [range: 1]\n---\nsteps: [range: 1]"), HasSubstr("two documents"));
  EXPECT_THAT(ErrorOf("steps: [range: !!binary aGk=]"), HasSubstr("tag"));
  EXPECT_THAT(ErrorOf("steps: [range: {<<: {n: 1}}]"), HasSubstr("merge keys"));
  EXPECT_THAT(ErrorOf("steps: [range: {[a]: 1}]"), HasSubstr("a key must be text"));
  EXPECT_THAT(ErrorOf(std::string(5 << 20, '#')), HasSubstr("larger than 4 MiB"));
  EXPECT_THAT(ErrorOf("options: " + std::string(100, '[') + std::string(100, ']') + "\nsteps: [range: 1]"),
              HasSubstr("options must be"));
  EXPECT_THAT(
      ErrorOf("options: {a: " + std::string(100, '[') + std::string(100, ']') + "}\nsteps: [range: 1]"),
      HasSubstr("nested deeper"));
  EXPECT_NE(ErrorOf("options: {a: " + std::string(100000, '[') + "}"), "no error");
  EXPECT_THAT(ErrorOf("options: {a: &a [*a]}\nsteps: [range: 1]"), HasSubstr("nested deeper"));
}

TEST(PipelineYaml, AliasesAreBounded) {
  EXPECT_EQ(Parse("parameters: {p: &p [a, b]}\nsteps: [read_csv: {path: *p}]")->steps[0].args["path"],
            Json::array({"a", "b"}));
  std::string text = "options:\n  a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 20; ++i) {
    const std::string previous = "*a" + std::to_string(i - 1);
    text += "  a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + previous;
    for (int k = 0; k < 9; ++k) text += ", " + previous;
    text += "]\n";
  }
  EXPECT_THAT(ErrorOf(text + "steps: [range: 1]"), HasSubstr("stands for more than"));
}

TEST(PipelineJsonSchema, KnowsEveryPublicStep) {
  const Json schema = PipelineJsonSchema();
  for (const StepSpec* spec : AllSteps()) {
    const std::string def = "args_" + spec->name;
    EXPECT_EQ(schema["$defs"].contains(def), !spec->is_internal) << def;
    if (spec->is_internal) continue;
    for (const ArgSpec& arg : spec->args) {
      EXPECT_EQ(schema["$defs"][def]["anyOf"][0]["properties"][arg.name]["description"], arg.doc);
    }
  }
  // Every reference leads somewhere.
  const std::string text = schema.dump();
  for (size_t at = text.find("#/$defs/"); at != std::string::npos; at = text.find("#/$defs/", at + 1)) {
    const size_t begin = at + 8;
    EXPECT_TRUE(schema["$defs"].contains(text.substr(begin, text.find('"', begin) - begin)))
        << text.substr(begin, 30);
  }
}

// Every example of docs/pipeline.md that is a whole file is read.
TEST(PipelineYaml, ReadsTheExamplesOfTheDocumentation) {
  const std::string page = JoinPath(DirName(__FILE__), "../../docs/pipeline.md");
  const std::string text = ReadSmallFile(Env::Default(), page).ValueOrDie();
  const std::string fence = "```yaml\n";
  int examples = 0;
  for (size_t at = text.find(fence); at != std::string::npos; at = text.find(fence, at + 1)) {
    const size_t begin = at + fence.size();
    const std::string example = text.substr(begin, text.find("```", begin) - begin);
    auto pipeline = Parse(example, {});
    EXPECT_TRUE(pipeline.ok()) << pipeline.status() << "\n" << example;
    if (pipeline.ok()) EXPECT_EQ(Normal(*pipeline), Normal(Parse(PipelineToYaml(*pipeline)).ValueOrDie()));
    ++examples;
  }
  EXPECT_GE(examples, 3);
}

}  // namespace
}  // namespace partita
