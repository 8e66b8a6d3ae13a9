// In which order the partitions of a stage begin where neighbours had better follow each other: a task is
// followed by the one behind it as long as that is free, and whoever begins elsewhere begins in the middle of
// the largest part that nobody has begun, so that both go on for long. A value; each call costs O(log gaps).
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <utility>

namespace partita {

class Stretches {
 public:
  // Partitions [begin, end) are to be done, and nobody comes to them from before.
  void Add(int64_t begin, int64_t end);
  // `partition` is done: the one behind it is next, if nobody has begun it.
  void Follow(int64_t partition) { followers_.push_back(partition + 1); }
  // The next to begin; -1: all are begun.
  int64_t Next();

 private:
  struct Gap {
    int64_t end = 0;
    bool led = false;  // somebody is before it, and comes to it
  };
  using Gaps = std::map<int64_t, Gap>;  // by where they begin
  void Put(int64_t begin, Gap gap);
  void Take(Gaps::iterator gap, int64_t partition);

  Gaps gaps_;
  std::set<std::pair<int64_t, int64_t>> by_size_;  // (-partitions, begin)
  std::deque<int64_t> followers_;
};

}  // namespace partita
