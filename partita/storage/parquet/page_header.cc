#include "partita/storage/parquet/page_header.h"

#include <limits>

namespace partita {
namespace {

// Types of the compact protocol.
enum : int {
  kStop = 0,
  kTrue = 1,
  kFalse = 2,
  kByte = 3,
  kI16 = 4,
  kI32 = 5,
  kI64 = 6,
  kDouble = 7,
  kBinary = 8,
  kList = 9,
  kSet = 10,
  kMap = 11,
  kStruct = 12,
};

constexpr int kMaxDepth = 16;

// Walks over bytes. `ended`: the bytes were not enough; `bad`: they are no header.
class Cursor {
 public:
  explicit Cursor(std::string_view bytes) : bytes_(bytes) {}

  bool ended = false, bad = false;
  bool ok() const { return !ended && !bad; }
  int64_t position() const { return static_cast<int64_t>(at_); }

  uint8_t Byte() {
    if (at_ >= bytes_.size()) {
      ended = true;
      return 0;
    }
    return static_cast<uint8_t>(bytes_[at_++]);
  }

  uint64_t Varint() {
    uint64_t value = 0;
    for (int shift = 0; shift < 64; shift += 7) {
      const uint8_t byte = Byte();
      value |= static_cast<uint64_t>(byte & 0x7F) << shift;
      if ((byte & 0x80) == 0 || !ok()) return value;
    }
    bad = true;
    return 0;
  }

  int64_t Zigzag() {
    const uint64_t value = Varint();
    return static_cast<int64_t>(value >> 1) ^ -static_cast<int64_t>(value & 1);
  }

  void Advance(uint64_t size) {
    if (size > bytes_.size() - at_) {
      ended = true;
      return;
    }
    at_ += size;
  }

  // The type of the next field, kStop at the end of a struct. `id` is the last field's id.
  int Field(int* id) {
    const uint8_t byte = Byte();
    const int type = byte & 0x0F;
    if (!ok() || type == kStop) return kStop;
    const int delta = byte >> 4;
    const int64_t next = delta != 0 ? *id + delta : Zigzag();
    if (next < 0 || next > std::numeric_limits<int16_t>::max()) {
      bad = true;
      return kStop;
    }
    *id = static_cast<int>(next);
    return type;
  }

  void Skip(int type, int depth) {
    if (depth > kMaxDepth) bad = true;
    if (!ok()) return;
    switch (type) {
      case kTrue:
      case kFalse:
        break;
      case kByte:
        Advance(1);
        break;
      case kI16:
      case kI32:
      case kI64:
        Varint();
        break;
      case kDouble:
        Advance(8);
        break;
      case kBinary:
        Advance(Varint());
        break;
      case kList:
      case kSet:
        SkipList(depth);
        break;
      case kMap:
        SkipMap(depth);
        break;
      case kStruct: {
        int id = 0;
        while (const int field = Field(&id)) Skip(field, depth + 1);
        break;
      }
      default:
        bad = true;
    }
  }

 private:
  // Within lists and maps a boolean is a byte.
  static int Element(int type) { return type == kTrue || type == kFalse ? kByte : type; }

  void SkipList(int depth) {
    const uint8_t byte = Byte();
    uint64_t count = byte >> 4;
    if (count == 15) count = Varint();
    for (uint64_t i = 0; i < count && ok(); ++i) Skip(Element(byte & 0x0F), depth + 1);
  }

  void SkipMap(int depth) {
    const uint64_t count = Varint();
    if (count == 0) return;
    const uint8_t types = Byte();
    for (uint64_t i = 0; i < count && ok(); ++i) {
      Skip(Element(types >> 4), depth + 1);
      Skip(Element(types & 0x0F), depth + 1);
    }
  }

  std::string_view bytes_;
  size_t at_ = 0;
};

class HeaderReader {
 public:
  explicit HeaderReader(std::string_view bytes) : cursor_(bytes) {}

  Result<std::optional<PageHeader>> Read() {
    int id = 0;
    while (const int type = cursor_.Field(&id)) {
      switch (id) {
        case 1:
          Int(type, &header_.type);
          break;
        case 2:
          Int(type, &header_.uncompressed_bytes);
          break;
        case 3:
          Int(type, &header_.compressed_bytes);
          break;
        case 5:
        case 7:
        case 8:
          Inner(type, id);
          break;
        default:
          cursor_.Skip(type, 0);
      }
    }
    if (cursor_.bad) return Status::Invalid("a page header is no page header");
    if (cursor_.ended) return std::optional<PageHeader>();
    header_.header_bytes = cursor_.position();
    ARROW_RETURN_NOT_OK(Check());
    return std::optional<PageHeader>(header_);
  }

 private:
  void Int(int type, int32_t* out) {
    if (type != kI32) {
      cursor_.bad = true;
      return;
    }
    const int64_t value = cursor_.Zigzag();
    if (value < std::numeric_limits<int32_t>::min() || value > std::numeric_limits<int32_t>::max()) {
      cursor_.bad = true;
    }
    *out = static_cast<int32_t>(value);
  }

  // The headers of the kinds: 5 data, 7 dictionary, 8 data of version 2.
  void Inner(int type, int kind) {
    if (type != kStruct) {
      cursor_.bad = true;
      return;
    }
    int id = 0;
    while (const int field = cursor_.Field(&id)) {
      if (id == 1) {
        Int(field, &header_.num_values);
      } else if (id == (kind == 8 ? 4 : 2)) {
        Int(field, &header_.encoding);
      } else if (kind == 5 && id == 3) {
        Int(field, &header_.definition_encoding);
      } else if (kind == 5 && id == 4) {
        Int(field, &header_.repetition_encoding);
      } else if (kind == 8 && id == 5) {
        Int(field, &header_.definition_bytes);
      } else if (kind == 8 && id == 6) {
        Int(field, &header_.repetition_bytes);
      } else if (kind == 8 && id == 7) {
        header_.compressed = field == kTrue;
        if (field != kTrue && field != kFalse) cursor_.bad = true;
      } else {
        cursor_.Skip(field, 1);
      }
    }
  }

  Status Check() const {
    const auto& h = header_;
    if (h.type < 0 || h.uncompressed_bytes < 0 || h.compressed_bytes < 0 || h.num_values < 0 ||
        h.definition_bytes < 0 || h.repetition_bytes < 0) {
      return Status::Invalid("a page header lacks its type or a size, or claims a negative one");
    }
    if (h.levels_bytes() > h.uncompressed_bytes || h.levels_bytes() > h.compressed_bytes) {
      return Status::Invalid("the levels of a page are larger than the page");
    }
    return Status::OK();
  }

  Cursor cursor_;
  PageHeader header_;
};

}  // namespace

Result<std::optional<PageHeader>> ParsePageHeader(std::string_view bytes) {
  return HeaderReader(bytes).Read();
}

}  // namespace partita
