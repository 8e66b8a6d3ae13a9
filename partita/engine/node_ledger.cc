#include "partita/engine/node_ledger.h"

#include <algorithm>

namespace partita {

void NodeLedger::Commit(TaskId task, const NodePlace& place, std::vector<Block> blocks) {
  const auto [known, is_new] = place_of_.try_emplace(place.at, static_cast<int>(places_.size()));
  if (is_new) places_.push_back(place);
  left_[task] = {known->second, false, std::move(blocks)};
}

bool NodeLedger::Holds(const NodePath& path) const {
  const auto known = place_of_.find(path.at);
  if (known == place_of_.end()) return false;
  return std::any_of(left_.begin(), left_.end(), [&](const auto& entry) {
    const Left& left = entry.second;
    return left.place == known->second && !left.lost &&
           std::any_of(left.blocks.begin(), left.blocks.end(),
                       [&](const Block& block) { return block.name == path.name; });
  });
}

int64_t NodeLedger::Lose(const std::string& at) {
  const auto known = place_of_.find(at);
  if (known == place_of_.end()) return 0;
  int64_t count = 0;
  for (auto& [task, left] : left_) {
    if (left.place != known->second || left.lost) continue;
    left.lost = true;
    ++count;
  }
  return count;
}

std::vector<TaskId> NodeLedger::lost() const {
  std::vector<TaskId> tasks;
  for (const auto& [task, left] : left_) {
    if (left.lost) tasks.push_back(task);
  }
  return tasks;
}

void NodeLedger::Forget(TaskId task) { left_.erase(task); }

NodeLedger::Found NodeLedger::Find(TaskId task, int output) const {
  const auto found = left_.find(task);
  if (found == left_.end()) return {};
  for (const auto& block : found->second.blocks) {
    if (block.output == output) return {found->second.place, block.name};
  }
  return {};
}

}  // namespace partita
