#include "partita/storage/parquet/runs.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <utility>

namespace partita {
namespace {

static_assert(std::endian::native == std::endian::little, "packed values are read as they are");

// From this length on a list's levels are shorter as a group of eight and a repeat.
constexpr int64_t kRepeatLength = 16;
constexpr int64_t kMostHeadBytes = 5;  // of a run, before its values

void AppendVarint(uint64_t value, std::string* out) {
  for (; value > 0x7F; value >>= 7) out->push_back(static_cast<char>((value & 0x7F) | 0x80));
  out->push_back(static_cast<char>(value));
}

uint8_t* PutVarint(uint64_t value, uint8_t* out) {
  for (; value > 0x7F; value >>= 7) *out++ = static_cast<uint8_t>((value & 0x7F) | 0x80);
  *out++ = static_cast<uint8_t>(value);
  return out;
}

// How many values are as the first; fewer than eight are not counted.
int64_t RepeatsOf(const uint32_t* values, int64_t count) {
  if (count < 8) return 0;
  uint32_t differ = 0;
  for (int i = 1; i < 8; ++i) differ |= values[i] ^ values[0];
  if (differ != 0) return 0;
  int64_t same = 8;
  while (same < count && values[same] == values[0]) ++same;
  return same;
}

// A run of bit-packed groups; zeros fill the last one. Nothing of no values.
uint8_t* PutPacked(const uint32_t* values, int64_t count, int bit_width, uint8_t* out) {
  if (count == 0) return out;
  const int64_t groups = (count + 7) / 8;
  out = PutVarint((static_cast<uint64_t>(groups) << 1) | 1, out);
  uint8_t* const end = out + groups * bit_width;
  uint64_t word = 0;
  int bits = 0;
  for (int64_t i = 0; i < count; ++i) {
    word |= static_cast<uint64_t>(values[i]) << bits;
    bits += bit_width;
    if (bits < 32) continue;
    const auto full = static_cast<uint32_t>(word);
    std::memcpy(out, &full, sizeof(full));
    out += sizeof(full);
    word >>= 32;
    bits -= 32;
  }
  for (; out < end; word >>= 8) *out++ = static_cast<uint8_t>(word);
  return out;
}

// Up to eight bytes, the rest 0.
uint64_t LoadWord(const uint8_t* from, int64_t bytes) {
  uint64_t word = 0;
  std::memcpy(&word, from, static_cast<size_t>(std::min<int64_t>(bytes, sizeof(word))));
  return word;
}

// Values from `first` on, one after the other.
void UnpackOnes(const uint8_t* packed, const uint8_t* end, int bit_width, int64_t first, int64_t count,
                uint32_t* out) {
  const uint64_t mask = (uint64_t{1} << bit_width) - 1;
  int64_t bit = first * bit_width;
  for (int64_t i = 0; i < count; ++i, bit += bit_width) {
    const uint8_t* from = packed + bit / 8;
    out[i] = static_cast<uint32_t>((LoadWord(from, end - from) >> (bit % 8)) & mask);
  }
}

// One group of eight values: all shifts are constants. Reads a word, eight bytes, from where a value begins.
template <int kBits, size_t... kAt>
void UnpackGroup(const uint8_t* from, uint32_t* out, std::index_sequence<kAt...>) {
  constexpr uint64_t kMask = (uint64_t{1} << kBits) - 1;
  if constexpr (kBits <= 8) {
    const uint64_t word = LoadWord(from, sizeof(uint64_t));
    ((out[kAt] = static_cast<uint32_t>((word >> (kAt * kBits)) & kMask)), ...);
  } else {
    ((out[kAt] = static_cast<uint32_t>(
          (LoadWord(from + kAt * kBits / 8, sizeof(uint64_t)) >> (kAt * kBits % 8)) & kMask)),
     ...);
  }
}

template <int kBits>
void UnpackGroups(const uint8_t* from, int64_t groups, uint32_t* out) {
  for (; groups > 0; --groups, from += kBits, out += 8)
    UnpackGroup<kBits>(from, out, std::make_index_sequence<8>());
}

template <int... kBits>
constexpr auto UnpackTable(std::integer_sequence<int, kBits...>) {
  return std::array{&UnpackGroups<kBits + 1>...};
}
constexpr auto kUnpackGroups = UnpackTable(std::make_integer_sequence<int, kMostRunBits>());

// Eight values are bit_width bytes: whether all groups are the same as the first, and that one is right.
bool IsConstantPacked(const Run& run, int bit_width, int64_t count, uint32_t value) {
  uint8_t group[kMostRunBits] = {};
  for (int bit = 0; bit < 8 * bit_width; ++bit) {
    group[bit / 8] |= static_cast<uint8_t>(((value >> (bit % bit_width)) & 1) << (bit % 8));
  }
  const auto width = static_cast<size_t>(bit_width);
  const auto full = static_cast<size_t>(count / 8);
  if (full > 0) {
    if (std::memcmp(run.packed, group, width) != 0) return false;
    if (std::memcmp(run.packed, run.packed + width, (full - 1) * width) != 0) return false;
  }
  const int64_t rest_bits = count % 8 * bit_width;
  for (int64_t bit = 0; bit < rest_bits; ++bit) {
    const uint8_t differs = run.packed[full * width + static_cast<size_t>(bit / 8)] ^ group[bit / 8];
    if ((differs >> (bit % 8)) & 1) return false;
  }
  return true;
}

// `next` is how far the next 0 is.
bool ArePackedStarts(const uint8_t* packed, int64_t count, int64_t next, int64_t length) {
  for (int64_t done = 0; done < count; done += 64) {
    const int64_t bits = std::min<int64_t>(64, count - done);
    uint64_t expected = ~uint64_t{0};
    for (; next < bits; next += length) expected &= ~(uint64_t{1} << next);
    next -= bits;
    const uint64_t mask = bits == 64 ? ~uint64_t{0} : (uint64_t{1} << bits) - 1;
    const uint8_t* from = packed + done / 8;
    const uint64_t word = bits == 64 ? LoadWord(from, 8) : LoadWord(from, (bits + 7) / 8);
    if (((word ^ expected) & mask) != 0) return false;
  }
  return true;
}

}  // namespace

Status RunReader::Open() {
  const auto ends = [] { return Status::Invalid("levels or indices end before their values"); };
  uint64_t header = 0;
  for (int shift = 0;; shift += 7) {
    if (at_ >= bytes_.size()) return ends();
    if (shift > 28) return Status::Invalid("a run of levels or indices is too long");
    const auto byte = static_cast<uint8_t>(bytes_[at_++]);
    header |= static_cast<uint64_t>(byte & 0x7F) << shift;
    if ((byte & 0x80) == 0) break;
  }
  const auto count = static_cast<int64_t>(header >> 1);
  if (count == 0) return Status::Invalid("a run of no levels or indices");
  const size_t left = bytes_.size() - at_;
  const auto* data = reinterpret_cast<const uint8_t*>(bytes_.data()) + at_;
  open_ = Run();
  if ((header & 1) != 0) {
    const auto bytes = static_cast<size_t>(count) * static_cast<size_t>(bit_width_);
    if (bytes > left) return ends();
    open_.packed = data;
    open_.count = count * 8;
    at_ += bytes;
    return Status::OK();
  }
  const auto bytes = static_cast<size_t>((bit_width_ + 7) / 8);
  if (bytes > left) return ends();
  std::memcpy(&open_.value, data, bytes);
  open_.count = count;
  at_ += bytes;
  return Status::OK();
}

Result<Run> RunReader::Take(int64_t most) {
  if (open_.count == 0) ARROW_RETURN_NOT_OK(Open());
  Run run = open_;
  run.count = std::min(run.count, most);
  open_.first += run.count;
  open_.count -= run.count;
  return run;
}

void RunReader::Unpack(const Run& run, uint32_t* out) const {
  const auto* end = reinterpret_cast<const uint8_t*>(bytes_.data()) + bytes_.size();
  // Whole groups, those behind which a word can be loaded, and what is before and behind them one by one.
  const int64_t head = std::min(run.count, (8 - run.first % 8) % 8);
  UnpackOnes(run.packed, end, bit_width_, run.first, head, out);
  const uint8_t* from = run.packed + (run.first + head) / 8 * bit_width_;
  const int64_t safe = std::max<int64_t>(0, end - from - int64_t{sizeof(uint64_t)}) / bit_width_;
  const int64_t groups = std::min((run.count - head) / 8, safe);
  if (groups > 0) kUnpackGroups[static_cast<size_t>(bit_width_ - 1)](from, groups, out + head);
  const int64_t done = head + 8 * groups;
  UnpackOnes(run.packed, end, bit_width_, run.first + done, run.count - done, out + done);
}

bool IsConstant(std::string_view runs, int bit_width, int64_t count, uint32_t value) {
  RunReader reader(runs, bit_width);
  while (count > 0) {
    const auto run = reader.Take(count);
    if (!run.ok()) return false;
    if (run->packed == nullptr ? run->value != value
                               : !IsConstantPacked(*run, bit_width, run->count, value)) {
      return false;
    }
    count -= run->count;
  }
  return true;
}

bool AreListStarts(std::string_view runs, int64_t count, int64_t position, int64_t length) {
  RunReader reader(runs, 1);
  int64_t next = (length - position % length) % length;  // how far the next list is
  while (count > 0) {
    const auto run = reader.Take(count);
    if (!run.ok()) return false;
    if (run->packed != nullptr) {
      if (!ArePackedStarts(run->packed, run->count, next, length)) return false;
    } else if (run->value == 1) {
      if (next < run->count) return false;
    } else if (run->value != 0 || next != 0 || (run->count > 1 && length > 1)) {
      return false;
    }
    count -= run->count;
    if (next >= run->count) {
      next -= run->count;
    } else {
      next = (length - (run->count - next) % length) % length;
    }
  }
  return true;
}

std::string ConstantRun(int64_t count, uint8_t value) {
  std::string out;
  AppendVarint(static_cast<uint64_t>(count) << 1, &out);
  out.push_back(static_cast<char>(value));
  return out;
}

std::string PackedHead(int64_t groups) {
  std::string out;
  AppendVarint((static_cast<uint64_t>(groups) << 1) | 1, &out);
  return out;
}

std::string ListStarts(int64_t lists, int64_t length) {
  if (length == 1) return ConstantRun(lists, 0);
  std::string out;
  if (length >= kRepeatLength) {
    std::string list = "\x03\xFE";  // one group: 0, then seven times 1
    list += ConstantRun(length - 8, 1);
    for (int64_t i = 0; i < lists; ++i) out += list;
    return out;
  }
  const int64_t count = lists * length;
  const int64_t groups = (count + 7) / 8;
  out = PackedHead(groups);
  const size_t begin = out.size();
  out.append(static_cast<size_t>(groups), '\xFF');
  for (int64_t i = 0; i < count; i += length) {
    char& byte = out[begin + static_cast<size_t>(i / 8)];
    byte = static_cast<char>(byte & ~(1 << (i % 8)));
  }
  return out;
}

int64_t MostRunBytes(int64_t count, int bit_width) {
  return ((count + 7) / 8 + 1) * (bit_width + kMostHeadBytes + static_cast<int64_t>(sizeof(uint32_t)));
}

int64_t EncodeRuns(const uint32_t* values, int64_t count, int bit_width, uint8_t* out) {
  uint8_t* const begin = out;
  int64_t packed = 0;  // from there on values are not written yet
  int64_t at = 0;
  while (at < count) {
    const int64_t same = RepeatsOf(values + at, count - at);
    if (same < 8) {
      at += 8;  // a group
      continue;
    }
    out = PutPacked(values + packed, at - packed, bit_width, out);
    out = PutVarint(static_cast<uint64_t>(same) << 1, out);
    for (int bit = 0; bit < bit_width; bit += 8) *out++ = static_cast<uint8_t>(values[at] >> bit);
    at += same;
    packed = at;
  }
  out = PutPacked(values + packed, count - packed, bit_width, out);
  return out - begin;
}

}  // namespace partita
