// How one column of a row key is written. Private to the keys.
#pragma once

#include <cstdint>
#include <memory>

#include "partita/runs/row_key.h"

namespace arrow {
class Array;
}

namespace partita {

// One key column of a batch. Rows are written column by column, a slice of rows at a time, so that the type
// is looked at once a slice and what is written stays near.
class KeyWriter {
 public:
  virtual ~KeyWriter() = default;
  // Of every row's encoding, null or not; -1: they differ.
  int64_t width() const { return nulls_ || value_width() < 0 ? -1 : 1 + value_width(); }
  // Adds the lengths of rows [begin, end) to lengths[0..].
  virtual void AddLengths(int64_t begin, int64_t end, int64_t* lengths) const = 0;
  // Writes them at out[0..], which then stand behind them.
  virtual void Write(int64_t begin, int64_t end, uint8_t** out) const = 0;
  // The same for encodings of at most 16 bytes in all, straight into prefixes[0..], of which sizes[0..] bytes
  // are there.
  virtual void AddToPrefixes(int64_t begin, int64_t end, uint8_t* sizes, KeyPrefix* prefixes) const = 0;

  // A value alone, not null.
  virtual int64_t value_width() const = 0;  // -1: they differ
  virtual int64_t LengthOf(int64_t row) const = 0;
  virtual uint8_t* Put(int64_t row, uint8_t* out) const = 0;

  void SetOrder(std::shared_ptr<arrow::Array> array, const KeyColumn& key);

 protected:
  std::shared_ptr<arrow::Array> array_;  // whose nulls count
  bool nulls_ = false, invert_ = false;
  uint8_t null_marker_ = 2;
};

// Values and nulls of `array`, in the order of `key`. A user error where the type cannot be a key.
Result<std::shared_ptr<KeyWriter>> MakeKeyWriter(std::shared_ptr<arrow::Array> array, const KeyColumn& key);

}  // namespace partita
