// Rows in memory instead of in a framed file, for exchanges that keep their order. They may move to such a
// file at any time, also under the hands of readers.
//
// Thread-safety: one thread appends, before the rows are shared; then any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "partita/runs/kept_share.h"

namespace arrow {
class RecordBatch;
class Schema;
}  // namespace arrow

namespace partita {

class FramedFileWriter;

class KeptRows final : public KeptShare {
 public:
  explicit KeptRows(std::shared_ptr<arrow::Schema> schema) : schema_(std::move(schema)) {}
  ~KeptRows() override;

  // `bytes`: what it counts.
  void Append(const std::shared_ptr<arrow::RecordBatch>& batch, int64_t bytes);
  int64_t rows() const { return begins_.back(); }
  // By whoever appends: all go to `file`. After a refusal it may be called again.
  Status Drain(FramedFileWriter* file, arrow::MemoryPool* pool);

  int64_t size_bytes() const override;
  Result<int64_t> Spill(Env* env, const std::string& path, arrow::MemoryPool* pool) override;
  int64_t ForgetAll() override;

  struct Found {
    std::shared_ptr<arrow::RecordBatch> batch;  // from the row on; null: they are in a file
    std::string path;
  };
  Result<Found> Find(int64_t row) const;

 private:
  const std::shared_ptr<arrow::Schema> schema_;
  std::vector<int64_t> begins_ = {0};  // of batches, and the end
  mutable std::mutex mutex_;           // for what follows
  std::vector<std::shared_ptr<arrow::RecordBatch>> batches_;
  size_t drained_ = 0;
  int64_t size_bytes_ = 0;
  Env* env_ = nullptr;
  std::string path_;
};

}  // namespace partita
