// The bytes of one compressed page as a stream: read from the file through a small window, decompressed
// straight to where they are wanted. Internal to the room.
//
// In memory are the window, and what the codec must remember: 64 KiB for snappy and LZ4, its own window for
// the others (claimed from the pool before it is used).
#pragma once

#include <arrow/util/compression.h>

#include <memory>
#include <string_view>

#include "partita/storage/parquet/file.h"

namespace arrow {
class ResizableBuffer;
}

namespace partita {

// Bytes [position, limit) of a file through one window.
class WindowedInput {
 public:
  WindowedInput(std::shared_ptr<ParquetInput> input, int64_t window_bytes, arrow::MemoryPool* pool)
      : input_(std::move(input)), window_bytes_(window_bytes), pool_(pool) {}

  // Bytes outside of what was set are never given out. Keeps what is in the window.
  void SetRange(int64_t position, int64_t limit);
  int64_t position() const { return position_; }
  int64_t left() const { return limit_ - position_; }

  // All bytes that are at hand, at least `least` where the range has as many; the window grows where it must.
  // The only thing here that may be refused memory.
  Result<std::string_view> Peek(int64_t least);
  void Advance(int64_t size) { position_ += size; }
  // Exactly `size` bytes; large ones past the window.
  Status Read(uint8_t* out, int64_t size);

 private:
  int64_t InWindow() const;  // bytes at the position

  std::shared_ptr<ParquetInput> input_;
  const int64_t window_bytes_;
  arrow::MemoryPool* pool_;
  int64_t position_ = 0, limit_ = 0;
  std::shared_ptr<arrow::ResizableBuffer> window_;
  int64_t window_begin_ = 0, window_size_ = 0;  // in the file
};

// One page's bytes. A status other than OK ends the stream.
class PageInflater {
 public:
  virtual ~PageInflater() = default;
  // Exactly the next `size` bytes.
  virtual Status Read(uint8_t* out, int64_t size) = 0;
};

// Whether pages of the codec can be streamed.
bool CanInflate(arrow::Compression::type codec);

// `input` stands at the page's compressed bytes, its range ends with them, and it outlives the stream.
// `size_bytes` is what the page header says that comes out; it is checked against what the codec can make of
// the compressed bytes. May be refused memory; reading never is.
Result<std::unique_ptr<PageInflater>> OpenInflater(arrow::Compression::type codec, WindowedInput* input,
                                                   int64_t size_bytes, arrow::MemoryPool* pool);

// The same for a page that may be in memory as a whole, which is quicker: it is decompressed in one go, to
// where it is wanted if that is all of it at once, else to `*scratch`, which grows as it must and outlives
// the stream. Here reading may be refused memory.
Result<std::unique_ptr<PageInflater>> OpenWholeInflater(arrow::Compression::type codec, WindowedInput* input,
                                                        int64_t size_bytes,
                                                        std::shared_ptr<arrow::ResizableBuffer>* scratch,
                                                        arrow::MemoryPool* pool);

// The block formats that have no streaming decoder elsewhere: parquet_inflate_block.cc. A back-reference that
// reaches further than the 64 KiB of its format's reference compressor is NotImplemented.
Result<std::unique_ptr<PageInflater>> OpenSnappyInflater(WindowedInput* input, int64_t size_bytes,
                                                         arrow::MemoryPool* pool);
Result<std::unique_ptr<PageInflater>> OpenLz4Inflater(WindowedInput* input, int64_t size_bytes,
                                                      arrow::MemoryPool* pool);

}  // namespace partita
