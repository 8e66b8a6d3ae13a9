#include "partita/engine/under_way.h"

#include <algorithm>
#include <utility>

#include "partita/base/json.h"

namespace partita {
namespace {

template <typename Visit>
void ForEachStep(const Plan& plan, const TaskEnd& end, Visit visit) {
  const auto& stage = plan.stages[static_cast<size_t>(end.stage)];
  for (size_t i = 0; i < end.steps.size() && i <= stage.nodes.size(); ++i) {
    const auto& step = i == 0 ? stage.source.step : stage.nodes[i - 1].step;
    if (!step.empty()) visit(step, StepRows{end.steps[i].rows_in, end.steps[i].rows_out});
  }
  for (const auto& output : end.outputs) {
    if (output.output < 0 || output.output >= static_cast<int>(stage.outputs.size()))
      continue;  // a quarantine
    const auto& target = stage.outputs[static_cast<size_t>(output.output)];
    if (target.kind != PlanOutput::Kind::kSink) continue;
    visit(plan.sinks[static_cast<size_t>(target.target)].step, StepRows{output.rows, output.rows});
  }
}

}  // namespace

RowsUnderWay::RowsUnderWay(const Plan* plan, const Observer* counted) : plan_(plan), counted_(counted) {
  for (const auto& stage : plan->stages) {
    if (stage.source.kind == PlanSource::Kind::kScan) steps_.insert(stage.source.step);
    for (const auto& node : stage.nodes) steps_.insert(node.step);
  }
  for (const auto& sink : plan->sinks) steps_.insert(sink.step);
}

void RowsUnderWay::Ended(const TaskEnd& end) {
  ForEachStep(*plan_, end, [&](const std::string& step, const StepRows& rows) {
    auto& ended = ended_[step];
    ended.rows_in += rows.rows_in;
    ended.rows_out += rows.rows_out;
  });
}

std::string RowsUnderWay::ToText() const {
  Json told = Json::array();
  for (const auto& counters : counted_->steps()) {
    if (!steps_.contains(counters.step)) continue;
    const auto found = ended_.find(counters.step);
    const StepRows ended = found == ended_.end() ? StepRows{} : found->second;
    const int64_t in = std::max<int64_t>(0, counters.rows_in.load() - ended.rows_in);
    const int64_t out = std::max<int64_t>(0, counters.rows_out.load() - ended.rows_out);
    if (in > 0 || out > 0) told.push_back(Json::array({counters.step, in, out}));
  }
  return CanonicalJson(told);
}

Status RowsShown::Show(std::string_view texts) {
  ARROW_ASSIGN_OR_RAISE(const Json workers, ParseJson(texts));
  RowsBySteps rows;
  try {  // the accessors throw where a text has another layout
    for (const auto& steps : workers) {
      for (const auto& step : steps) {
        auto& sum = rows[step.at(0).get<std::string>()];
        sum.rows_in += std::clamp<int64_t>(step.at(1).get<int64_t>(), 0, int64_t{1} << 50);
        sum.rows_out += std::clamp<int64_t>(step.at(2).get<int64_t>(), 0, int64_t{1} << 50);
      }
    }
  } catch (const std::exception& error) {
    return BugError(std::string("what workers are at cannot be read: ") + error.what());
  }
  Set(std::move(rows));
  return Status::OK();
}

void RowsShown::Ended(const TaskEnd& end) {
  if (shown_.empty()) return;
  RowsBySteps left = shown_;
  ForEachStep(*plan_, end, [&](const std::string& step, const StepRows& rows) {
    const auto found = left.find(step);
    if (found == left.end()) return;
    found->second.rows_in = std::max<int64_t>(0, found->second.rows_in - rows.rows_in);
    found->second.rows_out = std::max<int64_t>(0, found->second.rows_out - rows.rows_out);
  });
  Set(std::move(left));
}

void RowsShown::Set(RowsBySteps rows) {
  for (const auto& known : observer_->steps()) {
    const auto before = shown_.find(known.step), now = rows.find(known.step);
    auto& counters = const_cast<StepCounters&>(known);
    if (now != rows.end()) {
      counters.rows_in += now->second.rows_in;
      counters.rows_out += now->second.rows_out;
    }
    if (before != shown_.end()) {
      counters.rows_in -= before->second.rows_in;
      counters.rows_out -= before->second.rows_out;
    }
  }
  shown_ = std::move(rows);
}

}  // namespace partita
