#include "partita/execute/stage_program.h"

#include <algorithm>

#include "partita/pipeline/step_spec.h"

namespace partita {
namespace {

StepCounters* CountersOf(Observer* observer, const std::string& step, const std::string& op) {
  for (const auto& counters : observer->steps()) {
    if (counters.step == step) return const_cast<StepCounters*>(&counters);
  }
  return observer->AddStep(step, op);
}

}  // namespace

Result<std::shared_ptr<StageProgram>> StageProgram::Make(const Init& init) {
  auto program = std::make_shared<StageProgram>();
  program->plan_ = init.plan;
  program->index_ = init.stage;
  const PlanStage& stage = init.plan->stages[static_cast<size_t>(init.stage)];
  program->stage_ = &stage;

  const bool scan = stage.source.kind == PlanSource::Kind::kScan;
  const std::string source_step =
      scan ? stage.source.step : init.plan->exchanges[static_cast<size_t>(stage.source.exchange)].step;
  program->source_counters = CountersOf(init.observer, source_step, scan ? stage.source.op : "exchange");
  program->source_pool = init.pool->NewChild(source_step);

  const bool to_caller =
      std::any_of(stage.outputs.begin(), stage.outputs.end(), [&](const PlanOutput& output) {
        return output.kind == PlanOutput::Kind::kSink &&
               init.plan->sinks[static_cast<size_t>(output.target)].format.empty();
      });
  program->segments_.emplace_back();
  program->segments_[0].quarantines = stage.source.on_error == OnError::kQuarantine;
  for (const auto& plan_node : stage.nodes) {
    NodeProgram node;
    node.plan = &plan_node;
    if (plan_node.input >= 0) node.segment = program->nodes_[static_cast<size_t>(plan_node.input)].segment;
    node.pool = init.pool->NewChild(plan_node.step);
    node.counters = CountersOf(init.observer, plan_node.step, plan_node.op);
    TransformInit transform;
    transform.args = &plan_node.args;
    transform.input =
        plan_node.input < 0 ? stage.source.schema : stage.nodes[static_cast<size_t>(plan_node.input)].output;
    transform.output = plan_node.output;
    transform.env = init.env;
    transform.threads = init.threads;
    if (plan_node.table >= 0) {
      if (!init.table_of) return BugError("a join without its table");
      ARROW_ASSIGN_OR_RAISE(transform.table, init.table_of(plan_node));
    }
    transform.step = plan_node.step;
    transform.keeps_going = plan_node.on_error != OnError::kFail;
    transform.to_caller = to_caller;
    transform.pool = node.pool;
    transform.observer = init.observer;
    const auto* factory = FindTransform(plan_node.op);
    if (factory == nullptr) {
      return WithContext(UserError("this build has no step '" + plan_node.op + "'"),
                         {.step = plan_node.step});
    }
    if (factory->make) {
      auto made = factory->make(transform);
      if (!made.ok()) return WithContext(made.status(), {.step = plan_node.step});
      node.transform = std::move(*made);
      node.max_rows = node.transform->max_rows_per_call();
    } else {
      auto made = factory->make_async(transform);
      if (!made.ok()) return WithContext(made.status(), {.step = plan_node.step});
      node.async = std::move(*made);
      node.max_rows = node.async->max_rows_per_call();
      node.batch_rows = node.async->batch_rows();
    }
    node.max_rows = std::max<int64_t>(1, node.max_rows);
    const int index = static_cast<int>(program->nodes_.size());
    if (node.batch_rows > 0) {
      node.max_rows = INT64_MAX;
      node.segment = static_cast<int>(program->segments_.size());
      SegmentProgram segment;
      segment.root = index;
      segment.batches_in_flight = std::max<int64_t>(1, node.async->batches_in_flight());
      program->segments_.push_back(std::move(segment));
    } else {
      (plan_node.input < 0 ? program->children_
                           : program->nodes_[static_cast<size_t>(plan_node.input)].children)
          .push_back(index);
      if (node.async && node.segment == 0)
        program->async_rows = std::max(program->async_rows, node.async->rows_in_flight());
    }
    auto& segment = program->segments_[static_cast<size_t>(node.segment)];
    segment.quarantines = segment.quarantines || plan_node.on_error == OnError::kQuarantine;
    program->nodes_.push_back(std::move(node));
  }
  for (size_t o = 0; o < stage.outputs.size(); ++o) {
    const auto& output = stage.outputs[o];
    const bool sink = output.kind == PlanOutput::Kind::kSink;
    const auto target = static_cast<size_t>(output.target);
    const std::string step = sink ? init.plan->sinks[target].step : init.plan->exchanges[target].step;
    program->output_pools.push_back(init.pool->NewChild(step));
    program->output_counters.push_back(
        CountersOf(init.observer, step, sink ? init.plan->sinks[target].op : "exchange"));
  }
  program->AddLanes();
  if (program->quarantines) program->quarantine_pool = init.pool->NewChild("quarantine");
  // The rows of a ticket: what the first steps wish, up to and including the first that waits.
  std::vector<int> frontier = program->children_;
  while (!frontier.empty()) {
    const int n = frontier.back();
    frontier.pop_back();
    const auto& node = program->nodes_[static_cast<size_t>(n)];
    program->ticket_rows = std::min(program->ticket_rows, node.max_rows);
    if (!node.async) frontier.insert(frontier.end(), node.children.begin(), node.children.end());
  }
  return program;
}

void StageProgram::AddLane(LaneProgram::Kind kind, int segment, int target, std::vector<int>* feeder) {
  const int lane = static_cast<int>(lanes_.size());
  lanes_.push_back({kind, segment, target});
  segments_[static_cast<size_t>(segment)].lanes.push_back(lane);
  if (feeder != nullptr) feeder->push_back(lane);
}

void StageProgram::AddLanes() {
  const auto feeder = [&](int node) {
    return node < 0 ? &source_lanes_ : &nodes_[static_cast<size_t>(node)].lanes;
  };
  const auto segment_of = [&](int node) { return node < 0 ? 0 : nodes_[static_cast<size_t>(node)].segment; };
  for (size_t o = 0; o < stage_->outputs.size(); ++o) {
    const int node = stage_->outputs[o].node;
    AddLane(LaneProgram::Kind::kOutput, segment_of(node), static_cast<int>(o), feeder(node));
  }
  for (size_t s = 1; s < segments_.size(); ++s) {
    const int input = nodes_[static_cast<size_t>(segments_[s].root)].plan->input;
    AddLane(LaneProgram::Kind::kBatches, segment_of(input), static_cast<int>(s), feeder(input));
  }
  for (size_t s = 0; s < segments_.size(); ++s) {
    if (!segments_[s].quarantines) continue;
    quarantines = true;
    AddLane(LaneProgram::Kind::kQuarantine, static_cast<int>(s), -1, nullptr);
  }
}

}  // namespace partita
