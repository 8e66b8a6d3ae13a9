// Compression of fat values as a stream, and of pages in one piece (chunk.h).
#include <arrow/buffer.h>
#include <arrow/util/compression.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "partita/storage/parquet/chunk.h"

namespace partita {
namespace {

using arrow::util::Codec;

constexpr int64_t kStepBytes = 256 << 10;  // with its compressed form in the processor's cache
constexpr int64_t kSampleBytes = 64 << 10;
constexpr int64_t kPageSampleBytes = 8 << 10;
constexpr int kSamples = 4;
constexpr double kWorthwhile = 0.9;

// Four samples tell whether the rest is worth the time.
Result<bool> IsWorthwhile(Codec* codec, const arrow::Buffer& value, int64_t sample_bytes,
                          arrow::MemoryPool* pool) {
  const int64_t bytes = std::min(sample_bytes, value.size());
  ARROW_ASSIGN_OR_RAISE(auto scratch,
                        arrow::AllocateBuffer(codec->MaxCompressedLen(bytes, value.data()), pool));
  int64_t compressed = 0;
  for (int i = 0; i < kSamples; ++i) {
    const int64_t offset = (value.size() - bytes) / kSamples * i;
    ARROW_ASSIGN_OR_RAISE(const int64_t size, codec->Compress(bytes, value.data() + offset, scratch->size(),
                                                              scratch->mutable_data()));
    compressed += size;
  }
  return static_cast<double>(compressed) < kWorthwhile * static_cast<double>(kSamples * bytes);
}

// A snappy block is its length as a varint, then literals and copies that reach back in what they follow: the
// elements of blocks of consecutive pieces, one after the other, are a block of the whole.
Status CompressSnappy(Codec* codec, std::string_view head, const arrow::Buffer& value,
                      arrow::MemoryPool* pool, PageBytes* out) {
  std::string start;
  for (uint64_t left = head.size() + static_cast<uint64_t>(value.size());; left >>= 7) {
    start.push_back(static_cast<char>((left & 0x7F) | (left > 0x7F ? 0x80 : 0)));
    if (left <= 0x7F) break;
  }
  start.push_back(static_cast<char>((head.size() - 1) << 2));  // a literal of 1 to 60 bytes
  start += head;
  ARROW_RETURN_NOT_OK(out->Write(start.data(), static_cast<int64_t>(start.size())));
  ARROW_ASSIGN_OR_RAISE(auto scratch,
                        arrow::AllocateBuffer(codec->MaxCompressedLen(kStepBytes, value.data()), pool));
  for (int64_t offset = 0; offset < value.size(); offset += kStepBytes) {
    const int64_t bytes = std::min(kStepBytes, value.size() - offset);
    ARROW_ASSIGN_OR_RAISE(const int64_t size, codec->Compress(bytes, value.data() + offset, scratch->size(),
                                                              scratch->mutable_data()));
    int64_t skip = 0;
    while (skip < size && (scratch->data()[skip] & 0x80) != 0) ++skip;
    ++skip;
    ARROW_RETURN_NOT_OK(out->Write(scratch->data() + skip, size - skip));
  }
  return Status::OK();
}

class StreamCompressor {
 public:
  StreamCompressor(std::shared_ptr<arrow::util::Compressor> compressor,
                   std::shared_ptr<arrow::Buffer> scratch, PageBytes* out)
      : compressor_(std::move(compressor)), scratch_(std::move(scratch)), out_(out) {}

  Status Add(const uint8_t* data, int64_t size) {
    while (size > 0) {
      ARROW_ASSIGN_OR_RAISE(const auto result,
                            compressor_->Compress(size, data, scratch_->size(), scratch_->mutable_data()));
      data += result.bytes_read;
      size -= result.bytes_read;
      if (result.bytes_written > 0) ARROW_RETURN_NOT_OK(out_->Write(scratch_->data(), result.bytes_written));
    }
    return Status::OK();
  }

  Status End() {
    for (;;) {
      ARROW_ASSIGN_OR_RAISE(const auto result, compressor_->End(scratch_->size(), scratch_->mutable_data()));
      if (result.bytes_written > 0) ARROW_RETURN_NOT_OK(out_->Write(scratch_->data(), result.bytes_written));
      if (!result.should_retry) return Status::OK();
    }
  }

