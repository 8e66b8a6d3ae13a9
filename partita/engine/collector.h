// Where a run's rows go when the caller takes them: blocks of each partition, given out in (input, partition)
// order, bounded. A task that starts again skips the rows that were already given out.
//
// Thread-safety: sinks are written by workers, Next is called by one consumer.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <vector>

#include "partita/operator/operator.h"

namespace partita {

class Collector : public std::enable_shared_from_this<Collector> {
 public:
  // `inputs`: of the sink. `limit`: rows in all, -1: all. `buffer_bytes`: what may wait for the consumer.
  Collector(int inputs, int64_t limit, int64_t buffer_bytes);

  // Engine side.
  void SetWake(std::function<void()> wake);  // called when a sink may be ready again
  void SetPartitions(int input, int64_t partitions);
  std::unique_ptr<Sink> MakeSink(int input, int64_t partition);
  void TaskDone(int input, int64_t partition);
  void EndRun(Status status);

  // Consumer side. The next rows in order; nullopt at the end; the run's error.
  Result<std::optional<std::shared_ptr<arrow::RecordBatch>>> Next();
  void Close();  // the consumer wants no more: sinks take and drop what comes
  // Lets a consumer's thread do something else now and then (Python signals): called about every 50 ms while
  // waiting; non-OK ends Next.
  void SetPoll(std::function<Status()> poll) { poll_ = std::move(poll); }

 private:
  friend class CollectorSink;
  struct Part {
    std::deque<std::shared_ptr<arrow::RecordBatch>> queue;
    int64_t queued_bytes = 0;
    int64_t given_rows = 0;    // handed to the consumer
    int64_t attempt_rows = 0;  // offered by the attempt that runs
    bool done = false;
  };
  using Key = std::pair<int, int64_t>;
  Key Head();  // [locked]

  std::mutex mutex_;
  std::condition_variable changed_;
  void CallWake();
  std::mutex wake_mutex_;  // held while waking, so that the engine cannot go away meanwhile
  std::function<void()> wake_;
  std::function<Status()> poll_;
  std::map<Key, Part> parts_;
  std::vector<int64_t> partitions_;  // by input; -1: not known yet
  Key head_{0, 0};
  int64_t limit_left_, buffer_bytes_, buffered_ = 0;
  bool ended_ = false, closed_ = false;
  Status status_;
};

}  // namespace partita
