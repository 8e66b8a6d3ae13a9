#include "partita/storage/parquet/chunk_stream.h"

#include <arrow/buffer.h>
#include <parquet/page_index.h>

#include <algorithm>
#include <cstring>

namespace partita {
namespace {

class RowGroupPages final : public parquet::RowGroupReader::Contents {
 public:
  RowGroupPages(std::shared_ptr<ParquetFile> file, int row_group, int64_t window_bytes,
                arrow::MemoryPool* pool, std::shared_ptr<PageSkip> skip)
      : file_(std::move(file)),
        row_group_(row_group),
        window_bytes_(window_bytes),
        pool_(pool),
        skip_(std::move(skip)),
        metadata_(file_->metadata->RowGroup(row_group)) {}

  std::unique_ptr<parquet::PageReader> GetColumnPageReader(int i) override {
    return OpenPages(*file_, row_group_, i, window_bytes_, pool_, skip_);
  }
  const parquet::RowGroupMetaData* metadata() const override { return metadata_.get(); }
  const parquet::ReaderProperties* properties() const override { return &file_->properties; }

 private:
  std::shared_ptr<ParquetFile> file_;
  int row_group_;
  int64_t window_bytes_;
  arrow::MemoryPool* pool_;
  std::shared_ptr<PageSkip> skip_;
  std::unique_ptr<parquet::RowGroupMetaData> metadata_;
};

// Pages up to this size are taken at their word: not every writer gets the chunk's size in the footer right.
constexpr int64_t kTrustedPageBytes = 64 << 20;

// The decoded size in a page header, thrift's compact form: field 1 is the type, field 2 this size, both i32.
// -1 where the bytes look otherwise, which libparquet then reports.
int64_t ClaimedPageBytes(std::string_view header) {
  constexpr char kNextFieldI32 = 0x15;
  size_t at = 0;
  uint64_t value = 0;
  for (int field = 1; field <= 2; ++field) {
    if (at >= header.size() || header[at++] != kNextFieldI32) return -1;
    value = 0;
    for (int shift = 0;; shift += 7) {
      if (at >= header.size() || shift > 28) return -1;
      const auto byte = static_cast<uint8_t>(header[at++]);
      value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if ((byte & 0x80) == 0) break;
    }
  }
  return (value & 1) != 0 ? -1 : static_cast<int64_t>(value >> 1);  // zigzag
}

}  // namespace

ChunkStream::ChunkStream(std::shared_ptr<ParquetInput> input, int64_t begin, int64_t end,
                         int64_t window_bytes, int64_t most_page_bytes, arrow::MemoryPool* pool)
    : input_(std::move(input)),
      end_(end),
      window_bytes_(std::min(window_bytes, std::max<int64_t>(1, end - begin))),
      most_page_bytes_(most_page_bytes),
      pool_(pool),
      position_(begin) {}

// Brings up to `nbytes` at the position into the window.
Status ChunkStream::Fill(int64_t nbytes) {
  const int64_t wanted = std::min(std::max(nbytes, window_bytes_), end_ - position_);
  // Slices of the old window may be alive: a new one is allocated, and the old one goes with its last slice.
  window_.reset();
  window_size_ = 0;
  ARROW_ASSIGN_OR_RAISE(window_, input_->ReadAt(position_, wanted));
  window_begin_ = position_;
  window_size_ = window_->size();
  return Status::OK();
}

Result<std::string_view> ChunkStream::Peek(int64_t nbytes) {
  nbytes = std::min(nbytes, std::max<int64_t>(0, end_ - position_));
  if (nbytes == 0) return std::string_view();
  if (!InWindow(nbytes)) ARROW_RETURN_NOT_OK(Fill(nbytes));
  const char* data = reinterpret_cast<const char*>(window_->data()) + (position_ - window_begin_);
  const std::string_view view(
      data, static_cast<size_t>(std::min(nbytes, window_begin_ + window_size_ - position_)));
  // libparquet looks ahead at page headers only, and allocates what they say.
  if (const int64_t claimed = ClaimedPageBytes(view); claimed > most_page_bytes_) {
    return Status::Invalid("a page claims ", claimed, " decoded bytes, its column chunk ", most_page_bytes_);
  }
  return view;
}

Result<int64_t> ChunkStream::Read(int64_t nbytes, void* out) {
  nbytes = std::min(nbytes, std::max<int64_t>(0, end_ - position_));
  auto* to = static_cast<uint8_t*>(out);
  int64_t done = 0;
  if (position_ >= window_begin_ && position_ < window_begin_ + window_size_) {
    done = std::min(nbytes, window_begin_ + window_size_ - position_);
    std::memcpy(to, window_->data() + (position_ - window_begin_), static_cast<size_t>(done));
  }
  if (done < nbytes) {
    ARROW_ASSIGN_OR_RAISE(const int64_t got, input_->ReadAt(position_ + done, nbytes - done, to + done));
    done += got;
  }
  position_ += done;
  return done;
}

Result<std::shared_ptr<arrow::Buffer>> ChunkStream::Read(int64_t nbytes) {
  const bool skip = std::exchange(skip_next_read_, false);
  if (nbytes < 0 || nbytes > end_ - position_) {
    return Status::Invalid("a page claims ", nbytes, " bytes, its column chunk has ", end_ - position_,
                           " more");
  }
  if (skip) {
    position_ += nbytes;
    return std::make_shared<arrow::Buffer>(nullptr, 0);
  }
  if (!InWindow(nbytes) && nbytes <= window_bytes_ / 2) ARROW_RETURN_NOT_OK(Fill(nbytes));
  if (InWindow(nbytes)) {
    auto slice = arrow::SliceBuffer(window_, position_ - window_begin_, nbytes);
    position_ += nbytes;
    return slice;
  }
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::ResizableBuffer> buffer,
                        arrow::AllocateResizableBuffer(nbytes, pool_));
  ARROW_ASSIGN_OR_RAISE(const int64_t got, Read(nbytes, buffer->mutable_data()));
  if (got < nbytes) return Status::Invalid("the file ends inside a page");
  return buffer;
}

