// Snappy and LZ4 blocks as streams.
//
// Both are runs of literals and of copies of what came out before. Copies reach into the value that is being
// read, or into the last 64 KiB before it, which are kept: LZ4 cannot reach further, and compressors of
// snappy work in fragments of 64 KiB. Snappy's format allows more; no known writer does it.
//
// https://github.com/google/snappy/blob/main/format_description.txt
// https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md
#include <arrow/buffer.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "partita/storage/parquet/inflate.h"

namespace partita {
namespace {

static_assert(std::endian::native == std::endian::little, "offsets are read as they are");

constexpr int64_t kReach = 64 << 10;

// While at least so much is left of input and of output, elements are copied in whole blocks that may write
// past their end: the next element overwrites it.
constexpr int64_t kFastInput = 80;
constexpr int64_t kFastOutput = 80;

// Fixed sizes become single instructions.
void Copy16(uint8_t* to, const uint8_t* from) {
  uint8_t block[16];
  std::memcpy(block, from, sizeof(block));
  std::memcpy(to, block, sizeof(block));
}

// `length` <= 64 bytes from `distance` back; may write 16 more than it has to.
void CopyBackFast(uint8_t* to, uint64_t distance, int64_t length) {
  const uint8_t* from = to - distance;
  if (distance >= 16) {
    Copy16(to, from);
    for (int64_t i = 16; i < length; i += 16) Copy16(to + i, from + i);
    return;
  }
  if (distance >= 8) {
    for (int64_t i = 0; i < length; i += 8) {
      uint64_t block;
      std::memcpy(&block, from + i, sizeof(block));
      std::memcpy(to + i, &block, sizeof(block));
    }
    return;
  }
  // What is written is what comes next.
  for (int64_t i = 0; i < length; ++i) to[i] = from[i];
}

class BlockPage : public PageInflater {
 public:
  BlockPage(WindowedInput* input, int64_t size_bytes) : input_(input), left_(size_bytes) {}

  Status Init(arrow::MemoryPool* pool) { return arrow::AllocateBuffer(2 * kReach, pool).Value(&history_); }

  Status Read(uint8_t* out, int64_t size) final {
    if (size > left_) return Status::Invalid("a page ends ", size - left_, " bytes before its value does");
    begin_ = op_ = out;
    end_ = out + size;
    while (op_ < end_) {
      if (literal_ > 0) {
        const int64_t some = std::min(literal_, end_ - op_);
        ARROW_RETURN_NOT_OK(input_->Read(op_, some));
        op_ += some;
        literal_ -= some;
      } else if (copy_ > 0) {
        ARROW_RETURN_NOT_OK(CopySome());
      } else {
        ARROW_RETURN_NOT_OK(Elements());
      }
    }
    left_ -= size;
    Remember(out, size);
    return Status::OK();
  }

 protected:
  // Goes through elements as long as that is fast, then leaves one in literal_, or in copy_ and distance_.
  virtual Status Elements() = 0;

  static Status Ends() { return Status::Invalid("a compressed page ends before its values"); }

  Result<uint8_t> Byte() {
    ARROW_ASSIGN_OR_RAISE(const auto view, input_->Peek(1));
    if (view.empty()) return Ends();
    input_->Advance(1);
    return static_cast<uint8_t>(view[0]);
  }

  WindowedInput* input_;
  // Output of the current Read.
  uint8_t* begin_ = nullptr;
  uint8_t* op_ = nullptr;
  uint8_t* end_ = nullptr;
  // The open element.
  int64_t literal_ = 0;
  int64_t copy_ = 0;
  uint64_t distance_ = 0;

 private:
  Status CopySome() {
    const auto written = static_cast<uint64_t>(op_ - begin_);
    int64_t some = std::min(copy_, end_ - op_);
    if (distance_ == 0) return Status::Invalid("a compressed page refers to itself");
    if (distance_ > written) {
      const auto back = static_cast<int64_t>(std::min<uint64_t>(distance_ - written, INT64_MAX));
      if (back > remembered_) {
        if (back > seen_) return Status::Invalid("a compressed page refers to bytes before its beginning");
        return Status::NotImplemented("a compressed page refers ", back, " bytes back; ", kReach,
                                      " are what its reference compressor may");
      }
      some = std::min(some, back);
      std::memcpy(op_, history_->data() + remembered_ - back, static_cast<size_t>(some));
    } else if (distance_ >= static_cast<uint64_t>(some)) {
      std::memcpy(op_, op_ - distance_, static_cast<size_t>(some));
    } else {
      for (int64_t i = 0; i < some; ++i) op_[i] = (op_ - distance_)[i];
    }
    op_ += some;
    copy_ -= some;
    return Status::OK();
  }

