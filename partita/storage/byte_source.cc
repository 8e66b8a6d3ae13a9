#include "partita/storage/byte_source.h"

#include <arrow/buffer.h>
#include <arrow/io/interfaces.h>
#include <arrow/util/compression.h>

#include <algorithm>
#include <cstring>

#include "partita/base/units.h"
#include "partita/memory/budget.h"
#include "partita/storage/read_ahead.h"

namespace partita {
namespace {

constexpr int64_t kInputWindowBytes = 256 << 10;
// zlib's window and tables, bzip2's block at level 9, LZ4's history: rounded up.
constexpr int64_t kSmallStateBytes = 256 << 10;
constexpr int64_t kBzip2StateBytes = 4 << 20;

arrow::Compression::type CompressionOf(std::string_view location) {
  const auto ends = [&](std::string_view end) {
    if (location.size() < end.size()) return false;
    const std::string_view tail = location.substr(location.size() - end.size());
    return std::equal(tail.begin(), tail.end(), end.begin(),
                      [](char a, char b) { return (a >= 'A' && a <= 'Z' ? a + 32 : a) == b; });
  };
  if (ends(".gz") || ends(".tgz")) return arrow::Compression::GZIP;
  if (ends(".zst") || ends(".tzst")) return arrow::Compression::ZSTD;
  if (ends(".bz2")) return arrow::Compression::BZ2;
  if (ends(".lz4")) return arrow::Compression::LZ4_FRAME;
  return arrow::Compression::UNCOMPRESSED;
}

class PlainSource final : public ByteSource {
 public:
  PlainSource(std::shared_ptr<arrow::io::RandomAccessFile> file, int64_t begin, std::string location,
              CancelToken cancel)
      : file_(std::move(file)), offset_(begin), location_(std::move(location)), cancel_(std::move(cancel)) {}

  Result<int64_t> Read(int64_t size, uint8_t* out) override {
    int64_t got = 0;
    while (got < size) {
      ARROW_RETURN_NOT_OK(cancel_.Check());
      const int64_t ask = std::min<int64_t>(size - got, 8 << 20);
      auto read = file_->ReadAt(offset_ + got, ask, out + got);
      if (!read.ok()) return WithContext(read.status(), {.file = location_});
      if (*read == 0) break;
      got += *read;
    }
    offset_ += got;
    bytes_read_ += got;
    return got;
  }
  Result<int64_t> Skip(int64_t size) override {
    if (size_ < 0) {
      ARROW_ASSIGN_OR_RAISE(size_, file_->GetSize());
    }
    const int64_t skipped = std::clamp<int64_t>(size_ - offset_, 0, size);
    offset_ += skipped;
    return skipped;
  }
  int64_t bytes_read() const override { return bytes_read_; }

 private:
  std::shared_ptr<arrow::io::RandomAccessFile> file_;
  int64_t offset_, bytes_read_ = 0, size_ = -1;
  std::string location_;
  CancelToken cancel_;
};

class DecompressedSource final : public ByteSource {
 public:
  DecompressedSource(std::unique_ptr<ByteSource> input, arrow::Compression::type type, std::string location,
                     BudgetPool* budget)
      : input_(std::move(input)), type_(type), location_(std::move(location)), budget_(budget) {}

  Status Open(arrow::MemoryPool* pool) {
    ARROW_ASSIGN_OR_RAISE(codec_, arrow::util::Codec::Create(type_));
    ARROW_ASSIGN_OR_RAISE(decompressor_, codec_->MakeDecompressor());
    ARROW_ASSIGN_OR_RAISE(window_, arrow::AllocateBuffer(kInputWindowBytes, pool));
    if (budget_ != nullptr) {
      const int64_t state_bytes = type_ == arrow::Compression::BZ2 ? kBzip2StateBytes : kSmallStateBytes;
      ARROW_ASSIGN_OR_RAISE(state_, budget_->Reserve(state_bytes));
    }
    return Status::OK();
  }

  Result<int64_t> Read(int64_t size, uint8_t* out) override {
    int64_t got = 0;
    while (got < size) {
      bool ended = false;
      const Status status = ReadSome(size, out, &got, &ended);
      if (!status.ok() && got == 0) return status;
      if (!status.ok() || ended) break;  // an error comes again, with the next call
    }
    return got;
  }
  int64_t bytes_read() const override { return input_->bytes_read(); }

 private:
  Status ReadSome(int64_t size, uint8_t* out, int64_t* got, bool* ended) {
    ARROW_RETURN_NOT_OK(failed_);
    if (begin_ == end_ && !input_ended_) ARROW_RETURN_NOT_OK(Fill());
    if (begin_ == end_ && at_frame_start_) {
      *ended = true;
      return Status::OK();
    }
    if (begin_ == end_ && !pending_output_) return Fail("the compressed file ends early");
    if (at_frame_start_) {
      ARROW_RETURN_NOT_OK(StartFrame());
      if (at_frame_start_) return Status::OK();  // it was padding
    }
    auto result = decompressor_->Decompress(end_ - begin_, window_->data() + begin_, size - *got, out + *got);
    if (!result.ok()) return Fail("the compressed file is damaged: " + result.status().message());
    begin_ += result->bytes_read;
    *got += result->bytes_written;
    pending_output_ = result->bytes_written > 0;
    if (decompressor_->IsFinished()) {
      at_frame_start_ = true;
    } else if (result->bytes_read == 0 && result->bytes_written == 0 && begin_ < end_) {
      return Fail("the compressed file is damaged");
    }
    return Status::OK();
  }

  Status Fail(const std::string& message) {
    failed_ = WithContext(DataError(message, "get the file again from its source"), {.file = location_});
    return failed_;
  }

