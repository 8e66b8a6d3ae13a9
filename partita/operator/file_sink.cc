#include "partita/operator/file_sink.h"

#include <arrow/api.h>
#include <arrow/compute/api_vector.h>
#include <arrow/compute/cast.h>
#include <arrow/compute/exec.h>
#include <arrow/io/interfaces.h>

#include <algorithm>
#include <cctype>
#include <cstdio>
#include <map>

#include "partita/base/json.h"
#include "partita/block/logical_bytes.h"
#include "partita/block/schema.h"
#include "partita/expression/expression.h"
#include "partita/storage/format.h"
#include "partita/storage/staged_file.h"

namespace partita {
namespace {

// Percent-encodes what must not stand in a folder name, as Hive and Arrow do.
std::string EncodeHiveValue(std::string_view value) {
  std::string out;
  for (unsigned char c : value) {
    const bool plain =
        std::isalnum(c) || c == '-' || c == '_' || c == '.' || c == '~' || c == ' ' || c >= 0x80;
    if (plain && !(out.empty() && c == '.')) {
      out.push_back(static_cast<char>(c));
    } else {
      char hex[4];
      std::snprintf(hex, sizeof hex, "%%%02X", c);
      out += hex;
    }
  }
  return out;
}

// Files of one folder: one open writer, cut by rows and logical bytes.
class FileSeries {
 public:
  FileSeries(const FileSinkInit* init, const Format* format, std::shared_ptr<arrow::Schema> schema,
             std::string folder, int number, int64_t max_rows, int64_t max_bytes)
      : init_(init),
        format_(format),
        schema_(std::move(schema)),
        folder_(std::move(folder)),
        number_(number),
        cutter_(max_rows, max_bytes) {}

  Status Write(const std::shared_ptr<arrow::RecordBatch>& batch, const OperatorContext& ctx, int64_t* taken) {
    ARROW_RETURN_NOT_OK(CloseIfDue());
    const LogicalCutter before = cutter_;
    ARROW_ASSIGN_OR_RAISE(auto cuts, cutter_.Next(*batch));
    for (size_t i = 0; i < cuts.lengths.size(); ++i) {
      const int64_t length = cuts.lengths[i];
      Status status = length > 0 ? WritePiece(batch->Slice(*taken, length), ctx) : Status::OK();
      if (status.ok()) {
        *taken += length;
        close_due_ = i + 1 < cuts.lengths.size() || cuts.ends_with_cut;
        status = CloseIfDue();
      }
      if (!status.ok()) {
        // Bring the cutter to the rows that were taken, so that the caller may go on with the rest.
        cutter_ = before;
        if (*taken > 0) ARROW_RETURN_NOT_OK(cutter_.Next(*batch->Slice(0, *taken)).status());
        return status;
      }
    }
    return Status::OK();
  }

  Status Finish() { return CloseFile(); }

  void Abort() {
    writer_.reset();
    if (stream_) (void)stream_->Abort();
    stream_.reset();
    for (const auto& file : files_) (void)DiscardStaged(init_->env, file.temporary);
    if (!open_temporary_.empty()) (void)DiscardStaged(init_->env, open_temporary_);
    files_.clear();
    open_temporary_.clear();
  }

  std::vector<OutputFile> TakeFiles() { return std::move(files_); }

 private:
  Status WritePiece(const std::shared_ptr<arrow::RecordBatch>& batch, const OperatorContext& ctx) {
    if (!writer_) ARROW_RETURN_NOT_OK(OpenFile(ctx));
    ARROW_RETURN_NOT_OK(writer_->Write(batch));
    rows_ += batch->num_rows();
    return Status::OK();
  }

  Status OpenFile(const OperatorContext& ctx) {
    char name[64];
    std::snprintf(name, sizeof name, "part-%05lld-%03d", static_cast<long long>(init_->partition),
                  static_cast<int>(closed_));
    file_name_ = std::string(name) + std::string(format_->extension());
    const std::string temporary =
        JoinPath(init_->temporary_dir, init_->attempt + "-" + std::to_string(number_) + "-" + file_name_);
    ARROW_ASSIGN_OR_RAISE(auto staged,
                          StageFile(init_->env, temporary, JoinPath(init_->location, PathOf(file_name_)),
                                    ctx.pool.get(), ctx.cancel));
    stream_ = std::move(staged.stream);
    open_temporary_ = std::move(staged.path);
    WriteRequest request;
    request.schema = schema_;
    request.args = &init_->sink->args;
    request.pool = ctx.pool;
    request.cancel = ctx.cancel;
    request.env = init_->env;
    request.spill_dir = init_->spill_dir;
    request.partition = init_->partition;
    request.first_row_key = rows_before_;
    auto opened = format_->OpenWriter(stream_, std::move(request));
    if (!opened.ok()) {
      (void)stream_->Abort();
      stream_.reset();
      (void)DiscardStaged(init_->env, std::exchange(open_temporary_, ""));
      return opened.status();
    }
    writer_ = std::move(*opened);
    return Status::OK();
  }

