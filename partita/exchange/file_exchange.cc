#include "partita/exchange/file_exchange.h"

#include <arrow/api.h>

#include <cstdio>

#include "partita/exchange/uncommitted_file.h"
#include "partita/runs/framed_file.h"

namespace partita {
namespace {

class ExchangeSink final : public Sink {
 public:
  ExchangeSink(Env* env, std::string folder, std::string name, const std::string& attempt,
               std::shared_ptr<arrow::Schema> schema)
      : env_(env), file_(env, std::move(folder), std::move(name), attempt), schema_(std::move(schema)) {}
  ~ExchangeSink() override { Abort(); }

  Status Write(const Block& block, const OperatorContext& ctx, int64_t* taken) override {
    if (block.num_rows() == 0) return Status::OK();
    ARROW_RETURN_NOT_OK(Open());
    ARROW_RETURN_NOT_OK(writer_->Write(*block.batch, ctx.pool.get()));
    *taken = block.num_rows();
    return Status::OK();
  }

  Result<std::vector<OutputFile>> Finish(const OperatorContext& ctx) override {
    ARROW_RETURN_NOT_OK(Open());  // an empty share is a file too
    ARROW_RETURN_NOT_OK(writer_->Close());
    const auto writer = std::move(writer_);
    return std::vector<OutputFile>{file_.Finish(writer->rows(), writer->size_bytes())};
  }

  void Abort() override {
    writer_.reset();
    file_.Remove();
  }

 private:
  Status Open() {
    if (writer_) return Status::OK();
    ARROW_ASSIGN_OR_RAISE(const std::string path, file_.Create());
    ARROW_ASSIGN_OR_RAISE(writer_, FramedFileWriter::Open(env_, path, schema_));
    return Status::OK();
  }

  Env* env_;
  UncommittedFile file_;
  std::shared_ptr<arrow::Schema> schema_;
  std::unique_ptr<FramedFileWriter> writer_;
};

class ExchangeSource final : public Source {
 public:
  ExchangeSource(std::vector<ExchangeShare> shares, int64_t first_row, int64_t num_rows)
      : shares_(std::move(shares)), skip_(first_row), left_(num_rows) {}

  Result<std::optional<Block>> Next(const OperatorContext& ctx) override {
    while (left_ > 0) {
      if (!reader_) {
        while (next_ < shares_.size() && shares_[next_].rows <= skip_) skip_ -= shares_[next_++].rows;
        if (next_ == shares_.size()) return std::nullopt;
        ARROW_ASSIGN_OR_RAISE(
            reader_, FramedFileReader::Open(ctx.env, shares_[next_].path, ctx.pool.get(), skip_, left_));
        skip_ = 0;
      }
      ARROW_ASSIGN_OR_RAISE(auto batch, reader_->Next());
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
                                       std::shared_ptr<arrow::Schema> schema) {
  return std::make_unique<ExchangeSink>(env, std::move(folder), std::move(name), std::move(attempt),
                                        std::move(schema));
}

std::unique_ptr<Source> MakeExchangeSource(std::vector<ExchangeShare> shares, int64_t first_row,
                                           int64_t num_rows) {
  return std::make_unique<ExchangeSource>(std::move(shares), first_row, num_rows);
}

}  // namespace partita
