// A stage made ready to run in this process: one transform instance a node, pools, counters, and the shape of
// the tree. Made once a run, shared by all tasks of the stage. Immutable after Make.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "partita/operator/operator.h"
#include "partita/plan/plan.h"

namespace partita {

struct NodeProgram {
  const PlanNode* plan = nullptr;
  std::unique_ptr<Transform> transform;  // exactly one of the two
  std::unique_ptr<AsyncTransform> async;
  std::shared_ptr<BudgetPool> pool;
  StepCounters* counters = nullptr;
  int64_t max_rows = INT64_MAX;  // of one call
  std::vector<int> children;     // nodes fed by this one
  std::vector<int> outputs;      // lanes fed by this one
};

class StageProgram {
 public:
  struct Init {
    const Plan* plan = nullptr;  // outlives the program
    int stage = 0;
    Env* env = nullptr;
    std::shared_ptr<BudgetPool> pool;  // "run"; steps get children of it
    Observer* observer = nullptr;      // steps are found or added by name
    int threads = 1;
    // The right side of broadcast joins, by exchange; shared by the stages that use it.
    std::function<Result<std::shared_ptr<JoinTable>>(const PlanNode&)> table_of;
  };
  static Result<std::shared_ptr<StageProgram>> Make(const Init& init);

  const PlanStage& stage() const { return *stage_; }
  const Plan& plan() const { return *plan_; }
  int index() const { return index_; }
  const std::vector<NodeProgram>& nodes() const { return nodes_; }
  const std::vector<int>& children_of(int point) const {
    return point < 0 ? children_ : nodes_[size_t(point)].children;
  }
  const std::vector<int>& outputs_of(int point) const {
    return point < 0 ? outputs_ : nodes_[size_t(point)].outputs;
  }

  // Pools and counters of the source and of each output's sink.
  std::shared_ptr<BudgetPool> source_pool;
  StepCounters* source_counters = nullptr;
  std::vector<std::shared_ptr<BudgetPool>> output_pools;
  std::vector<StepCounters*> output_counters;
  std::shared_ptr<BudgetPool> quarantine_pool;

  // Rows a ticket should have, so that threads share a partition; and rows wanted in flight in asynchronous
  // steps (0: none).
  int64_t ticket_rows = INT64_MAX;
  int64_t async_rows = 0;
  bool quarantines = false;
  mutable std::atomic<int64_t> async_rows_now{0};  // over all tasks of the stage

 private:
  const Plan* plan_ = nullptr;
  const PlanStage* stage_ = nullptr;
  int index_ = 0;
  std::vector<NodeProgram> nodes_;
  std::vector<int> children_, outputs_;
};

}  // namespace partita
