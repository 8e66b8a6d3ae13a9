#include "partita/compile/sources.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "partita/compile/compile.h"

namespace partita::compile {
namespace {

// Steps below `step` that work on the same partitions, i.e. up to the next exchange.
std::vector<int> SamePartitions(const Graph& graph, int step) {
  std::vector<bool> seen(graph.steps.size(), false);
  seen[step] = true;
  std::vector<int> found;
  for (size_t i = step + 1; i < graph.steps.size(); ++i) {
    const auto& candidate = graph.steps[i];
    const bool below =
        std::any_of(candidate.inputs.begin(), candidate.inputs.end(), [&](int input) { return seen[input]; });
    if (!below || candidate.spec->name == kLimitOp || candidate.spec->is_exchange ||
        candidate.spec->name == kSampleOp || candidate.spec->name == kLocalShuffleOp) {
      continue;
    }
    seen[i] = true;
    found.push_back(static_cast<int>(i));
  }
  return found;
}

// Written by the user, not a default.
bool IsDeclared(const GraphStep& step, const char* arg) {
  const Json& args = step.declared->args;
  return args.is_object() && args.contains(arg) && !args[arg].is_null();
}

// The default of rows_per_shard is no reason for large partitions; what the user asked for is.
Result<int64_t> DeclaredFileRows(const GraphStep& sink) {
  for (const char* key : {"rows_per_shard", "rows_per_file"}) {
    if (IsDeclared(sink, key)) return GetIntOr(sink.args, key, 0);
  }
  return 0;
}

Result<int64_t> WishedRows(const Graph& graph, int step) {
  int64_t wish = 0, file_rows = 0;
  for (int i : SamePartitions(graph, step)) {
    const auto& below = graph.steps[i];
    if (below.spec->rows_per_partition > 0) {
      wish = wish == 0 ? below.spec->rows_per_partition : std::min(wish, below.spec->rows_per_partition);
    }
    if (!below.is(StepKind::kSink)) continue;
    ARROW_ASSIGN_OR_RAISE(bool exact, GetBoolOr(below.args, "exact", false));
    if (exact) continue;
    ARROW_ASSIGN_OR_RAISE(int64_t rows, DeclaredFileRows(below));
    file_rows = std::max(file_rows, rows);
  }
  return wish == 0 ? 0 : std::max(wish, file_rows);
}

}  // namespace

std::string SourceFormatOf(const std::string& op) {
  if (op == "from_memory") return "memory";
  if (op.rfind("read_", 0) == 0) return op.substr(5);
  return op;
}

bool HasFiles(const std::string& format) { return format != "range" && format != "memory"; }

bool KnowsRows(const std::string& format) { return format == "parquet"; }

Status ResolvePartitionRule(const Graph& graph, int step, Json* args) {
  const GraphStep& source = graph.steps[step];
  ARROW_ASSIGN_OR_RAISE(int64_t rows, GetIntOr(*args, "rows_per_partition", 0));
  ARROW_ASSIGN_OR_RAISE(int64_t bytes, GetIntOr(*args, "partition_bytes", kDefaultPartitionBytes));
  if (rows < 0 || bytes <= 0) return UserError("rows_per_partition and partition_bytes must be positive");
  if (!IsDeclared(source, "rows_per_partition")) {
    ARROW_ASSIGN_OR_RAISE(int64_t wish, WishedRows(graph, step));
    if (wish > 0) rows = wish;
  }
  if (rows > 0) (*args)["rows_per_partition"] = rows;
  if (HasFiles(SourceFormatOf(source.spec->name))) (*args)["partition_bytes"] = bytes;
  return Status::OK();
}

int64_t SplitBytes(const std::string& format, const Json& args) {
  const int64_t bytes = args.value("partition_bytes", kDefaultPartitionBytes);
  const auto rows_arg = args.find("rows_per_partition");
  const int64_t rows = rows_arg == args.end() || rows_arg->is_null() ? 0 : rows_arg->get<int64_t>();
  if (rows <= 0) return bytes;
  if (KnowsRows(format)) return 0;
  if (rows >= bytes / kAssumedRowBytes) return bytes;
  return std::min(bytes, std::max(kLeastPartitionBytes, rows * kAssumedRowBytes));
}

}  // namespace partita::compile

namespace partita {

Result<std::vector<SourceRequest>> SourcesOf(const Pipeline& pipeline) {
  ARROW_ASSIGN_OR_RAISE(auto graph, compile::MakeGraph(pipeline));
  std::vector<SourceRequest> requests;
  for (size_t i = 0; i < graph.steps.size(); ++i) {
    const auto& step = graph.steps[i];
    if (!step.is(StepKind::kSource)) continue;
    SourceRequest request;
    request.step = step.declared->name;
    request.op = step.spec->name;
    request.format = compile::SourceFormatOf(request.op);
    request.args = step.args;
    auto status = compile::ResolvePartitionRule(graph, static_cast<int>(i), &request.args);
    if (!status.ok()) return compile::AtStep(status, *step.declared);
    if (compile::HasFiles(request.format)) {
      ARROW_ASSIGN_OR_RAISE(request.locations, GetStringsOr(request.args, "path", {}));
      // Only metadata with row counts is worth opening a large file for: other formats are cut by bytes or
      // not at all.
      request.split_bytes = compile::KnowsRows(request.format)
                                ? compile::SplitBytes(request.format, request.args)
                                : std::numeric_limits<int64_t>::max();
    }
    requests.push_back(std::move(request));
  }
  return requests;
}

}  // namespace partita
