#include "partita/storage/parquet/file.h"

#include <arrow/buffer.h>
#include <arrow/type.h>
#include <arrow/util/key_value_metadata.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "partita/base/units.h"

namespace partita {
namespace {

constexpr int64_t kTailBytes = 64 << 10;  // one read gets most footers
constexpr int64_t kTrailerBytes = 8;      // footer length and magic
constexpr int64_t kMinimumBytes = 4 + kTrailerBytes;
constexpr int64_t kHeapPerFooterByte =
    4;  // decoded thrift structs against their encoding, measured on wide files
constexpr int64_t kStreamBufferBytes = 64 << 10;
constexpr int64_t kRemoteStreamBufferBytes = 8 << 20;  // a range request costs a round trip

Status NotParquet(const FileEntry& entry, const std::string& why) {
  return WithContext(
      DataError("not a Parquet file: " + why, "check that the path names a complete Parquet file"),
      {.file = entry.location});
}

Result<std::shared_ptr<arrow::Buffer>> ReadFooter(ParquetInput* input, const FileEntry& entry) {
  ARROW_ASSIGN_OR_RAISE(const int64_t size, input->GetSize());
  if (size < kMinimumBytes) return NotParquet(entry, "it has " + FormatBytes(size));
  const int64_t tail_bytes = std::min(size, kTailBytes);
  ARROW_ASSIGN_OR_RAISE(auto tail, input->ReadAt(size - tail_bytes, tail_bytes));
  if (tail->size() != tail_bytes) return NotParquet(entry, "it ends before its size");
  const uint8_t* trailer = tail->data() + tail_bytes - kTrailerBytes;
  if (std::memcmp(trailer + 4, "PARE", 4) == 0) {
    return WithContext(UserError("the file's footer is encrypted", "decrypt the file first"),
                       {.file = entry.location});
  }
  if (std::memcmp(trailer + 4, "PAR1", 4) != 0) return NotParquet(entry, "it does not end with PAR1");
  uint32_t length = 0;
  std::memcpy(&length, trailer, sizeof(length));
  const int64_t footer_bytes = length;
  if (footer_bytes == 0 || footer_bytes > size - kMinimumBytes) {
    return NotParquet(entry, "its footer claims " + FormatBytes(footer_bytes) + " of " + FormatBytes(size));
  }
  if (footer_bytes > kMaxFooterBytes) {
    return NotParquet(entry, "its footer claims " + FormatBytes(footer_bytes) + "; " +
                                 FormatBytes(kMaxFooterBytes) + " is the most that is read");
  }
  if (footer_bytes <= tail_bytes - kTrailerBytes) {
    return arrow::SliceBuffer(tail, tail_bytes - kTrailerBytes - footer_bytes, footer_bytes);
  }
  ARROW_ASSIGN_OR_RAISE(auto footer, input->ReadAt(size - kTrailerBytes - footer_bytes, footer_bytes));
  if (footer->size() != footer_bytes) return NotParquet(entry, "it ends before its size");
  return footer;
}

// Later code indexes row groups and columns freely: what it relies on is checked here, once.
Status CheckMetadata(const ParquetFile& file) {
  const auto& metadata = *file.metadata;
  int64_t rows = 0;
  for (int i = 0; i < metadata.num_row_groups(); ++i) {
    const auto group = metadata.RowGroup(i);
    if (group->num_rows() < 0 || group->num_rows() > std::numeric_limits<int64_t>::max() - rows) {
      return Status::Invalid("row group ", i, " claims ", group->num_rows(), " rows");
    }
    rows += group->num_rows();
    if (group->num_columns() != metadata.num_columns()) {
      return Status::Invalid("row group ", i, " has ", group->num_columns(), " columns, the schema has ",
                             metadata.num_columns());
    }
  }
  return Status::OK();
}

// Field ids and file-level metadata describe the file, not the rows.
std::shared_ptr<arrow::Schema> RowSchema(const arrow::Schema& schema) {
  arrow::FieldVector fields;
  for (const auto& field : schema.fields()) {
    auto metadata = field->metadata() ? field->metadata()->Copy() : nullptr;
    if (metadata) (void)metadata->Delete("PARQUET:field_id");
    fields.push_back(metadata && metadata->size() > 0 ? field->WithMetadata(metadata)
                                                      : field->RemoveMetadata());
  }
  return arrow::schema(std::move(fields));
}

}  // namespace

ParquetInput::ParquetInput(std::shared_ptr<arrow::io::RandomAccessFile> file, int64_t size_bytes,
                           arrow::MemoryPool* pool, CancelToken cancel)
    : file_(std::move(file)), size_bytes_(size_bytes), pool_(pool), cancel_(std::move(cancel)) {}

Status ParquetInput::Seek(int64_t position) {
  position_ = position;
  return Status::OK();
}

Result<int64_t> ParquetInput::Read(int64_t nbytes, void* out) {
  ARROW_ASSIGN_OR_RAISE(const int64_t got, ReadAt(position_, nbytes, out));
  position_ += got;
  return got;
}

Result<std::shared_ptr<arrow::Buffer>> ParquetInput::Read(int64_t nbytes) {
  ARROW_ASSIGN_OR_RAISE(auto buffer, ReadAt(position_, nbytes));
  position_ += buffer->size();
  return buffer;
}

Result<int64_t> ParquetInput::ReadAt(int64_t position, int64_t nbytes, void* out) {
  ARROW_RETURN_NOT_OK(cancel_.Check());
  if (position < 0 || nbytes < 0 || position > size_bytes_) {
    return Status::Invalid("a read of ", nbytes, " bytes at ", position, " lies outside the file of ",
                           size_bytes_);
  }
  if (Holds(position, nbytes)) {
    std::memcpy(out, held_->data() + (position - held_begin_), static_cast<size_t>(nbytes));
    return nbytes;
  }
  ARROW_ASSIGN_OR_RAISE(const int64_t got,
                        file_->ReadAt(position, std::min(nbytes, size_bytes_ - position), out));
  bytes_read_.fetch_add(got, std::memory_order_relaxed);
  return got;
}

Result<std::shared_ptr<arrow::Buffer>> ParquetInput::ReadAt(int64_t position, int64_t nbytes) {
  if (position < 0 || nbytes < 0 || position > size_bytes_) {
    return Status::Invalid("a read of ", nbytes, " bytes at ", position, " lies outside the file of ",
                           size_bytes_);
  }
  if (Holds(position, nbytes)) return arrow::SliceBuffer(held_, position - held_begin_, nbytes);
  const int64_t wanted = std::min(nbytes, size_bytes_ - position);
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::ResizableBuffer> buffer,
                        arrow::AllocateResizableBuffer(wanted, pool_));
  ARROW_ASSIGN_OR_RAISE(const int64_t got, ReadAt(position, wanted, buffer->mutable_data()));
  if (got < wanted) ARROW_RETURN_NOT_OK(buffer->Resize(got, /*shrink_to_fit=*/false));
  return buffer;
}

