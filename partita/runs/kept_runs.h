// The runs of one task in memory instead of in a run file: what was gathered to be written is what readers
// take, without a copy, a checksum or a system call. They may move to a run file at any time, also under the
// hands of readers.
//
// Thread-safety: one thread appends, before the runs are shared; from Close on, any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "partita/memory/budget.h"
#include "partita/runs/kept_share.h"
#include "partita/runs/run_file.h"

namespace partita {

class KeptRuns final : public KeptShare {
 public:
  explicit KeptRuns(std::shared_ptr<arrow::Schema> schema);
  ~KeptRuns() override;
  // Of a closed run file with this index, which goes with the runs. Close is still to come.
  static Result<std::shared_ptr<KeptRuns>> InFile(Env* env, const std::string& path, const RunIndex& index,
                                                  int64_t cached_bytes);

  // As RunFileWriter. `batch` owns its memory alone: a slice would keep what it was cut from.
  void Append(std::shared_ptr<arrow::RecordBatch> batch, KeyPoint first);
  void EndRun();
  // `memory`: what the index claims (RunIndex::size_bytes).
  void Close(std::vector<SampledRow> sample, Reservation memory);
  int64_t run() const { return static_cast<int64_t>(index_.runs.size()) - (in_run_ ? 1 : 0); }
  int64_t rank() const;
  // A frame's offset is its number, its length the bytes that it holds.
  const RunIndex& index() const { return index_; }
  // What a frame counts.
  static int64_t BytesOf(const arrow::RecordBatch& batch);
  // Of frames that are in memory.
  int64_t size_bytes() const override;

  // By whoever appends: all frames go to `file`, run by run, and each leaves memory once it is written; the
  // last run is left open where it is open here. After a refusal it may be called again.
  Status Drain(RunFileWriter* file, arrow::MemoryPool* pool);
  // After Close.
  Result<int64_t> Spill(Env* env, const std::string& path, arrow::MemoryPool* pool) override;
  int64_t ForgetAll() override;
  // Frames [begin, end) of a run, which nobody reads again. Returns their bytes.
  int64_t Forget(size_t run, size_t begin, size_t end);

  struct Found {
    std::shared_ptr<arrow::RecordBatch> batch;  // null: it is in the file
    std::shared_ptr<const RunFileReader> file;
    RunFrame place;
  };
  Result<Found> Find(const RunFrame& frame) const;

 private:
  // Where frames by their number stand in it; those that were forgotten have no rows.
  Result<std::vector<RunFrame>> WriteFile(Env* env, const std::string& path, arrow::MemoryPool* pool) const;

  RunIndex index_;
  bool in_run_ = false;
  Reservation index_memory_;
  mutable std::mutex mutex_;  // for what follows
  std::vector<std::shared_ptr<arrow::RecordBatch>> frames_;
  size_t drained_ = 0;
  int64_t size_bytes_ = 0;
  Env* env_ = nullptr;
  std::string path_;
  std::shared_ptr<const RunFileReader> file_;
  std::vector<RunFrame> places_;  // in file_, by number
};

}  // namespace partita
