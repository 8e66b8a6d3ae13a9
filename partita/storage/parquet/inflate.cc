#include "partita/storage/parquet/inflate.h"

#include <arrow/buffer.h>

#include <algorithm>
#include <cstring>

#include "partita/base/units.h"

namespace partita {
namespace {

using arrow::Compression;

constexpr int64_t kDirectReadBytes = 4 << 20;  // between two looks at cancellation

class PlainPage final : public PageInflater {
 public:
  explicit PlainPage(WindowedInput* input) : input_(input) {}
  Status Read(uint8_t* out, int64_t size) override { return input_->Read(out, size); }

 private:
  WindowedInput* input_;
};

// What zstd's decoder allocates is in the frame's header: it keeps a window of that size.
Result<int64_t> ZstdWindowBytes(std::string_view frame) {
  constexpr uint32_t kMagic = 0xFD2FB528;
  constexpr int64_t kMostWindowBytes = 128LL << 20;  // the decoder refuses more
  constexpr int kSizeOfDictionaryId[] = {0, 1, 2, 4};
  uint32_t magic = 0;
  if (frame.size() >= 5) std::memcpy(&magic, frame.data(), sizeof(magic));
  if (magic != kMagic) return int64_t{0};  // skippable, or none: the decoder says
  const auto descriptor = static_cast<uint8_t>(frame[4]);
  size_t at = 5;
  if ((descriptor & 0x20) == 0) {
    if (at >= frame.size()) return int64_t{0};
    const auto window = static_cast<uint8_t>(frame[at]);
    const int64_t base = int64_t{1} << (10 + (window >> 3));
    return std::min(kMostWindowBytes, base + base / 8 * (window & 7));
  }
  // A single segment: its window is the content.
  at += static_cast<size_t>(kSizeOfDictionaryId[descriptor & 3]);
  const size_t width = size_t{1} << (descriptor >> 6);
  if (at + width > frame.size()) return int64_t{0};
  uint64_t content = 0;
  std::memcpy(&content, frame.data() + at, width);
  if (width == 2) content += 256;
  return static_cast<int64_t>(std::min<uint64_t>(content, kMostWindowBytes));
}

// Of the codecs that Arrow can stream.
class StreamedPage final : public PageInflater {
 public:
  StreamedPage(Compression::type codec, WindowedInput* input, int64_t size_bytes, arrow::MemoryPool* pool)
      : codec_(codec), input_(input), size_bytes_(size_bytes), budget_(dynamic_cast<BudgetPool*>(pool)) {}

  Status Init() {
    ARROW_RETURN_NOT_OK(ClaimState());
    ARROW_ASSIGN_OR_RAISE(auto codec, arrow::util::Codec::Create(codec_));
    ARROW_ASSIGN_OR_RAISE(decompressor_, codec->MakeDecompressor());
    return Status::OK();
  }

  Status Read(uint8_t* out, int64_t size) override {
    while (size > 0) {
      ARROW_ASSIGN_OR_RAISE(const std::string_view view, input_->Peek(1));
      if (decompressor_->IsFinished()) {
        // Members one after the other are one stream.
        if (view.empty()) return Ends(size);
        ARROW_RETURN_NOT_OK(ClaimState());
        ARROW_RETURN_NOT_OK(decompressor_->Reset());
      }
      ARROW_ASSIGN_OR_RAISE(const auto done, decompressor_->Decompress(
                                                 static_cast<int64_t>(view.size()),
                                                 reinterpret_cast<const uint8_t*>(view.data()), size, out));
      if (done.bytes_read == 0 && done.bytes_written == 0 && !decompressor_->IsFinished()) return Ends(size);
      input_->Advance(done.bytes_read);
      out += done.bytes_written;
      size -= done.bytes_written;
    }
    return Status::OK();
  }

 private:
  static constexpr int64_t kStateBytes = 512 << 10;
  static constexpr int64_t kBrotliWindowBytes = 16 << 20;
  static constexpr int64_t kFrameHeaderBytes = 18;

  static Status Ends(int64_t missing) {
    return Status::Invalid("a compressed page ends ", missing, " bytes before its value does");
  }

