// What a ProcessPool does, on one thread of its own: starts workers as jobs wait for them, hands out jobs,
// hears answers, ends what nobody needs. Private to this room.
#pragma once

#include <algorithm>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "components/python/fork_server.h"
#include "components/python/process_pool.h"
#include "components/python/worker_demand.h"
#include "components/python/worker_process.h"
#include "partita/base/env.h"
#include "partita/base/json_fwd.h"

namespace partita {

class ProcessLoop : public std::enable_shared_from_this<ProcessLoop> {
 public:
  explicit ProcessLoop(ProcessPoolOptions options);

  void Start();
  void Stop();
  void Submit(WorkerJob job);
  std::vector<InFlight> Slowest(int n) const;
  SegmentPool* segments() const { return segments_.get(); }

 private:
  using Worker = WorkerProcess;
  using Kind = WorkerAnswer::Kind;

  static constexpr double kSecond = 1e9;
  int64_t Now() const { return options_.env->MonotonicNanos(); }
  static double Since(int64_t now, int64_t then) { return static_cast<double>(now - then) / kSecond; }
  int most_workers() const { return std::min(options_.max_workers, fitting_workers_); }

  // ---- What there is to do.

  void Run();
  void Work();
  bool Busy() const;
  void Wait();
  void Leave();

  // ---- Jobs.

  static void Answer(WorkerJob job, WorkerAnswer answer);
  void HandOut(int64_t now);
  void Give(Worker* worker, WorkerJob job, int64_t now);
  // False: the worker is gone.
  bool Hear(Worker* worker);
  void Done(Worker* worker, const Json& words);
  // Its result is larger than the piece it got. It waits a little where there is no room, since what it
  // computed would have to be computed again.
  void Need(Worker* worker, int64_t bytes);

  // ---- Processes (process_loop_workers.cc).

  void StartWorkers();
  // False: what it needs is not free now.
  Result<bool> StartWorker();
  bool NotFree() const;  // false; idle workers of other steps hear of it
  void HearServer();
  // `shares`: it runs no batches, but forks workers that have its function.
  void Ready(Worker* worker, int64_t private_bytes, bool shares);
  // What a worker has turned out to need is claimed, where the step did not say. One for which there is no
  // room is ended while others are there; alone it goes on, and others of the run give back before it is
  // asked again.
  void Follow(Worker* worker, int64_t private_bytes);
  void EndIdle(int64_t now);
  void Kill(Worker* worker, std::string why);
  // The worker's end of the socket is closed: it is dead or as good as dead.
  std::deque<Worker>::iterator Lost(std::deque<Worker>::iterator it);

  // ---- Time (process_loop_watch.cc).

  void Watch(int64_t now);
  // Two visits: the first asks for the stack, the next, a tick later, has it.
  bool HasStack(Worker* worker, RunningJob* head, std::string* stack);
  void TimeOut(Worker* worker, RunningJob* head, int64_t);
  void TellStuck(Worker* worker, RunningJob* head, double seconds, int64_t now);
  void PublishSlow();

  const ProcessPoolOptions options_;
  const std::shared_ptr<SegmentPool> segments_;
  Descriptor bell_;

  mutable std::mutex mutex_;
  std::vector<WorkerJob> submitted_;  // guarded
  std::vector<InFlight> slow_;        // guarded
  bool stopping_ = false;             // guarded

  // The thread's own.
  ForkServer server_;
  Reservation template_claim_;
  std::deque<WorkerJob> queue_;
  std::deque<Worker> workers_;
  std::map<int64_t, std::string> stacks_;
  WorkerDemand demand_;
  int fitting_workers_ = 1 << 20;
  int64_t next_worker_ = 1, next_job_ = 1;
  double batch_seconds_ = 0;
  int64_t last_busy_ns_ = 0;
  Status broken_, refusal_;
  std::thread thread_;
};

}  // namespace partita
