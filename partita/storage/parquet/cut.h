// Where a Parquet file is cut. Internal to the room. Pure.
//
// Rows are handed to the encoder in units, and units make row groups; both are cut by rows and logical bytes
// counted from the row group's first row, with the rule of LogicalCutter. libparquet looks at page sizes and
// dictionaries only at steps counted from the start of what it is handed: equal units give equal bytes.
#pragma once

#include <cstdint>
#include <vector>

namespace partita {

// Part of the format of our files: changing them changes their bytes.
inline constexpr int64_t kUnitRows = 8 << 10;
inline constexpr int64_t kUnitBytes = 1 << 20;

struct WriteUnit {
  int64_t rows =
      0;  // of the rows given; the first unit also has what was left open before. May be 0: "cut before"
  int64_t bytes = 0;        // logical, with what was left open before
  bool complete = false;    // false: more rows may belong to it (the last one only)
  bool ends_group = false;  // the row group ends with it
};

// Copyable: a writer that takes nothing goes on with the copy it kept.
class UnitCutter {
 public:
  UnitCutter(int64_t max_group_rows, int64_t max_group_bytes, int64_t max_unit_rows = kUnitRows,
             int64_t max_unit_bytes = kUnitBytes)
      : group_{max_group_rows, max_group_bytes}, unit_{max_unit_rows, max_unit_bytes} {}

  std::vector<WriteUnit> Cut(const std::vector<int64_t>& row_bytes);

 private:
  struct Piece {
    int64_t max_rows, max_bytes;
    int64_t rows = 0, bytes = 0;
    bool CutsBefore(int64_t size) const {
      return rows > 0 && (bytes > max_bytes || size > max_bytes - bytes);
    }
    // Whatever comes next would be cut off: waiting for it would only keep memory.
    bool CutsAfter() const { return rows >= max_rows || bytes > max_bytes; }
    void Add(int64_t size) {
      ++rows;
      bytes += size;
    }
    void Clear() { rows = bytes = 0; }
  };

  Piece group_, unit_;
};

}  // namespace partita