  // Moves what is left to the front and reads more behind it.
  Status Fill() {
    const int64_t left = end_ - begin_;
    std::memmove(window_->mutable_data(), window_->data() + begin_, static_cast<size_t>(left));
    begin_ = 0;
    end_ = left;
    ARROW_ASSIGN_OR_RAISE(const int64_t got,
                          input_->Read(kInputWindowBytes - left, window_->mutable_data() + left));
    end_ += got;
    input_ended_ = got == 0;
    return Status::OK();
  }

  Status StartFrame() {
    // gzip files may be padded with zeros behind the last member.
    if (started_ && type_ == arrow::Compression::GZIP && window_->data()[begin_] == 0) {
      ++begin_;
      return Status::OK();
    }
    if (type_ == arrow::Compression::ZSTD) {
      while (end_ - begin_ < 18 && !input_ended_) ARROW_RETURN_NOT_OK(Fill());
      const int64_t window_bytes = ZstdWindowBytes(
          {reinterpret_cast<const char*>(window_->data() + begin_), static_cast<size_t>(end_ - begin_)});
      if (budget_ != nullptr && window_bytes > 0) {
        const Status reserved = state_.Resize(std::min<int64_t>(window_bytes, 128 << 20) + kSmallStateBytes);
        if (!reserved.ok()) {
          return WithContext(OutOfMemoryError("decompressing needs a window of " + FormatBytes(window_bytes),
                                              "give the run more memory"),
                             {.file = location_});
        }
      }
    }
    if (started_) ARROW_RETURN_NOT_OK(decompressor_->Reset());
    started_ = true;
    at_frame_start_ = false;
    pending_output_ = true;
    return Status::OK();
  }

  std::unique_ptr<ByteSource> input_;
  arrow::Compression::type type_;
  std::string location_;
  BudgetPool* budget_;
  std::unique_ptr<arrow::util::Codec> codec_;
  std::shared_ptr<arrow::util::Decompressor> decompressor_;
  std::shared_ptr<arrow::Buffer> window_;
  Reservation state_;
  int64_t begin_ = 0, end_ = 0;  // unread bytes of window_
  bool input_ended_ = false, started_ = false, at_frame_start_ = true, pending_output_ = false;
  Status failed_;
};

}  // namespace

Result<int64_t> ByteSource::Skip(int64_t size) {
  uint8_t scratch[8192];
  return Read(std::min<int64_t>(size, sizeof(scratch)), scratch);
}

bool IsCompressed(std::string_view location) {
  return CompressionOf(location) != arrow::Compression::UNCOMPRESSED;
}

Result<std::unique_ptr<ByteSource>> OpenByteSource(Env* env, const FileEntry& file, int64_t begin,
                                                   arrow::MemoryPool* pool, BudgetPool* budget,
                                                   const CancelToken& cancel) {
  ARROW_ASSIGN_OR_RAISE(auto opened, OpenFile(env, file, pool, cancel));
  std::unique_ptr<ByteSource> plain =
      std::make_unique<PlainSource>(std::move(opened), begin, file.location, cancel);
  if (IsRemote(file.location)) {
    const int64_t left_bytes = file.size_bytes < 0 ? -1 : file.size_bytes - begin;
    plain = ReadAhead(std::move(plain), left_bytes, pool, budget);
  }
  const arrow::Compression::type type = CompressionOf(file.location);
  if (type == arrow::Compression::UNCOMPRESSED) return plain;
  auto source = std::make_unique<DecompressedSource>(std::move(plain), type, file.location, budget);
  ARROW_RETURN_NOT_OK(source->Open(pool));
  return source;
}

Result<std::shared_ptr<arrow::Buffer>> ReadPrefix(Env* env, const FileEntry& file, int64_t size_bytes,
                                                  arrow::MemoryPool* pool, bool* complete) {
  ARROW_ASSIGN_OR_RAISE(auto source, OpenByteSource(env, file, 0, pool, nullptr, CancelToken()));
  ARROW_ASSIGN_OR_RAISE(auto buffer, arrow::AllocateResizableBuffer(size_bytes, pool));
  int64_t size = 0;
  *complete = false;
  while (size < size_bytes && !*complete) {
    ARROW_ASSIGN_OR_RAISE(const int64_t got, source->Read(size_bytes - size, buffer->mutable_data() + size));
    size += got;
    *complete = got == 0;
  }
  ARROW_RETURN_NOT_OK(buffer->Resize(size, /*shrink_to_fit=*/false));
  return std::shared_ptr<arrow::Buffer>(std::move(buffer));
}

int64_t ZstdWindowBytes(std::string_view bytes) {
  const auto byte = [&](size_t i) { return static_cast<uint64_t>(static_cast<unsigned char>(bytes[i])); };
  if (bytes.size() < 6) return 0;
  if (byte(0) != 0x28 || byte(1) != 0xB5 || byte(2) != 0x2F || byte(3) != 0xFD) return -1;
  const uint64_t descriptor = byte(4);
  if ((descriptor & 0x20) == 0) {  // a window byte follows: exponent and mantissa
    const uint64_t base = uint64_t{1} << (10 + (byte(5) >> 3));
    return static_cast<int64_t>(base + (base / 8) * (byte(5) & 7));
  }
  // A single segment: the window is the content, whose size comes after the dictionary id.
  const size_t dictionary_size[] = {0, 1, 2, 4}, content_size[] = {1, 2, 4, 8};
  const size_t at = 5 + dictionary_size[descriptor & 3], size = content_size[descriptor >> 6];
  if (bytes.size() < at + size) return 0;
  uint64_t content = 0;
  for (size_t i = size; i-- > 0;) content = (content << 8) | byte(at + i);
  if (size == 2) content += 256;
  return static_cast<int64_t>(std::min<uint64_t>(content, uint64_t{1} << 40));
}

}  // namespace partita
