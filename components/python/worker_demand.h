// When a pool starts one more worker: from how many batches wait, and for how long. Pure: times are given.
// Private to this room.
#pragma once

#include <cstdint>

namespace partita {

class WorkerDemand {
 public:
  // A worker took so long from when it was asked for until it was ready.
  void Started(double seconds) { start_seconds_ = seconds; }

  // `unserved`: batches that wait now beyond those that idle workers and workers that start will take.
  // Returns how many more workers are worth their start: as many as batches have waited on average in about
  // the time that a start takes. A moment's queue is none; without a ready worker nothing says how long
  // batches would wait, and the queue alone decides.
  int Wanted(int64_t now_ns, int unserved, bool any_ready);

  // After how long without a batch a worker is one too many: what was dear to start stays longer.
  double idle_seconds() const;

 private:
  double start_seconds_ = 0;
  double average_ = 0;  // of `unserved` over time
  int unserved_ = 0;    // since `last_ns_`
  int64_t last_ns_ = 0;
};

}  // namespace partita
