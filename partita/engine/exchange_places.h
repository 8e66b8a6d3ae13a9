// Where rows lie between stages, chosen exchange by exchange: by a rule, or as the user says for a run or for
// a step. It follows from plan, snapshot and options alone, so that driver and workers agree without a word.
// Never a matter of the plan: the bytes of outputs are the same wherever rows lie between.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "partita/base/error.h"

namespace partita {

struct Plan;
struct Snapshot;

// kMemory: of the local engine, as long as it fits and costs little to make again; on a cluster it is kDisk.
// kDisk: written to the run's own storage. kNodes: on a cluster on the disks of the nodes that made the rows,
// made again where they are lost; in one process it is kMemory. kAuto: PlaceExchanges chooses.
enum class ExchangePlace { kAuto, kMemory, kDisk, kNodes };
std::string_view ExchangePlaceName(ExchangePlace place);

struct ExchangeChoice {
  ExchangePlace all = ExchangePlace::kAuto;
  std::map<std::string, ExchangePlace> steps;  // of the exchanges that a step asked for

  // "auto", "nodes,sort=disk", "sort=nodes"; or a JSON object, where "*" is all: {"*": "nodes"}.
  static Result<ExchangeChoice> Parse(std::string_view text);
  std::string Text() const;
  ExchangePlace Of(const std::string& step) const;
  // A user error where a step is named that the plan does not have.
  Status Check(const Plan& plan) const;
};

struct PlacedExchange {
  bool in_memory = true;  // may stay in the memory of the local engine
  bool on_nodes = false;  // of a cluster; else they go through the run's storage
  std::string why;        // … which of both
};
std::vector<PlacedExchange> PlaceExchanges(const Plan& plan, const Snapshot& snapshot,
                                           const ExchangeChoice& choice);  // by exchange
// For people: a line for each exchange, "" where there is none.
std::string DescribePlaces(const Plan& plan, const std::vector<PlacedExchange>& placed);

// What the tasks of each stage may do with the rows they leave for exchanges. Of a stage that writes several
// all go the same way: a task that is done again leaves all its shares anew. Empty: all go to the storage.
struct StagePlaces {
  std::vector<bool> in_memory, on_nodes;  // by stage
  bool InMemory(int stage) const { return At(in_memory, stage); }
  bool OnNodes(int stage) const { return At(on_nodes, stage); }
  bool AnyInMemory() const { return Any(in_memory); }
  bool AnyOnNodes() const { return Any(on_nodes); }

 private:
  static bool At(const std::vector<bool>& stages, int stage) {
    return static_cast<size_t>(stage) < stages.size() && stages[static_cast<size_t>(stage)];
  }
  static bool Any(const std::vector<bool>& stages) {
    for (const bool one : stages) {
      if (one) return true;
    }
    return false;
  }
};
StagePlaces PlaceStages(const Plan& plan, const std::vector<PlacedExchange>& placed);

}  // namespace partita
