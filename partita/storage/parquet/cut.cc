#include "partita/storage/parquet/cut.h"

namespace partita {

std::vector<WriteUnit> UnitCutter::Cut(const std::vector<int64_t>& row_bytes) {
  std::vector<WriteUnit> units;
  WriteUnit open;
  auto end_unit = [&](bool ends_group) {
    open.bytes = unit_.bytes;
    open.complete = true;
    open.ends_group = ends_group;
    units.push_back(open);
    open = WriteUnit();
    unit_.Clear();
    if (ends_group) group_.Clear();
  };
  for (const int64_t size : row_bytes) {
    if (group_.CutsBefore(size)) {
      end_unit(true);
    } else if (unit_.CutsBefore(size)) {
      end_unit(false);
    }
    ++open.rows;
    unit_.Add(size);
    group_.Add(size);
    if (group_.CutsAfter()) {
      end_unit(true);
    } else if (unit_.CutsAfter()) {
      end_unit(false);
    }
  }
  if (open.rows > 0) {
    open.bytes = unit_.bytes;
    units.push_back(open);
  }
  return units;
}

}  // namespace partita
