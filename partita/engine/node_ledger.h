// The coordinator's knowledge of exchange blocks on nodes: which worker has what a task left, and what was
// lost. O(tasks). Not thread-safe.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "partita/engine/node_path.h"
#include "partita/schedule/scheduler.h"

namespace partita {

class NodeLedger {
 public:
  struct Block {
    int output = 0;    // of the task's stage
    std::string name;  // below the place's root
  };
  // A task is committed whose blocks lie there.
  void Commit(TaskId task, const NodePlace& place, std::vector<Block> blocks);
  // Is there a committed block of this path?
  bool Holds(const NodePath& path) const;
  // A worker is lost with all it has; how many tasks' blocks.
  int64_t Lose(const std::string& at);
  // Committed tasks whose blocks are lost.
  std::vector<TaskId> lost() const;
  void Forget(TaskId task);

  struct Found {
    int place = -1;  // in places(); -1: on the run's own storage
    std::string name;
  };
  Found Find(TaskId task, int output) const;
  const std::vector<NodePlace>& places() const { return places_; }

 private:
  struct Left {
    int place = -1;
    bool lost = false;
    std::vector<Block> blocks;
  };
  std::vector<NodePlace> places_;
  std::map<std::string, int> place_of_;  // by `at`
  std::map<TaskId, Left> left_;
};

}  // namespace partita
