// Whether rows of two inputs have equal keys, as joins ask it: rows whose keys have one hash are compared in
// full. Equality is that of row keys (NaN equals NaN, -0 equals 0); nulls are told apart by `HasNull`. Values
// whose bytes are equal exactly when they are (integers, times, decimals, strings) are compared where they
// stand; others by their encoding.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "partita/runs/row_key.h"

namespace partita {

// The key columns of one batch, ready to be compared. Points into the batch, which must outlive it.
struct MatchKeys {
  struct Column {
    const uint8_t* validity = nullptr;  // null: no nulls
    const uint8_t* values = nullptr;
    const int32_t* offsets = nullptr;        // strings and binaries
    const int64_t* large_offsets = nullptr;  // large ones
    int64_t offset = 0;                      // of validity
    int64_t width = 0;                       // of fixed-width values
  };
  std::vector<Column> columns;
  RowKeys encoded;          // where bytes do not decide; else empty
  std::vector<bool> nulls;  // then: rows with a null key; empty: none
  bool may_have_nulls = false;

  bool HasNull(int64_t row) const { return may_have_nulls && HasNullAt(row); }
  bool HasNullAt(int64_t row) const;
};

// Thread-safe after Make.
class KeyMatcher {
 public:
  // The types of `columns` must be the same on both sides of a match.
  static Result<KeyMatcher> Make(const arrow::Schema& schema, std::vector<int> columns);
  Result<MatchKeys> Prepare(const arrow::RecordBatch& batch, arrow::MemoryPool* pool) const;
  const KeyEncoder& encoder() const { return *encoder_; }

 private:
  std::vector<int> columns_;
  std::shared_ptr<const KeyEncoder> encoder_;
  bool by_bytes_ = false;
};

// Both from matchers of one list of types. Rows with nulls are equal to nothing: ask HasNull first.
bool AllKeysMatch(const MatchKeys& a, int64_t i, const MatchKeys& b, int64_t j);
inline bool KeysMatch(const MatchKeys& a, int64_t i, const MatchKeys& b, int64_t j) {
  if (a.columns.size() != 1 || a.columns[0].width != 8) return AllKeysMatch(a, i, b, j);
  uint64_t x = 0, y = 0;
  std::memcpy(&x, a.columns[0].values + i * 8, 8);
  std::memcpy(&y, b.columns[0].values + j * 8, 8);
  return x == y;
}
// As KeysMatch, but nulls are equal to each other, as groups ask it.
bool SameKeys(const MatchKeys& a, int64_t i, const MatchKeys& b, int64_t j);
// The same for keys that match, and on every machine; not the hash that places rows (HashKeys).
uint64_t MatchHash(const MatchKeys& keys, int64_t row);
// Those of rows from `begin` on; of rows with a null in their key, anything.
void MatchHashes(const MatchKeys& keys, int64_t begin, std::span<uint64_t> hashes);

}  // namespace partita