int64_t MostPageBytes(const parquet::ColumnChunkMetaData& chunk) {
  return std::max(kTrustedPageBytes, chunk.total_uncompressed_size());
}

bool AlwaysCompressed(const parquet::FileMetaData& metadata) {
  return metadata.writer_version().VersionLt(parquet::ApplicationVersion::PARQUET_CPP_10353_FIXED_VERSION());
}

std::unique_ptr<parquet::PageReader> OpenPages(const ParquetFile& file, int row_group, int column,
                                               int64_t window_bytes, arrow::MemoryPool* pool,
                                               std::shared_ptr<PageSkip> skip) {
  const auto group = file.metadata->RowGroup(row_group);
  const auto chunk = group->ColumnChunk(column);
  if (chunk->crypto_metadata()) {
    throw parquet::ParquetStatusException(UserError(
        "column '" + chunk->path_in_schema()->ToDotString() + "' is encrypted", "leave the column out"));
  }
  PARQUET_ASSIGN_OR_THROW(const auto range, ChunkRange(file, *chunk));
  auto stream = std::make_shared<ChunkStream>(file.input, range.first, range.second, window_bytes,
                                              MostPageBytes(*chunk), pool);
  auto pages = parquet::PageReader::Open(stream, chunk->num_values(), chunk->compression(), file.properties,
                                         *group->schema()->Column(column), AlwaysCompressed(*file.metadata));
  if (skip) {
    pages->set_data_page_filter([skip = std::move(skip), stream](const parquet::DataPageStats& page) {
      if (page.num_values > skip->wanted - skip->skipped) {
        skip->wanted = skip->skipped;  // the rows before the wanted one in this page are decoded and dropped
        return false;
      }
      skip->skipped += page.num_values;
      stream->SkipNextRead();
      return true;
    });
  }
  return pages;
}

std::shared_ptr<parquet::RowGroupReader> ParquetPages::GetRowGroup(int i) {
  return std::make_shared<parquet::RowGroupReader>(
      std::make_unique<RowGroupPages>(file_, i, window_bytes_, pool_, next_skip));
}

parquet::BloomFilterReader& ParquetPages::GetBloomFilterReader() {
  throw parquet::ParquetException("bloom filters are not read");
}

}  // namespace partita