  Status ClaimState() {
    int64_t window = 0;
    if (codec_ == Compression::ZSTD) {
      ARROW_ASSIGN_OR_RAISE(const std::string_view frame, input_->Peek(kFrameHeaderBytes));
      ARROW_ASSIGN_OR_RAISE(window, ZstdWindowBytes(frame));
    } else if (codec_ == Compression::BROTLI) {
      window = std::min(kBrotliWindowBytes, size_bytes_);
    }
    if (budget_ == nullptr) return Status::OK();
    const int64_t bytes = kStateBytes + window;
    if (claim_.bytes() == 0) return budget_->Reserve(bytes).Value(&claim_);
    return bytes > claim_.bytes() ? claim_.Resize(bytes) : Status::OK();
  }

  const Compression::type codec_;
  WindowedInput* input_;
  const int64_t size_bytes_;
  BudgetPool* budget_;
  Reservation claim_;
  std::shared_ptr<arrow::util::Decompressor> decompressor_;
};

class WholePage final : public PageInflater {
 public:
  WholePage(std::unique_ptr<arrow::util::Codec> codec, WindowedInput* input, int64_t size_bytes,
            std::shared_ptr<arrow::ResizableBuffer>* scratch, arrow::MemoryPool* pool)
      : codec_(std::move(codec)), input_(input), size_bytes_(size_bytes), scratch_(scratch), pool_(pool) {}

  Status Read(uint8_t* out, int64_t size) override {
    if (size > size_bytes_ - at_)
      return Status::Invalid("a page ends ", size - size_bytes_ + at_, " bytes before its value does");
    if (at_ == 0 && size == size_bytes_) {
      at_ = size;
      return Decompress(out);
    }
    if (!decoded_) {
      if (!*scratch_ || (*scratch_)->size() < size_bytes_)
        ARROW_RETURN_NOT_OK(arrow::AllocateResizableBuffer(size_bytes_, pool_).Value(scratch_));
      ARROW_RETURN_NOT_OK(Decompress((*scratch_)->mutable_data()));
      decoded_ = true;
    }
    std::memcpy(out, (*scratch_)->data() + at_, static_cast<size_t>(size));
    at_ += size;
    return Status::OK();
  }

 private:
  Status Decompress(uint8_t* out) {
    ARROW_ASSIGN_OR_RAISE(const std::string_view view, input_->Peek(input_->left()));
    ARROW_ASSIGN_OR_RAISE(
        const int64_t size,
        codec_->Decompress(static_cast<int64_t>(view.size()), reinterpret_cast<const uint8_t*>(view.data()),
                           size_bytes_, out));
    if (size != size_bytes_) return Status::Invalid("a page claims ", size_bytes_, " bytes and has ", size);
    input_->Advance(static_cast<int64_t>(view.size()));
    return Status::OK();
  }

  std::unique_ptr<arrow::util::Codec> codec_;
  WindowedInput* input_;
  const int64_t size_bytes_;
  std::shared_ptr<arrow::ResizableBuffer>* scratch_;
  arrow::MemoryPool* pool_;
  int64_t at_ = 0;
  bool decoded_ = false;
};

// The most a codec makes of a byte; 0: so much that a check would tell nothing.
int64_t MostExpansion(Compression::type codec) {
  switch (codec) {
    case Compression::UNCOMPRESSED:
      return 1;
    case Compression::SNAPPY:
      return 22;  // a copy of 64 bytes takes 3
    case Compression::LZ4:
      return 256;
    case Compression::GZIP:
      return 1100;
    default:
      return 0;
  }
}

Status CheckExpansion(Compression::type codec, const WindowedInput& input, int64_t size_bytes) {
  const int64_t most = MostExpansion(codec);
  if (most == 0 || size_bytes / most <= input.left()) return Status::OK();
  return Status::Invalid("a page claims ", size_bytes, " decoded bytes of ", input.left(), " compressed");
}

}  // namespace

void WindowedInput::SetRange(int64_t position, int64_t limit) {
  position_ = position;
  limit_ = limit;
}

int64_t WindowedInput::InWindow() const {
  if (position_ < window_begin_ || position_ >= window_begin_ + window_size_) return 0;
  return std::min(window_begin_ + window_size_, limit_) - position_;
}

Result<std::string_view> WindowedInput::Peek(int64_t least) {
  least = std::min(least, left());
  int64_t at_hand = std::max<int64_t>(0, InWindow());
  if (at_hand < least) {
    const int64_t capacity = std::max(window_bytes_, least);
    if (!window_ || window_->size() < capacity) {
      ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::ResizableBuffer> larger,
                            arrow::AllocateResizableBuffer(capacity, pool_));
      if (at_hand > 0) {
        std::memcpy(larger->mutable_data(), window_->data() + (position_ - window_begin_),
                    static_cast<size_t>(at_hand));
      }
      window_ = std::move(larger);
    } else if (at_hand > 0) {
      std::memmove(window_->mutable_data(), window_->data() + (position_ - window_begin_),
                   static_cast<size_t>(at_hand));
    }
    window_begin_ = position_;
    window_size_ = at_hand;
    while (window_size_ < least) {
      const int64_t room = std::min(window_->size(), left()) - window_size_;
      ARROW_ASSIGN_OR_RAISE(const int64_t got, input_->ReadAt(window_begin_ + window_size_, room,
                                                              window_->mutable_data() + window_size_));
      if (got <= 0) return Status::Invalid("the file ends inside a page");
      window_size_ += got;
    }
    at_hand = InWindow();
  }
  if (at_hand == 0) return std::string_view();
  return std::string_view(reinterpret_cast<const char*>(window_->data()) + (position_ - window_begin_),
                          static_cast<size_t>(at_hand));
}

