// Row keys: what rows are ordered, grouped and cut by, as bytes that compare like the rows (normalised keys,
// after Graefe, "Implementing Sorting in Database Systems", 2006). Encodings are prefix-free, so the first 16
// bytes decide most comparisons and two keys are equal exactly when their encodings are.
//
// Per column one byte says null or not, then the value: integers and times big-endian with the sign flipped;
// floats likewise on their bits, -0 as 0, all NaN as one value above infinity; decimals as integers; strings
// and binaries with 0x00 escaped and a terminator; descending columns inverted; dictionaries as the value
// they stand for, extensions as their storage.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "partita/base/digest.h"
#include "partita/base/error.h"

namespace arrow {
class Buffer;
class DataType;
class MemoryPool;
class RecordBatch;
class Schema;
}  // namespace arrow

namespace partita {

struct KeyColumn {
  int index = 0;  // of the schema
  bool descending = false;
  bool nulls_first = false;
};

struct KeyPrefix {
  uint64_t hi = 0, lo = 0;  // the encoding's first 16 bytes, zero-padded, big-endian
  auto operator<=>(const KeyPrefix&) const = default;
};

// The keys of one batch. Immutable; cheap to copy.
struct RowKeys {
  int64_t rows = 0;
  std::shared_ptr<arrow::Buffer> prefixes;  // KeyPrefix a row
  std::shared_ptr<arrow::Buffer> offsets,
      bytes;  // int64 offsets of whole encodings; null where none is longer than 16

  const KeyPrefix& prefix(int64_t row) const;
  // The whole encoding; empty where prefixes hold it.
  std::string_view whole(int64_t row) const;
  int64_t size_bytes() const;
};

// -1, 0, 1.
int CompareKeys(const RowKeys& a, int64_t i, const RowKeys& b, int64_t j);

// Thread-safe after Make.
class KeyEncoder {
 public:
  static Result<KeyEncoder> Make(const arrow::Schema& schema, std::vector<KeyColumn> columns);
  Result<RowKeys> Encode(const arrow::RecordBatch& batch, arrow::MemoryPool* pool) const;

 private:
  std::vector<KeyColumn> columns_;
};

// A bijection whose every bit depends on all bits: the finaliser of SplitMix64 (Steele, Lea, Flood 2014).
inline uint64_t MixBits(uint64_t x) {
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9ULL;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

// A 64-bit hash of a key, the same on every machine. `whole` as in RowKeys.
inline uint64_t HashKey(const KeyPrefix& prefix, std::string_view whole) {
  // An encoding hashes the same whether its batch has longer ones or not.
  if (whole.size() > 16) return Checksum64(whole.data(), static_cast<int64_t>(whole.size()));
  const uint64_t hash = MixBits(prefix.hi + 0x9e3779b97f4a7c15ULL);
  return MixBits(hash ^ MixBits(prefix.lo + 0xd1b54a32d192ed03ULL));
}
// The hash of each key, as keys of their own: hi is the hash, lo is 0. In place where nobody else has the
// keys.
Result<RowKeys> HashKeys(RowKeys keys, arrow::MemoryPool* pool);

// Keys of a random order: a keyed hash of (seed, input, partition, ordinal), of the rows of one partition.
class ShuffleKeys {
 public:
  ShuffleKeys(uint64_t seed, int64_t input, int64_t partition);
  uint64_t At(int64_t ordinal) const {
    return MixBits(partition_key_ + static_cast<uint64_t>(ordinal) * 0x9e3779b97f4a7c15ULL);
  }

 private:
  uint64_t partition_key_;
};
inline uint64_t ShuffleKey(uint64_t seed, int64_t input, int64_t partition, int64_t ordinal) {
  return ShuffleKeys(seed, input, partition).At(ordinal);
}

// Keys from 64-bit numbers.
Result<RowKeys> NumberKeys(std::span<const uint64_t> numbers, arrow::MemoryPool* pool);

}  // namespace partita
