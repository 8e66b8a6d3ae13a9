// One task's share of a sorted exchange while its sink makes it: runs that are kept in memory as long as they
// may be, and in a run file from then on. What stayed in memory to its end is handed to ExchangeMemory.
//
// Thread-safety: one thread writes; WriteOut also from others.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "partita/exchange/exchange_memory.h"
#include "partita/exchange/uncommitted_file.h"

namespace partita {

struct OperatorContext;

struct RunShareInit {
  Env* env = nullptr;
  std::string folder, name, attempt;  // writes `folder`/<name>.tmp-<attempt>
  std::shared_ptr<arrow::Schema> schema;
  int64_t cached_bytes = INT64_MAX;                  // of the file (WriteOptions)
  int64_t most_kept_bytes = INT64_MAX;               // a larger share is a file
  std::shared_ptr<ExchangeMemory> memory = nullptr;  // null: always a file
};

class RunShare {
 public:
  static std::shared_ptr<RunShare> Make(RunShareInit init);
  explicit RunShare(RunShareInit init);
  ~RunShare() { Abort(); }

  // As RunFileWriter; `batch` owns its memory alone where it is to be kept. After OutOfMemory it may be
  // called again.
  Status Append(std::shared_ptr<arrow::RecordBatch> batch, KeyPoint first, arrow::MemoryPool* pool);
  // A whole run: write(count) appends a frame of the next `count` of `total` rows, of which `*written` are
  // written. At most `per_frame` at once; fewer where memory is refused, once all that is kept has gone to the
  // file. May be called again after OutOfMemory.
  Status WriteRun(size_t total, size_t per_frame, size_t* written, const OperatorContext& ctx,
                  const std::function<Status(size_t count)>& write);
  void EndRun();
  int64_t run() const;
  int64_t rank() const;
  bool in_memory() const;
  // Puts it in its file; the bytes that this frees. Nothing happens where it is there.
  Result<int64_t> WriteOut(arrow::MemoryPool* pool);
  // The file to commit; none where it is kept.
  Result<std::vector<OutputFile>> Finish(std::vector<SampledRow> sample, arrow::MemoryPool* pool);
  // Instead of Finish, of what the commits of several tasks have left: nothing is to be committed. It is for
  // readers of this process, in memory or in a file that goes with the last of them. May be called again
  // after OutOfMemory.
  Status Keep(arrow::MemoryPool* pool);
  // So many bytes more may be kept.
  void Widen(int64_t bytes);
  int64_t kept_bytes() const;
  void Abort();

 private:
  Status Open();                                            // [locked]
  Result<int64_t> WriteOutLocked(arrow::MemoryPool* pool);  // [locked]
  Status Torn(Status status);                               // [locked]

  const RunShareInit init_;
  const int64_t started_ns_;
  mutable std::mutex mutex_;
  int64_t most_kept_bytes_;
  UncommittedFile file_;
  std::unique_ptr<RunFileWriter> writer_;
  std::shared_ptr<KeptRuns> kept_;
  bool is_closed_ = false;  // the file
  Status torn_;             // what was written may end anywhere
};

}  // namespace partita
