// A stage made ready to run in this process: one transform instance a node, pools, counters, and the shape of
// the tree. Made once a run, shared by all tasks of the stage. Immutable after Make.
//
// A step that takes batches of a fixed number of rows (AsyncTransform::batch_rows) cuts the tree in segments:
// segment 0 hangs on the source, each other one on such a step. A ticket passes one segment; rows go from one
// to the next in order, through a lane that cuts the batches.
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
  int64_t batch_rows = 0;        // not 0: the root of a segment
  int segment = 0;               // whose tickets pass it
  std::vector<int> children;     // nodes fed by this one, of the same segment
  std::vector<int> lanes;        // fed by this one
};

// Where rows leave a segment, in ticket order.
struct LaneProgram {
  enum class Kind { kOutput, kBatches, kQuarantine } kind = Kind::kOutput;
  int segment = 0;  // whose tickets it takes
  int target = -1;  // kOutput: the output; kBatches: the segment that gets the batches
};

struct SegmentProgram {
  int root = -1;  // the node that takes the batches; -1: the source
  bool quarantines = false;
  std::vector<int> lanes;
  int64_t batches_in_flight = 1;
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
  const std::vector<int>& lanes_of(int point) const {
    return point < 0 ? source_lanes_ : nodes_[size_t(point)].lanes;
  }
  const std::vector<SegmentProgram>& segments() const { return segments_; }
  // The outputs in their order, then batches, then quarantines.
  const std::vector<LaneProgram>& lanes() const { return lanes_; }

  // Pools and counters of the source and of each output's sink.
  std::shared_ptr<BudgetPool> source_pool;
  StepCounters* source_counters = nullptr;
  std::vector<std::shared_ptr<BudgetPool>> output_pools;
  std::vector<StepCounters*> output_counters;
  std::shared_ptr<BudgetPool> quarantine_pool;

  // Of segment 0: rows a ticket should have, so that threads share a partition; and rows wanted in flight in
  // asynchronous steps (0: none).
  int64_t ticket_rows = INT64_MAX;
  int64_t async_rows = 0;
  bool quarantines = false;
  mutable std::atomic<int64_t> async_rows_now{0};  // over all tasks of the stage

 private:
  const Plan* plan_ = nullptr;
  const PlanStage* stage_ = nullptr;
  int index_ = 0;
  std::vector<NodeProgram> nodes_;
  void AddLane(LaneProgram::Kind kind, int segment, int target, std::vector<int>* feeder);
  void AddLanes();

  std::vector<int> children_, source_lanes_;
  std::vector<SegmentProgram> segments_;
  std::vector<LaneProgram> lanes_;
};

}  // namespace partita
