// One worker process as the pool knows it: values, and the words of its messages. Private to this room.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <set>
#include <string>

#include "components/python/gpu_leases.h"
#include "components/python/process_pool.h"
#include "components/python/resource_leases.h"
#include "partita/base/json.h"
#include "partita/base/process.h"

namespace partita {

struct RunningJob {
  WorkerJob job;
  int64_t id = 0;
  SegmentPool::Lease output;
  int64_t started_ns = 0;  // when it became the worker's next
  bool answered = false;   // nobody waits for it any more
  int64_t abandoned_ns = 0;
  int64_t told_ns = 0;  // when it was last told to be stuck
  bool asked_stack = false;
};

struct WorkerProcess {
  enum class State { kForking, kStarting, kReady, kLeaving, kTemplate } state = State::kForking;
  int64_t id = 0;
  bool may_share = false;  // others wait for what it says of itself
  int pid = -1;
  Descriptor socket;
  std::unique_ptr<SharedMemory> stack;  // where the worker writes its Python stack when asked
  std::deque<RunningJob> jobs;          // the first one runs
  std::set<int64_t> known_segments;
  size_t dropped_cursor = 0;
  int64_t needs_bytes = 0;  // not 0: it waits with a result for a piece of so many bytes
  int64_t needs_since_ns = 0;
  Reservation claim;                         // its own memory
  std::shared_ptr<GpuLease> gpus;            // null: none
  std::shared_ptr<ResourceLease> resources;  // null: none
  std::vector<Reservation> kept;             // shared pieces that its function still holds
  int64_t asked_ns = 0;                      // when it was asked for
  int64_t idle_since_ns = 0;
  bool ended_by_us = false;
  std::string why_ended;  // when we ended it
};

// Words of people for a process's end: "exit code 3", "SIGSEGV (segmentation fault)".
std::string EndText(int code);
// What a faulthandler dump says, without addresses and without frames of the worker itself; "" where it is
// empty.
std::string StackText(std::string_view dump, std::string_view own_folder);

// {"op": "run", ...} with the pieces named; `fds` gets the descriptors of those the worker does not know yet.
Json RunMessage(const RunningJob& job, WorkerProcess* worker, const SegmentPool& segments,
                std::vector<int>* fds);
// {"seg": id, "size": bytes, "new": whether a descriptor comes with it}
Json SegmentWords(const Segment& segment, WorkerProcess* worker, std::vector<int>* fds);

}  // namespace partita