  void Remember(const uint8_t* data, int64_t size) {
    seen_ += size;
    uint8_t* history = history_->mutable_data();
    if (size >= kReach) {
      std::memcpy(history, data + size - kReach, static_cast<size_t>(kReach));
      remembered_ = kReach;
      return;
    }
    if (remembered_ + size > history_->size()) {
      std::memmove(history, history + remembered_ - kReach, static_cast<size_t>(kReach));
      remembered_ = kReach;
    }
    std::memcpy(history + remembered_, data, static_cast<size_t>(size));
    remembered_ += size;
  }

  int64_t left_;
  std::shared_ptr<arrow::Buffer> history_;  // the last bytes before begin_
  int64_t remembered_ = 0;
  int64_t seen_ = 0;
};

class SnappyPage final : public BlockPage {
 public:
  SnappyPage(WindowedInput* input, int64_t size_bytes)
      : BlockPage(input, size_bytes), size_bytes_(size_bytes) {}

  // The block says how long it is: that is what the page header said, or one of them lies.
  Status CheckLength() {
    if (size_bytes_ == 0 && input_->left() == 0) return Status::OK();
    uint64_t length = 0;
    for (int shift = 0; shift <= 28; shift += 7) {
      ARROW_ASSIGN_OR_RAISE(const uint8_t byte, Byte());
      length |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if ((byte & 0x80) != 0) continue;
      if (length == static_cast<uint64_t>(size_bytes_)) return Status::OK();
      return Status::Invalid("a page claims ", size_bytes_, " decoded bytes, its compressed form ", length);
    }
    return Status::Invalid("a snappy page does not begin with a length");
  }

 protected:
  Status Elements() override {
    ARROW_ASSIGN_OR_RAISE(const auto view, input_->Peek(5));
    if (view.empty()) return Ends();
    const auto* ip = reinterpret_cast<const uint8_t*>(view.data());
    const uint8_t* const begin = ip;
    const uint8_t* const ip_end = ip + view.size();
    uint8_t* op = op_;
    while (ip_end - ip >= kFastInput && end_ - op >= kFastOutput) {
      const uint8_t tag = *ip;
      if ((tag & 3) == 0) {
        const int64_t length = (tag >> 2) + 1;
        if (length > 60) break;
        Copy16(op, ip + 1);
        for (int64_t i = 16; i < length; i += 16) Copy16(op + i, ip + 1 + i);
        op += length;
        ip += 1 + length;
        continue;
      }
      uint64_t distance;
      int64_t length;
      const uint8_t* next;
      if ((tag & 3) == 1) {
        distance = static_cast<uint64_t>(tag >> 5) << 8 | ip[1];
        length = 4 + ((tag >> 2) & 7);
        next = ip + 2;
      } else if ((tag & 3) == 2) {
        distance = Load16(ip + 1);
        length = (tag >> 2) + 1;
        next = ip + 3;
      } else {
        break;
      }
      if (distance == 0 || distance > static_cast<uint64_t>(op - begin_)) break;
      CopyBackFast(op, distance, length);
      op += length;
      ip = next;
    }
    op_ = op;
    input_->Advance(ip - begin);
    if (op_ == end_) return Status::OK();
    return ip_end - ip >= 5 || ip_end - ip == input_->left() ? Element(ip, ip_end - ip) : Status::OK();
  }

 private:
  static uint64_t Load16(const uint8_t* at) {
    uint16_t value;
    std::memcpy(&value, at, sizeof(value));
    return value;
  }

