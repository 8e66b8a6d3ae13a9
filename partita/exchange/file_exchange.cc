#include "partita/exchange/file_exchange.h"

#include <arrow/api.h>
#include <arrow/util/byte_size.h>

#include <algorithm>
#include <cstdio>

#include "partita/exchange/exchange_memory.h"
#include "partita/exchange/uncommitted_file.h"
#include "partita/runs/framed_file.h"
#include "partita/runs/kept_rows.h"

namespace partita {
namespace {

constexpr int64_t kKeptPart = 64;  // of the budget, what one task keeps

class ExchangeSink final : public Sink {
 public:
  ExchangeSink(Env* env, std::string folder, std::string name, const std::string& attempt,
               std::shared_ptr<arrow::Schema> schema, std::shared_ptr<ExchangeMemory> memory)
      : env_(env),
        path_(JoinPath(folder, name)),
        file_(env, std::move(folder), std::move(name), attempt),
        schema_(std::move(schema)),
        memory_(std::move(memory)),
        started_ns_(env->MonotonicNanos()) {
    if (memory_) kept_ = std::make_shared<KeptRows>(schema_);
  }
  ~ExchangeSink() override { Abort(); }

  Status Write(const Block& block, const OperatorContext& ctx, int64_t* taken) override {
    if (block.num_rows() == 0) return Status::OK();
    if (Keeps(block.batch)) {
      *taken = block.num_rows();
      return Status::OK();
    }
    ARROW_RETURN_NOT_OK(WriteOut(ctx));
    ARROW_RETURN_NOT_OK(writer_->Write(*block.batch, ctx.pool.get()));
    *taken = block.num_rows();
    return Status::OK();
  }

  Result<std::vector<OutputFile>> Finish(const OperatorContext& ctx) override {
    if (kept_ && !writer_ && memory_->MayLose(env_->MonotonicNanos() - started_ns_)) {
      memory_->Put(path_, std::move(kept_));
      return std::vector<OutputFile>{};
    }
    ARROW_RETURN_NOT_OK(WriteOut(ctx));  // an empty share is a file too
    ARROW_RETURN_NOT_OK(writer_->Close());
    if (memory_) memory_->Put(path_, nullptr);
    const auto writer = std::move(writer_);
    return std::vector<OutputFile>{file_.Finish(writer->rows(), writer->size_bytes())};
  }

  void Abort() override {
    if (kept_) memory_->Release(kept_->size_bytes());
    kept_.reset();
    writer_.reset();
    file_.Remove();
  }

 private:
  // Few rows stay: nobody can take them from a task that is not done.
  bool Keeps(const std::shared_ptr<arrow::RecordBatch>& batch) {
    if (!kept_ || writer_) return false;
    const int64_t bytes = std::max<int64_t>(1, arrow::util::TotalBufferSize(*batch));
    if (kept_->size_bytes() + bytes > memory_->pool()->budget()->limit_bytes() / kKeptPart) return false;
    if (!memory_->Claim(bytes)) return false;
    kept_->Append(batch, bytes);
    return true;
  }

  // The rows go to the file, from now on.
  Status WriteOut(const OperatorContext& ctx) {
    if (!writer_) {
      ARROW_ASSIGN_OR_RAISE(const std::string path, file_.Create());
      ARROW_ASSIGN_OR_RAISE(writer_, FramedFileWriter::Open(env_, path, schema_));
    }
    if (!kept_) return Status::OK();
    ARROW_RETURN_NOT_OK(kept_->Drain(writer_.get(), ctx.pool.get()));
    memory_->Release(kept_->size_bytes());
    kept_.reset();
    return Status::OK();
  }

  Env* env_;
  const std::string path_;
  UncommittedFile file_;
  std::shared_ptr<arrow::Schema> schema_;
  std::shared_ptr<ExchangeMemory> memory_;
  const int64_t started_ns_;
  std::shared_ptr<KeptRows> kept_;
  std::unique_ptr<FramedFileWriter> writer_;
};

class ExchangeSource final : public Source {
 public:
  ExchangeSource(std::vector<ExchangeShare> shares, int64_t first_row, int64_t num_rows)
      : shares_(std::move(shares)), skip_(first_row), left_(num_rows) {}

  Result<std::optional<Block>> Next(const OperatorContext& ctx) override {
    while (left_ > 0) {
      std::shared_ptr<arrow::RecordBatch> batch;
      if (!reader_) {
        while (next_ < shares_.size() && shares_[next_].rows <= skip_) skip_ -= shares_[next_++].rows;
        if (next_ == shares_.size()) return std::nullopt;
        ARROW_ASSIGN_OR_RAISE(batch, Open(ctx));
      }
      if (!batch) {
        ARROW_ASSIGN_OR_RAISE(batch, reader_->Next());
      }
      if (!batch) {
        reader_.reset();
        ++next_;
        continue;
      }
      Block block;
      block.ordinals = RowOrdinals::Range(done_, batch->num_rows());
      done_ += batch->num_rows();
      left_ -= batch->num_rows();
      block.batch = std::move(batch);
      return block;
    }
    return std::nullopt;
  }

 private:
  // Rows of the share from `skip_` on; null: `reader_` gives them.
  Result<std::shared_ptr<arrow::RecordBatch>> Open(const OperatorContext& ctx) {
    const auto& share = shares_[next_];
    std::string path = share.path;
    if (share.kept) {
      ARROW_ASSIGN_OR_RAISE(auto found, share.kept->Find(skip_));
      if (found.batch) {
        const int64_t rows = std::min(found.batch->num_rows(), left_);
        skip_ += rows;  // the share is passed when all of its rows are
        return found.batch->Slice(0, rows);
      }
      path = std::move(found.path);
    }
    ARROW_ASSIGN_OR_RAISE(reader_, FramedFileReader::Open(ctx.env, path, ctx.pool.get(), skip_, left_));
    skip_ = 0;
    return nullptr;
  }

  std::vector<ExchangeShare> shares_;
  int64_t skip_, left_, done_ = 0;
  size_t next_ = 0;
  std::unique_ptr<FramedFileReader> reader_;
};

}  // namespace

std::string ExchangeFileName(int input_index, int64_t partition) {
  char name[64];
  std::snprintf(name, sizeof name, "in-%03d-%06lld.pxf", input_index, static_cast<long long>(partition));
  return name;
}

std::unique_ptr<Sink> MakeExchangeSink(Env* env, std::string folder, std::string name, std::string attempt,
                                       std::shared_ptr<arrow::Schema> schema,
                                       std::shared_ptr<ExchangeMemory> memory) {
  return std::make_unique<ExchangeSink>(env, std::move(folder), std::move(name), std::move(attempt),
                                        std::move(schema), std::move(memory));
}

std::unique_ptr<Source> MakeExchangeSource(std::vector<ExchangeShare> shares, int64_t first_row,
                                           int64_t num_rows) {
  return std::make_unique<ExchangeSource>(std::move(shares), first_row, num_rows);
}

}  // namespace partita
