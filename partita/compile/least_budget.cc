// The least memory in which a task of each stage can make progress: its source, the steps of the longest way
// of a block through the tree, and all its outputs, which are open at once. One task at a time is enough for
// a run to end.
#include <algorithm>
#include <vector>

#include "partita/base/json.h"
#include "partita/base/units.h"
#include "partita/compile/compile.h"
#include "partita/pipeline/step_spec.h"
#include "partita/storage/format.h"

namespace partita {
namespace {

constexpr int64_t kLeastReadBytes = 2 * kMiB;  // of what has no format: ranges, memory, an exchange
constexpr int64_t kLeastWriteBytes = 4 * kMiB;
// A sorted exchange holds rows to sort, resp. one block of each run that it merges, and the blocks that come
// and go.
constexpr int64_t kBlockBytes = 4 * kMiB;
constexpr int64_t kLeastSortBytes = 8 * kMiB + 2 * kBlockBytes;
constexpr int64_t kLeastCollectBytes = 1 * kMiB;
constexpr int64_t kLeastStepBytes = 1 * kMiB;

int64_t LeastOf(const Plan& plan, const PlanSource& source) {
  const bool is_scan = source.kind == PlanSource::Kind::kScan;
  if (!is_scan && plan.exchanges[source.exchange].is_sorted()) {
    return source.right_exchange < 0 ? kLeastSortBytes : 2 * kLeastSortBytes;
  }
  if (source.right_exchange >= 0) return 2 * kLeastReadBytes;
  const Format* format = is_scan ? FindFormat(source.format) : nullptr;
  return format == nullptr ? kLeastReadBytes : format->least_read_bytes();
}

int64_t LeastOf(const PlanNode& node) {
  // A broadcast join holds its table, and what finds a row in it.
  if (node.table >= 0) {
    return kLeastStepBytes + 3 * std::max<int64_t>(0, GetIntOr(node.args, "bytes", 0).ValueOr(0));
  }
  const StepSpec* spec = FindStep(node.op);
  return spec == nullptr ? kLeastStepBytes : spec->least_bytes;
}

int64_t LeastOfWriter(const std::string& format_name) {
  const Format* format = FindFormat(format_name);
  return format == nullptr ? kLeastWriteBytes : format->least_write_bytes();
}

int64_t LeastOf(const Plan& plan, const PlanOutput& output) {
  if (output.kind == PlanOutput::Kind::kExchange) {
    return plan.exchanges[output.target].is_sorted() ? kLeastSortBytes : kLeastWriteBytes;
  }
  const PlanSink& sink = plan.sinks[output.target];
  return sink.format.empty() ? kLeastCollectBytes : LeastOfWriter(sink.format);
}

int64_t LeastOf(const Plan& plan, const PlanStage& stage) {
  std::vector<int64_t> to_node(stage.nodes.size());  // from the source to the node, both included
  const int64_t source = LeastOf(plan, stage.source);
  int64_t widest = source;
  bool quarantines = stage.source.on_error == OnError::kQuarantine;
  for (size_t i = 0; i < stage.nodes.size(); ++i) {
    const auto& node = stage.nodes[i];
    to_node[i] = (node.input < 0 ? source : to_node[node.input]) + LeastOf(node);
    widest = std::max(widest, to_node[i]);
    quarantines |= node.on_error == OnError::kQuarantine;
  }
  int64_t total = widest;
  for (const auto& output : stage.outputs) total += LeastOf(plan, output);
  return total + (quarantines ? LeastOfWriter("parquet") : 0);
}

}  // namespace

int64_t LeastBudgetBytes(const Plan& plan) {
  int64_t least = 0;
  for (const auto& stage : plan.stages) least = std::max(least, LeastOf(plan, stage));
  return least;
}

}  // namespace partita
