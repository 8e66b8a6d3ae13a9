// Column chunks as streams of pages for libparquet. Internal to the room.
//
// libparquet reads and allocates what it skips; here pages that lie wholly before the wanted row are seeked
// over, reads past the chunk are refused before anything is allocated, and each column has a small window
// instead of a fixed buffer.
#pragma once

#include <arrow/io/interfaces.h>
#include <parquet/column_reader.h>
#include <parquet/file_reader.h>

#include <memory>
#include <string_view>

#include "partita/storage/parquet/file.h"

namespace partita {

// Bytes [begin, end) of a file. Tell is the position in the file.
class ChunkStream final : public arrow::io::InputStream {
 public:
  // A page whose header claims more than `most_page_bytes` when decoded is refused when its header is looked
  // at.
  ChunkStream(std::shared_ptr<ParquetInput> input, int64_t begin, int64_t end, int64_t window_bytes,
              int64_t most_page_bytes, arrow::MemoryPool* pool);

  Status Close() override { return Status::OK(); }
  bool closed() const override { return false; }
  Result<int64_t> Tell() const override { return position_; }
  Result<std::string_view> Peek(int64_t nbytes) override;
  Result<int64_t> Read(int64_t nbytes, void* out) override;
  // Small reads are slices of the window. (InputStream::Advance comes here too.)
  Result<std::shared_ptr<arrow::Buffer>> Read(int64_t nbytes) override;

  void Seek(int64_t position) { position_ = position; }
  // The next Read only moves the position and returns no bytes: libparquet skips a page by reading it.
  void SkipNextRead() { skip_next_read_ = true; }

 private:
  bool InWindow(int64_t nbytes) const {
    return position_ >= window_begin_ && nbytes <= window_begin_ + window_size_ - position_;
  }
  Status Fill(int64_t nbytes);

  std::shared_ptr<ParquetInput> input_;
  const int64_t end_;
  int64_t window_bytes_;
  const int64_t most_page_bytes_;
  arrow::MemoryPool* pool_;
  int64_t position_;
  // Bytes [window_begin_, window_begin_ + window_size_) of the file. Slices of it may be alive.
  std::shared_ptr<arrow::Buffer> window_;
  int64_t window_begin_ = 0, window_size_ = 0;
  bool skip_next_read_ = false;
};

// Rows still to be skipped by whole pages, and those that were.
struct PageSkip {
  int64_t wanted = 0;
  int64_t skipped = 0;
};

// The pages of one column chunk. `skip` (may be null; columns without repetition only): pages before its row
// are not read. Throws what libparquet throws.
std::unique_ptr<parquet::PageReader> OpenPages(const ParquetFile& file, int row_group, int column,
                                               int64_t window_bytes, arrow::MemoryPool* pool,
                                               std::shared_ptr<PageSkip> skip);

// What a page of the chunk may claim: the footer's size of the chunk, where pages are so large that it
// matters.
int64_t MostPageBytes(const parquet::ColumnChunkMetaData& chunk);

// Before Arrow 3.0, data pages of version 2 never said that they were compressed.
bool AlwaysCompressed(const parquet::FileMetaData& metadata);

// What libparquet's readers see of a file: OpenPages in place of its own streams. `next_skip` applies to the
// chunks opened next.
class ParquetPages final : public parquet::ParquetFileReader::Contents {
 public:
  ParquetPages(std::shared_ptr<ParquetFile> file, int64_t window_bytes, arrow::MemoryPool* pool)
      : file_(std::move(file)), window_bytes_(window_bytes), pool_(pool) {}

  void Close() override {}
  std::shared_ptr<parquet::RowGroupReader> GetRowGroup(int i) override;
  std::shared_ptr<parquet::FileMetaData> metadata() const override { return file_->metadata; }
  std::shared_ptr<parquet::PageIndexReader> GetPageIndexReader() override { return nullptr; }
  parquet::BloomFilterReader& GetBloomFilterReader() override;

  std::shared_ptr<PageSkip> next_skip;

 private:
  std::shared_ptr<ParquetFile> file_;
  int64_t window_bytes_;
  arrow::MemoryPool* pool_;
};

}  // namespace partita