  std::string PathOf(const std::string& name) const { return folder_.empty() ? name : folder_ + "/" + name; }

  Status CloseIfDue() {
    if (!close_due_) return Status::OK();
    ARROW_RETURN_NOT_OK(CloseFile());
    close_due_ = false;
    return Status::OK();
  }

  Status CloseFile() {
    if (!writer_) return Status::OK();
    ARROW_RETURN_NOT_OK(writer_->Finish());
    ARROW_ASSIGN_OR_RAISE(int64_t size, stream_->Tell());
    ARROW_RETURN_NOT_OK(stream_->Close());
    writer_.reset();
    stream_.reset();
    OutputFile file;
    file.path = PathOf(file_name_);
    file.temporary = std::move(open_temporary_);
    file.rows = rows_;
    file.size_bytes = size;
    files_.push_back(std::move(file));
    open_temporary_.clear();
    rows_before_ += rows_;
    rows_ = 0;
    ++closed_;
    return Status::OK();
  }

  const FileSinkInit* init_;
  const Format* format_;
  std::shared_ptr<arrow::Schema> schema_;
  std::string folder_;
  int number_;
  LogicalCutter cutter_;
  bool close_due_ = false;  // a cut was reached; closing the file may have been refused
  std::shared_ptr<arrow::io::OutputStream> stream_;
  std::unique_ptr<FileWriter> writer_;
  std::string file_name_, open_temporary_;
  std::vector<OutputFile> files_;
  int64_t rows_ = 0, rows_before_ = 0, closed_ = 0;
};

class FileSink final : public Sink {
 public:
  explicit FileSink(FileSinkInit init) : init_(std::move(init)) {}
  ~FileSink() override { Abort(); }

  Status Init() {
    format_ = FindFormat(init_.sink->format);
    if (format_ == nullptr) return BugError("unknown format '" + init_.sink->format + "'");
    const Json& args = init_.sink->args;
    ARROW_ASSIGN_OR_RAISE(max_rows_, GetIntOr(args, "rows_per_file", 0));
    ARROW_ASSIGN_OR_RAISE(const int64_t shard_rows, GetIntOr(args, "rows_per_shard", 0));
    if (max_rows_ == 0) max_rows_ = shard_rows;
    ARROW_ASSIGN_OR_RAISE(max_bytes_, GetIntOr(args, "max_file_bytes", 0));
    if (max_rows_ <= 0) max_rows_ = INT64_MAX;
    if (max_bytes_ <= 0) max_bytes_ = INT64_MAX;
    ARROW_ASSIGN_OR_RAISE(auto keys, GetStringsOr(args, "partition_by", {}));
    arrow::FieldVector fields;
    for (const auto& key : keys) {
      ARROW_ASSIGN_OR_RAISE(int index, FindColumn(*init_.sink->schema, key));
      keys_.push_back(index);
    }
    for (int i = 0; i < init_.sink->schema->num_fields(); ++i) {
      if (std::find(keys_.begin(), keys_.end(), i) == keys_.end()) {
        fields.push_back(init_.sink->schema->field(i));
        values_.push_back(i);
      }
    }
    file_schema_ = arrow::schema(std::move(fields));
    return Status::OK();
  }

  Status Write(const Block& block, const OperatorContext& ctx, int64_t* taken) override {
    if (!keys_.empty()) return WritePartitioned(block, ctx, taken);
    if (block.num_rows() == 0) return Status::OK();
    return SeriesOf("")->Write(block.batch, ctx, taken);
  }

  Result<std::vector<OutputFile>> Finish(const OperatorContext& ctx) override {
    ARROW_RETURN_NOT_OK(DrainPending(ctx));
    for (auto& [folder, series] : series_) ARROW_RETURN_NOT_OK(series->Finish());
    std::vector<OutputFile> files;
    for (auto& [folder, series] : series_) {
      for (auto& file : series->TakeFiles()) files.push_back(std::move(file));
    }
    series_.clear();
    return files;
  }

  void Abort() override {
    for (auto& [folder, series] : series_) series->Abort();
    series_.clear();
    pending_.clear();
  }

 private:
  FileSeries* SeriesOf(const std::string& folder) {
    auto it = series_.find(folder);
    if (it == series_.end()) {
      auto series = std::make_unique<FileSeries>(&init_, format_, file_schema_, folder,
                                                 static_cast<int>(series_.size()), max_rows_, max_bytes_);
      it = series_.emplace(folder, std::move(series)).first;
    }
    return it->second.get();
  }

