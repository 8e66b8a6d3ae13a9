// What a worker tells of a task that ended, as bytes that travel: its end (files that nobody sees yet, or the
// error), and what was counted on the way. O(files of the task); no rows.
#pragma once

#include <array>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "partita/base/error.h"
#include "partita/engine/node_path.h"
#include "partita/execute/task.h"
#include "partita/observe/observe.h"

namespace partita {

// A status with all that its detail knows.
Json StatusToJson(const Status& status);
Status StatusFromJson(const Json& json, Status* out);

// What a process counted since it last told. Rows are not in it: they count when their task is committed.
struct CountedSince {
  struct Step {
    std::string step;
    int64_t bytes_out = 0, busy_ns = 0;
    std::array<int64_t, kWaitReasons> wait_ns{};
    std::vector<std::pair<std::string, int64_t>> details;
  };
  std::vector<Step> steps;  // those with news
  int64_t source_bytes_read = 0;
  int64_t memory_peak = 0, memory_limit = 0;  // as they stand, of the process
  std::vector<Event> events;                  // notices and stalls
  void AddTo(Observer* observer) const;
};

// Makes CountedSince of one Observer, time after time. Not thread-safe.
class CountedReader {
 public:
  explicit CountedReader(const Observer* observer) : observer_(observer) {}
  CountedSince Next();

 private:
  const Observer* observer_;
  std::vector<CountedSince::Step> told_;
  int64_t told_read_ = 0;
  size_t events_ = 0;
};

// A staged file that travels with the report of its task: of an output, the file at this place.
struct CarriedFile {
  int output = 0;
  size_t file = 0;
  std::string taken;  // storage/staged_file.h
};

struct TaskReport {
  TaskEnd end;  // never preempted: the worker tried again itself
  CountedSince counted;
  NodePlace place;                   // of the worker's blocks, where its end names some
  std::vector<CarriedFile> carried;  // where the coordinator does not see what was staged: Committer::PutDown

  std::string ToText() const;
  // Everything is checked that does not need the plan; see Committer::Check for the rest.
  static Result<TaskReport> FromText(std::string_view text);
};

}  // namespace partita
