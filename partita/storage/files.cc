// Files as rows: path, bytes, size and modification time. A fragment is a file, a file is a row.
#include <arrow/array.h>
#include <arrow/buffer.h>
#include <arrow/builder.h>
#include <arrow/io/interfaces.h>
#include <arrow/record_batch.h>
#include <arrow/scalar.h>
#include <arrow/type.h>

#include <cstring>
#include <limits>

#include "partita/base/units.h"
#include "partita/block/schema.h"
#include "partita/memory/budget.h"
#include "partita/storage/formats.h"

namespace partita {
namespace {

std::shared_ptr<arrow::Schema> FilesSchema() {
  return arrow::schema({arrow::field("path", arrow::utf8()), arrow::field("bytes", arrow::binary()),
                        arrow::field("size", arrow::int64()),
                        arrow::field("modified", arrow::timestamp(arrow::TimeUnit::MICRO, "UTC"))});
}

template <typename Offset>
Result<std::shared_ptr<arrow::Array>> OneValue(const std::shared_ptr<arrow::DataType>& type,
                                               std::shared_ptr<arrow::Buffer> value,
                                               arrow::MemoryPool* pool) {
  ARROW_ASSIGN_OR_RAISE(auto offsets, arrow::AllocateBuffer(2 * sizeof(Offset), pool));
  const Offset pair[2] = {0, static_cast<Offset>(value->size())};
  std::memcpy(offsets->mutable_data(), pair, sizeof(pair));
  return arrow::MakeArray(
      arrow::ArrayData::Make(type, 1, {nullptr, std::move(offsets), std::move(value)}, 0));
}

class FilesReader final : public FragmentReader {
 public:
  explicit FilesReader(ReadRequest request) : request_(std::move(request)) {}

  Result<std::optional<ReadBatch>> Next() override {
    if (done_ || request_.max_rows <= 0) return std::nullopt;
    auto batch = ReadRow();
    if (batch.status().IsOutOfMemory()) return batch.status();  // may be tried again
    done_ = true;
    const FileEntry& file = request_.fragment.file;
    if (!batch.ok()) return WithContext(batch.status(), {.file = file.location, .row = 0});
    return ReadBatch{.batch = std::move(*batch), .first_row = 0};
  }
  int64_t bytes_read() const override { return bytes_read_; }

 private:
  Result<std::shared_ptr<arrow::RecordBatch>> ReadRow() {
    ARROW_RETURN_NOT_OK(request_.cancel.Check());
    arrow::ArrayVector columns;
    for (const auto& field : request_.schema->fields()) {
      ARROW_ASSIGN_OR_RAISE(auto column, Column(*field));
      columns.push_back(std::move(column));
    }
    return arrow::RecordBatch::Make(request_.schema, 1, std::move(columns));
  }

  Result<std::shared_ptr<arrow::Array>> Column(const arrow::Field& field) {
    const FileEntry& file = request_.fragment.file;
    arrow::MemoryPool* pool = request_.pool.get();
    if (field.name() == "bytes") return Bytes(field.type());
    std::shared_ptr<arrow::Scalar> scalar;
    if (field.name() == "path") {
      scalar = std::make_shared<arrow::StringScalar>(file.location);
    } else if (field.name() == "size") {
      int64_t size_bytes = file.size_bytes;
      if (size_bytes < 0) {  // a server that did not tell
        ARROW_RETURN_NOT_OK(Open());
        ARROW_ASSIGN_OR_RAISE(size_bytes, file_->GetSize());
      }
      scalar = std::make_shared<arrow::Int64Scalar>(size_bytes);
    } else if (field.name() == "modified") {
      if (file.mtime_ns == 0) return arrow::MakeArrayOfNull(field.type(), 1, pool);
      const int64_t micros = file.mtime_ns / 1000 - (file.mtime_ns % 1000 < 0);
      scalar = std::make_shared<arrow::TimestampScalar>(micros, FilesSchema()->field(3)->type());
    } else {
      return UserError("read_files has the columns path, bytes, size and modified, and no '" + field.name() +
                       "'");
    }
    if (!scalar->type->Equals(field.type()))
      return BugError("the column " + field.name() + " has another type");
    return arrow::MakeArrayFromScalar(*scalar, 1, pool);
  }

  Status Open() {
    if (file_ != nullptr) return Status::OK();
    ARROW_ASSIGN_OR_RAISE(
        file_, OpenFile(request_.env, request_.fragment.file, request_.pool.get(), request_.cancel));
    return Status::OK();
  }

  Result<std::shared_ptr<arrow::Array>> Bytes(const std::shared_ptr<arrow::DataType>& type) {
    ARROW_RETURN_NOT_OK(Open());
    arrow::MemoryPool* pool = request_.pool.get();
    ARROW_ASSIGN_OR_RAISE(const int64_t size, file_->GetSize());
    if (type->id() == arrow::Type::BINARY && size > std::numeric_limits<int32_t>::max()) {
      return DataError("the file has " + FormatBytes(size) + ", a binary value holds at most 2 GiB",
                       "read large files in another way, or leave out the column 'bytes'");
    }
    auto buffer = arrow::AllocateBuffer(size, pool);
    if (!buffer.ok()) {
      return WithContext(OutOfMemoryError("the file's " + FormatBytes(size) + " do not fit in memory",
                                          "give the run more memory, or leave out the column 'bytes'"),
                         {.file = request_.fragment.file.location, .row = 0});
    }
    for (int64_t at = 0; at < size;) {
      ARROW_RETURN_NOT_OK(request_.cancel.Check());
      const int64_t ask = std::min<int64_t>(size - at, 8 << 20);
      ARROW_ASSIGN_OR_RAISE(const int64_t got, file_->ReadAt(at, ask, (*buffer)->mutable_data() + at));
      if (got == 0) return EnvironmentError("the file became shorter while it was read", "", false);
      at += got;
      bytes_read_ += got;
    }
    std::shared_ptr<arrow::Buffer> value = std::move(*buffer);
    if (type->id() == arrow::Type::LARGE_BINARY) return OneValue<int64_t>(type, std::move(value), pool);
    if (type->id() == arrow::Type::BINARY) return OneValue<int32_t>(type, std::move(value), pool);
    return UserError("the column 'bytes' is binary and cannot be read as " + TypeToString(*type));
  }

  ReadRequest request_;
  std::shared_ptr<arrow::io::RandomAccessFile> file_;
  int64_t bytes_read_ = 0;
  bool done_ = false;
};

class Files final : public Format {
 public:
  std::string_view name() const override { return "files"; }
  std::string_view extension() const override { return ""; }
  std::vector<std::string> extensions() const override { return {}; }

  Result<FileInfo> Inspect(Env*, const FileEntry&, const Json&, arrow::MemoryPool*) const override {
    FileInfo info;
    info.schema = FilesSchema();
    info.num_rows = 1;
    return info;
  }
  Result<std::vector<Fragment>> Split(const FileEntry& file, const FileInfo*, const Json&,
                                      int64_t) const override {
    Fragment fragment;
    fragment.file = file;
    return std::vector<Fragment>{std::move(fragment)};
  }
  Result<std::unique_ptr<FragmentReader>> OpenReader(ReadRequest request) const override {
    if (request.fragment.range != Fragment::Range::kWhole) return BugError("a file as a row cannot be split");
    return std::make_unique<FilesReader>(std::move(request));
  }
};

}  // namespace

const Format* FilesFormat() {
  static const Files format;
  return &format;
}

}  // namespace partita