Status WindowedInput::Read(uint8_t* out, int64_t size) {
  if (size > left()) return Status::Invalid("a page ends ", size - left(), " bytes before its value does");
  while (size > 0) {
    int64_t some = std::min(size, std::max<int64_t>(0, InWindow()));
    if (some == 0 && size < window_bytes_) {
      ARROW_ASSIGN_OR_RAISE(const auto view, Peek(1));
      some = std::min(size, static_cast<int64_t>(view.size()));
    }
    if (some > 0) {
      std::memcpy(out, window_->data() + (position_ - window_begin_), static_cast<size_t>(some));
    } else {
      ARROW_ASSIGN_OR_RAISE(some, input_->ReadAt(position_, std::min(size, kDirectReadBytes), out));
      if (some <= 0) return Status::Invalid("the file ends inside a page");
    }
    position_ += some;
    out += some;
    size -= some;
  }
  return Status::OK();
}

bool CanInflate(Compression::type codec) {
  switch (codec) {
    case Compression::UNCOMPRESSED:
    case Compression::SNAPPY:
    case Compression::GZIP:
    case Compression::BROTLI:
    case Compression::ZSTD:
    case Compression::LZ4:
      return true;
    default:
      return false;
  }
}

Result<std::unique_ptr<PageInflater>> OpenInflater(Compression::type codec, WindowedInput* input,
                                                   int64_t size_bytes, arrow::MemoryPool* pool) {
  ARROW_RETURN_NOT_OK(CheckExpansion(codec, *input, size_bytes));
  // The window is there before the first byte is consumed: nothing is refused afterwards.
  ARROW_RETURN_NOT_OK(input->Peek(1).status());
  switch (codec) {
    case Compression::UNCOMPRESSED:
      return std::make_unique<PlainPage>(input);
    case Compression::SNAPPY:
      return OpenSnappyInflater(input, size_bytes, pool);
    case Compression::LZ4:
      return OpenLz4Inflater(input, size_bytes, pool);
    default: {
      auto page = std::make_unique<StreamedPage>(codec, input, size_bytes, pool);
      ARROW_RETURN_NOT_OK(page->Init());
      return page;
    }
  }
}

Result<std::unique_ptr<PageInflater>> OpenWholeInflater(Compression::type codec, WindowedInput* input,
                                                        int64_t size_bytes,
                                                        std::shared_ptr<arrow::ResizableBuffer>* scratch,
                                                        arrow::MemoryPool* pool) {
  if (codec == Compression::UNCOMPRESSED) return OpenInflater(codec, input, size_bytes, pool);
  ARROW_RETURN_NOT_OK(CheckExpansion(codec, *input, size_bytes));
  ARROW_ASSIGN_OR_RAISE(auto decoder, arrow::util::Codec::Create(codec));
  return std::make_unique<WholePage>(std::move(decoder), input, size_bytes, scratch, pool);
}

}  // namespace partita