  Status Element(const uint8_t* ip, int64_t at_hand) {
    if (at_hand < 1) return Ends();
    const uint8_t tag = *ip;
    const int kind = tag & 3;
    const int code = tag >> 2;
    int width = kind == 3 ? 4 : kind;  // bytes behind the tag
    if (kind == 0 && code >= 60) width = code - 59;
    if (at_hand < 1 + width) return Ends();
    uint32_t operand = 0;
    std::memcpy(&operand, ip + 1, static_cast<size_t>(width));
    input_->Advance(1 + width);
    if (kind == 0) {
      literal_ = (code >= 60 ? int64_t{operand} : int64_t{code}) + 1;
    } else if (kind == 1) {
      copy_ = 4 + (code & 7);
      distance_ = static_cast<uint64_t>(tag >> 5) << 8 | operand;
    } else {
      copy_ = code + 1;
      distance_ = operand;
    }
    return Status::OK();
  }

  const int64_t size_bytes_;
};

class Lz4Page final : public BlockPage {
 public:
  using BlockPage::BlockPage;

 protected:
  // A sequence is a token, its literals, and then, but for the last one, its copy.
  Status Elements() override {
    if (!in_sequence_) {
      ARROW_RETURN_NOT_OK(Fast());
      if (op_ == end_) return Status::OK();
      ARROW_ASSIGN_OR_RAISE(token_, Byte());
      in_sequence_ = true;
      ARROW_ASSIGN_OR_RAISE(literal_, Length(token_ >> 4));
      if (literal_ > 0) return Status::OK();
    }
    in_sequence_ = false;
    ARROW_ASSIGN_OR_RAISE(const uint8_t low, Byte());
    ARROW_ASSIGN_OR_RAISE(const uint8_t high, Byte());
    distance_ = static_cast<uint64_t>(high) << 8 | low;
    ARROW_ASSIGN_OR_RAISE(copy_, Length(token_ & 15));
    copy_ += kLeastCopy;
    return Status::OK();
  }

 private:
  static constexpr int64_t kLeastCopy = 4;

  Result<int64_t> Length(int code) {
    int64_t length = code;
    if (code < 15) return length;
    for (;;) {
      ARROW_ASSIGN_OR_RAISE(const uint8_t byte, Byte());
      length += byte;
      if (byte != 255) return length;
    }
  }

  // Sequences whose lengths are in their tokens.
  Status Fast() {
    ARROW_ASSIGN_OR_RAISE(const auto view, input_->Peek(1));
    const auto* ip = reinterpret_cast<const uint8_t*>(view.data());
    const uint8_t* const begin = ip;
    const uint8_t* const ip_end = ip + view.size();
    uint8_t* op = op_;
    while (ip_end - ip >= kFastInput && end_ - op >= kFastOutput) {
      const int literal = *ip >> 4;
      const int copy = *ip & 15;
      if (literal == 15 || copy == 15) break;
      const uint8_t* offset = ip + 1 + literal;
      const uint64_t distance = static_cast<uint64_t>(offset[1]) << 8 | offset[0];
      if (distance == 0 || distance > static_cast<uint64_t>(op - begin_ + literal)) break;
      Copy16(op, ip + 1);
      op += literal;
      CopyBackFast(op, distance, copy + kLeastCopy);
      op += copy + kLeastCopy;
      ip = offset + 2;
    }
    op_ = op;
    input_->Advance(ip - begin);
    return Status::OK();
  }

  bool in_sequence_ = false;  // its literals are out, its copy is not
  uint8_t token_ = 0;
};

}  // namespace

Result<std::unique_ptr<PageInflater>> OpenSnappyInflater(WindowedInput* input, int64_t size_bytes,
                                                         arrow::MemoryPool* pool) {
  auto page = std::make_unique<SnappyPage>(input, size_bytes);
  ARROW_RETURN_NOT_OK(page->Init(pool));
  ARROW_RETURN_NOT_OK(page->CheckLength());
  return page;
}

Result<std::unique_ptr<PageInflater>> OpenLz4Inflater(WindowedInput* input, int64_t size_bytes,
                                                      arrow::MemoryPool* pool) {
  auto page = std::make_unique<Lz4Page>(input, size_bytes);
  ARROW_RETURN_NOT_OK(page->Init(pool));
  return page;
}

}  // namespace partita