bool ParquetInput::Holds(int64_t position, int64_t nbytes) const {
  return held_ != nullptr && position >= held_begin_ && nbytes <= held_begin_ + held_->size() - position;
}

Status ParquetInput::Hold(int64_t begin, int64_t end) {
  Drop();
  ARROW_ASSIGN_OR_RAISE(auto held, ReadAt(begin, end - begin));
  held_ = std::move(held);
  held_begin_ = begin;
  return Status::OK();
}

Result<std::shared_ptr<ParquetFile>> OpenParquetFile(Env* env, const FileEntry& entry,
                                                     arrow::MemoryPool* pool, const CancelToken& cancel) {
  auto file = std::make_shared<ParquetFile>();
  file->entry = entry;
  ARROW_ASSIGN_OR_RAISE(auto opened, OpenFile(env, entry, pool, cancel));
  ARROW_ASSIGN_OR_RAISE(const int64_t size_bytes, opened->GetSize());
  file->input = std::make_shared<ParquetInput>(std::move(opened), size_bytes, pool, cancel);
  ARROW_ASSIGN_OR_RAISE(auto footer, ReadFooter(file->input.get(), entry));
  if (auto* budget = dynamic_cast<BudgetPool*>(pool)) {
    ARROW_ASSIGN_OR_RAISE(file->footer_claim, budget->Reserve(footer->size() * kHeapPerFooterByte));
  }

  file->properties = parquet::ReaderProperties(pool);
  file->properties.enable_buffered_stream();
  file->properties.set_buffer_size(IsRemote(entry.location) ? kRemoteStreamBufferBytes : kStreamBufferBytes);
  // Nothing in a footer is larger than the footer.
  const auto limit = static_cast<int32_t>(footer->size());
  file->properties.set_thrift_string_size_limit(limit);
  file->properties.set_thrift_container_size_limit(limit);

  ARROW_RETURN_NOT_OK(CatchParquet(entry, -1, [&]() -> Status {
    file->metadata = parquet::FileMetaData::Make(footer->data(), footer->size(), file->properties);
    ARROW_RETURN_NOT_OK(CheckMetadata(*file));
    const parquet::ArrowReaderProperties arrow_properties;
    ARROW_RETURN_NOT_OK(parquet::arrow::SchemaManifest::Make(
        file->metadata->schema(), file->metadata->key_value_metadata(), arrow_properties, &file->manifest));
    std::shared_ptr<arrow::Schema> schema;
    ARROW_RETURN_NOT_OK(parquet::arrow::FromParquetSchema(file->metadata->schema(), arrow_properties,
                                                          file->metadata->key_value_metadata(), &schema));
    file->schema = RowSchema(*schema);
    return Status::OK();
  }));
  // Page headers hold statistics of values: their strings are bounded by the largest header that is read.
  file->properties.set_thrift_string_size_limit(parquet::kDefaultThriftStringSizeLimit);
  return file;
}

Result<std::pair<int64_t, int64_t>> ChunkRange(const ParquetFile& file,
                                               const parquet::ColumnChunkMetaData& chunk) {
  int64_t begin = chunk.data_page_offset();
  if (chunk.has_dictionary_page() && chunk.dictionary_page_offset() > 0) {
    begin = std::min(begin, chunk.dictionary_page_offset());
  }
  const int64_t bytes = chunk.total_compressed_size();
  ARROW_ASSIGN_OR_RAISE(const int64_t size, file.input->GetSize());
  if (begin < 0 || bytes < 0 || begin > size || bytes > size - begin) {
    return Status::Invalid("column '", chunk.path_in_schema()->ToDotString(), "' claims ", bytes,
                           " bytes at ", begin, " of a file of ", size);
  }
  return std::pair{begin, begin + bytes};
}

Status BlameFile(Status status, const FileEntry& entry, int row_group) {
  if (status.ok() || status.IsCancelled()) return status;
  if (DetailOf(status) != nullptr) return WithContext(std::move(status), {.file = entry.location});
  if (status.IsOutOfMemory()) {
    return WithContext(OutOfMemoryError(status.message()), {.file = entry.location});
  }
  std::string where = row_group < 0 ? "the Parquet file is damaged"
                                    : "row group " + std::to_string(row_group) + " is damaged";
  return WithContext(DataError(where + ": " + status.message(), "write the file again, or leave it out"),
                     {.file = entry.location});
}

}  // namespace partita
