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

  program->quarantines = stage.source.on_error == OnError::kQuarantine;
  for (const auto& plan_node : stage.nodes) {
    NodeProgram node;
    node.plan = &plan_node;
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
      program->async_rows = std::max(program->async_rows, node.async->rows_in_flight());
    }
    node.max_rows = std::max<int64_t>(1, node.max_rows);
    program->quarantines = program->quarantines || plan_node.on_error == OnError::kQuarantine;
    const int index = static_cast<int>(program->nodes_.size());
    program->nodes_.push_back(std::move(node));
    (plan_node.input < 0 ? program->children_
                         : program->nodes_[static_cast<size_t>(plan_node.input)].children)
        .push_back(index);
  }
  for (size_t o = 0; o < stage.outputs.size(); ++o) {
    const auto& output = stage.outputs[o];
    (output.node < 0 ? program->outputs_ : program->nodes_[static_cast<size_t>(output.node)].outputs)
        .push_back(static_cast<int>(o));
    const bool sink = output.kind == PlanOutput::Kind::kSink;
    const auto target = static_cast<size_t>(output.target);
    const std::string step = sink ? init.plan->sinks[target].step : init.plan->exchanges[target].step;
    program->output_pools.push_back(init.pool->NewChild(step));
    program->output_counters.push_back(
        CountersOf(init.observer, step, sink ? init.plan->sinks[target].op : "exchange"));
  }
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

}  // namespace partita
