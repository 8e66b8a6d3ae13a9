#include "partita/storage/parquet/page_walk.h"

#include <algorithm>
#include <tuple>

#include "partita/storage/parquet/chunk_stream.h"

namespace partita {
namespace {

constexpr int64_t kUsualHeaderBytes = 1 << 10;
constexpr int64_t kMostHeaderBytes = 16 << 20;  // statistics hold values

}  // namespace

bool KnowsEncodings(const parquet::ColumnChunkMetaData& chunk) {
  for (const auto encoding : chunk.encodings()) {
    switch (encoding) {
      case parquet::Encoding::PLAIN:
      case parquet::Encoding::RLE:
      case parquet::Encoding::BIT_PACKED:
      case parquet::Encoding::PLAIN_DICTIONARY:
      case parquet::Encoding::RLE_DICTIONARY:
        break;
      default:
        return false;
    }
  }
  return true;
}

PageWalk::PageWalk(std::shared_ptr<ColumnarFile> file, int row_group, int column, int64_t window_bytes)
    : file_(std::move(file)),
      group_(file_->file->metadata->RowGroup(row_group)),
      chunk_(group_->ColumnChunk(column)),
      descr_(group_->schema()->Column(column)),
      window_bytes_(window_bytes) {}

void PageWalk::Close() {
  input_.reset();
  next_ = -1;
  values_passed_ = 0;
}

Result<std::optional<PageHeader>> PageWalk::Next() {
  if (next_ < 0) {
    ARROW_ASSIGN_OR_RAISE(const auto range, ChunkRange(*file_->file, *chunk_));
    std::tie(next_, end_) = range;
  }
  if (!input_) input_ = std::make_unique<WindowedInput>(file_->file->input, window_bytes_, file_->pool);
  if (values_passed_ >= chunk_->num_values() || next_ >= end_) return std::nullopt;
  ARROW_ASSIGN_OR_RAISE(const PageHeader header, ReadHeader());
  const int64_t body = next_ + header.header_bytes;
  input_->SetRange(body, body + header.compressed_bytes);
  return header;
}

void PageWalk::Pass(const PageHeader& header) {
  if (header.is_data()) values_passed_ += header.num_values;
  next_ += header.header_bytes + header.compressed_bytes;
}

Result<PageHeader> PageWalk::ReadHeader() {
  input_->SetRange(next_, end_);
  for (int64_t bytes = kUsualHeaderBytes;; bytes *= 8) {
    ARROW_ASSIGN_OR_RAISE(const auto view, input_->Peek(bytes));
    ARROW_ASSIGN_OR_RAISE(const auto header, ParsePageHeader(view));
    if (!header) {
      if (static_cast<int64_t>(view.size()) < std::min(input_->left(), kMostHeaderBytes)) continue;
      return Status::Invalid("a page header ends behind its column chunk, or has more than ",
                             kMostHeaderBytes, " bytes");
    }
    if (header->compressed_bytes > input_->left() - header->header_bytes) {
      return Status::Invalid("a page claims ", header->compressed_bytes, " bytes, its column chunk has ",
                             input_->left() - header->header_bytes, " more");
    }
    if (const int64_t most = MostPageBytes(*chunk_); header->uncompressed_bytes > most) {
      return Status::Invalid("a page claims ", header->uncompressed_bytes,
                             " decoded bytes, its column chunk ", most);
    }
    return *header;
  }
}

}  // namespace partita