  // Takes the whole block (split by folder), then writes; what a refusal leaves is written by the next call.
  Status WritePartitioned(const Block& block, const OperatorContext& ctx, int64_t* taken) {
    ARROW_RETURN_NOT_OK(DrainPending(ctx));
    if (block.num_rows() == 0) return Status::OK();
    ARROW_ASSIGN_OR_RAISE(auto split, SplitByFolder(*block.batch, ctx));
    pending_ = std::move(split);
    *taken = block.num_rows();
    return DrainPending(ctx);
  }

  struct Piece {
    std::string folder;
    std::shared_ptr<arrow::RecordBatch> batch;
  };

  Result<std::vector<Piece>> SplitByFolder(const arrow::RecordBatch& batch, const OperatorContext& ctx) {
    std::vector<std::shared_ptr<arrow::Array>> text;
    for (int key : keys_) {
      ARROW_RETURN_NOT_OK(EnsureComputeKernels());
      arrow::compute::ExecContext exec(ctx.pool.get());
      exec.set_use_threads(false);
      auto cast =
          arrow::compute::Cast(*batch.column(key), arrow::utf8(), arrow::compute::CastOptions::Safe(), &exec);
      if (cast.status().IsOutOfMemory()) return cast.status();
      if (!cast.ok()) {
        return UserError("column '" + batch.schema()->field(key)->name() + "' of type " +
                             batch.schema()->field(key)->type()->ToString() + " cannot name folders",
                         "partition by a string, number, boolean or date column");
      }
      text.push_back(std::move(*cast));
    }
    std::map<std::string, std::vector<int64_t>> rows;  // by folder; sorted, so the order is fixed
    for (int64_t i = 0; i < batch.num_rows(); ++i) {
      std::string folder;
      for (size_t k = 0; k < keys_.size(); ++k) {
        const auto& column = static_cast<const arrow::StringArray&>(*text[k]);
        if (k > 0) folder += '/';
        folder += EncodeHiveValue(batch.schema()->field(keys_[k])->name()) + "=" +
                  (column.IsNull(i) ? "__HIVE_DEFAULT_PARTITION__" : EncodeHiveValue(column.GetView(i)));
      }
      rows[std::move(folder)].push_back(i);
    }
    std::vector<Piece> pieces;
    ARROW_ASSIGN_OR_RAISE(auto values, batch.SelectColumns(values_));
    for (const auto& [folder, indices] : rows) {
      const int64_t count = static_cast<int64_t>(indices.size());
      if (indices.back() - indices.front() + 1 == count) {  // contiguous: no copy
        pieces.push_back({folder, values->Slice(indices.front(), count)});
        continue;
      }
      ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> buffer,
                            arrow::AllocateBuffer(count * 8, ctx.pool.get()));
      std::copy(indices.begin(), indices.end(), reinterpret_cast<int64_t*>(buffer->mutable_data()));
      arrow::compute::ExecContext exec(ctx.pool.get());
      exec.set_use_threads(false);
      ARROW_ASSIGN_OR_RAISE(
          auto taken,
          arrow::compute::Take(values, arrow::Datum(std::make_shared<arrow::Int64Array>(count, buffer)),
                               arrow::compute::TakeOptions::NoBoundsCheck(), &exec));
      pieces.push_back({folder, taken.record_batch()});
    }
    return pieces;
  }

  Status DrainPending(const OperatorContext& ctx) {
    while (!pending_.empty()) {
      Piece& piece = pending_.front();
      while (piece.batch->num_rows() > 0) {
        int64_t taken = 0;
        // Try all, then halves down to one row, so that a refusal here is a real one.
        int64_t rows = piece.batch->num_rows();
        Status status = SeriesOf(piece.folder)->Write(piece.batch, ctx, &taken);
        while (status.IsOutOfMemory() && taken == 0 && rows > 1) {
          rows /= 2;
          status = SeriesOf(piece.folder)->Write(piece.batch->Slice(0, rows), ctx, &taken);
        }
        if (taken > 0) piece.batch = piece.batch->Slice(taken);
        if (!status.ok() && !(status.IsOutOfMemory() && taken > 0)) return status;
      }
      pending_.erase(pending_.begin());
    }
    return Status::OK();
  }

  FileSinkInit init_;
  const Format* format_ = nullptr;
  std::vector<int> keys_, values_;
  std::shared_ptr<arrow::Schema> file_schema_;
  int64_t max_rows_ = INT64_MAX, max_bytes_ = INT64_MAX;
  std::map<std::string, std::unique_ptr<FileSeries>> series_;
  std::vector<Piece> pending_;
};

}  // namespace

Result<std::unique_ptr<Sink>> MakeFileSink(FileSinkInit init) {
  auto sink = std::make_unique<FileSink>(std::move(init));
  ARROW_RETURN_NOT_OK(sink->Init());
  return std::unique_ptr<Sink>(std::move(sink));
}

}  // namespace partita
