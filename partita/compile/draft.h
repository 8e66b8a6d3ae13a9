// A plan in the making: stage trees with expressions still as expressions, so that passes can push them.
// Internal to the room.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "partita/compile/bind.h"
#include "partita/compile/graph.h"
#include "partita/expression/expression.h"
#include "partita/pipeline/join.h"
#include "partita/pipeline/projection.h"
#include "partita/plan/plan.h"

namespace partita::compile {

struct DraftNode {
  enum class Kind { kFilter, kProject, kProbe, kComponent } kind = Kind::kComponent;
  int input = -1;    // node of the stage; -1: its source
  int flow = 0;      // which of the flows of the step this is: a union in front of it gives several
  std::string step;  // the user's name
  OnError on_error = OnError::kFail;
  Expression predicate;                  // kFilter
  Projection columns;                    // kProject
  Join join;                             // kProbe
  JoinKeys keys;                         // kProbe
  std::optional<Asof> asof;              // kProbe: of an as-of join
  int table = -1;                        // kProbe: the exchange of the right side
  int64_t table_bytes = -1;              // kProbe: at most, where it is known
  const GraphStep* component = nullptr;  // kComponent
  StepBinding binding;                   // kComponent
  std::shared_ptr<arrow::Schema> output;
};

struct DraftStage {
  PlanSource source;
  std::vector<DraftNode> nodes;
  std::vector<PlanOutput> outputs;

  const std::shared_ptr<arrow::Schema>& OutputOf(int node) const {
    return node < 0 ? source.schema : nodes[node].output;
  }
};

struct Draft {
  std::vector<DraftStage> stages;
  std::vector<PlanSink> sinks;
  std::vector<PlanExchange> exchanges;
  // Of exchanges that probes look rows up in: all columns, and those that some probe needs.
  struct Table {
    std::shared_ptr<arrow::Schema> columns;
    std::set<std::string> needed;
  };
  std::map<int, Table> tables;

  // The columns an output must deliver.
  std::shared_ptr<arrow::Schema>& SchemaOf(const PlanOutput& output) {
    return output.kind == PlanOutput::Kind::kSink ? sinks[output.target].schema
                                                  : exchanges[output.target].schema;
  }
  const std::string& StepOf(const PlanOutput& output) const {
    return output.kind == PlanOutput::Kind::kSink ? sinks[output.target].step : exchanges[output.target].step;
  }
};

}  // namespace partita::compile