 private:
  std::shared_ptr<arrow::util::Compressor> compressor_;
  std::shared_ptr<arrow::Buffer> scratch_;
  PageBytes* out_;
};

Status CompressStream(Codec* codec, std::string_view head, const arrow::Buffer& value,
                      arrow::MemoryPool* pool, PageBytes* out) {
  ARROW_ASSIGN_OR_RAISE(auto compressor, codec->MakeCompressor());
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> scratch, arrow::AllocateBuffer(kStepBytes, pool));
  StreamCompressor stream(std::move(compressor), std::move(scratch), out);
  ARROW_RETURN_NOT_OK(
      stream.Add(reinterpret_cast<const uint8_t*>(head.data()), static_cast<int64_t>(head.size())));
  ARROW_RETURN_NOT_OK(stream.Add(value.data(), value.size()));
  return stream.End();
}

// Codecs without a stream (LZ4 blocks) need everything in one piece.
Status CompressWhole(Codec* codec, std::string_view head, const arrow::Buffer& value, arrow::MemoryPool* pool,
                     PageBytes* out) {
  const int64_t bytes = static_cast<int64_t>(head.size()) + value.size();
  ARROW_ASSIGN_OR_RAISE(auto whole, arrow::AllocateBuffer(bytes, pool));
  std::memcpy(whole->mutable_data(), head.data(), head.size());
  std::memcpy(whole->mutable_data() + head.size(), value.data(), static_cast<size_t>(value.size()));
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::ResizableBuffer> packed,
                        arrow::AllocateResizableBuffer(codec->MaxCompressedLen(bytes, whole->data()), pool));
  ARROW_ASSIGN_OR_RAISE(const int64_t size,
                        codec->Compress(bytes, whole->data(), packed->size(), packed->mutable_data()));
  whole.reset();
  ARROW_RETURN_NOT_OK(packed->Resize(size));
  out->Append(std::move(packed));
  return Status::OK();
}

}  // namespace

Result<bool> CompressFat(arrow::Compression::type type, int level, std::string_view head,
                         const arrow::Buffer& value, arrow::MemoryPool* pool, PageBytes* out) {
  if (type == arrow::Compression::UNCOMPRESSED) return false;
  ARROW_ASSIGN_OR_RAISE(auto codec, Codec::Create(type, level));
  ARROW_ASSIGN_OR_RAISE(const bool worthwhile, IsWorthwhile(codec.get(), value, kSampleBytes, pool));
  if (!worthwhile) return false;
  switch (type) {
    case arrow::Compression::SNAPPY:
      ARROW_RETURN_NOT_OK(CompressSnappy(codec.get(), head, value, pool, out));
      break;
    case arrow::Compression::GZIP:
    case arrow::Compression::ZSTD:
    case arrow::Compression::BROTLI:
      ARROW_RETURN_NOT_OK(CompressStream(codec.get(), head, value, pool, out));
      break;
    default:
      ARROW_RETURN_NOT_OK(CompressWhole(codec.get(), head, value, pool, out));
  }
  const double bytes = static_cast<double>(head.size()) + static_cast<double>(value.size());
  if (static_cast<double>(out->size()) < kWorthwhile * bytes) return true;
  out->Clear();
  return false;
}

Result<bool> CompressPage(arrow::Compression::type type, int level, const arrow::Buffer& page,
                          arrow::MemoryPool* pool, PageBytes* out) {
  if (type == arrow::Compression::UNCOMPRESSED) return false;
  ARROW_ASSIGN_OR_RAISE(auto codec, Codec::Create(type, level));
  if (page.size() > kSamples * kPageSampleBytes) {
    ARROW_ASSIGN_OR_RAISE(const bool worthwhile, IsWorthwhile(codec.get(), page, kPageSampleBytes, pool));
    if (!worthwhile) return false;
  }
  ARROW_ASSIGN_OR_RAISE(auto packed,
                        arrow::AllocateBuffer(codec->MaxCompressedLen(page.size(), page.data()), pool));
  ARROW_ASSIGN_OR_RAISE(const int64_t size,
                        codec->Compress(page.size(), page.data(), packed->size(), packed->mutable_data()));
  if (static_cast<double>(size) >= kWorthwhile * static_cast<double>(page.size())) return false;
  ARROW_RETURN_NOT_OK(out->Write(packed->data(), size));
  return true;
}

}  // namespace partita
