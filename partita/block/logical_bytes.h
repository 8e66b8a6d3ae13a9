// Logical bytes: the size of a row's values, one definition, the same whatever the slices, offsets,
// dictionaries or view layout. All semantic cuts (row groups, files, shards) use it. Pure.
//
//   boolean 1; fixed-width types their byte width (null or not); string/binary of any offset width 4 + length
//   (null: 4); list/map 4 + its elements (null: 4); fixed-size list its elements (null: as if present with
//   null elements); struct its children (null: as if all were null); dictionary the value it stands for;
//   extension its storage; null type 0; union 1 + the active child; run-end encoded the value it stands for.
//   What lies hidden behind a null never counts.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "partita/base/error.h"

namespace arrow {
class Array;
class RecordBatch;
}  // namespace arrow

namespace partita {

// Adds the size of each row of `array` to sizes[i]; sizes.size() == array.length().
Status AddLogicalBytes(const arrow::Array& array, std::vector<int64_t>* sizes);
// Per row, all columns.
Result<std::vector<int64_t>> RowLogicalBytes(const arrow::RecordBatch& batch);
// Sum over all rows; O(columns) where types allow.
Result<int64_t> LogicalBytes(const arrow::RecordBatch& batch);

// Cuts a stream of rows into pieces by rows and logical bytes: a piece ends before the row that would take it
// past max_bytes (a single larger row is a piece of its own), or when it has max_rows. Independent of how the
// rows were batched.
class LogicalCutter {
 public:
  // 0 or less: no limit.
  LogicalCutter(int64_t max_rows, int64_t max_bytes);
  // Lengths in which `batch` must be cut: each piece but the last is followed by a cut; `ends_with_cut` tells
  // of the last.
  struct Cuts {
    std::vector<int64_t> lengths;  // sum = num_rows; first may be 0: "cut before the first row"
    bool ends_with_cut = false;
  };
  Result<Cuts> Next(const arrow::RecordBatch& batch);
  int64_t rows_in_piece() const { return rows_; }

 private:
  void CutByRows(int64_t rows, Cuts* cuts);

  int64_t max_rows_, max_bytes_, rows_ = 0, bytes_ = 0;
};

}  // namespace partita
