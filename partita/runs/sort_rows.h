// Sorting the rows of several batches by their keys, ties by place. In place: radix on the first eight bytes
// of the key (American flag sort, after McIlroy, Bostic, McIlroy, "Engineering Radix Sort", 1993),
// comparisons for what is left. Pure.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "partita/runs/row_key.h"

namespace partita {

struct SortItem {
  KeyPrefix key;
  uint32_t batch = 0;  // index in the list of batches
  uint32_t row = 0;
};

// Orders by (key, batch, row). `keys[batch]` has the whole encodings; its prefixes are not looked at.
void SortRows(std::span<SortItem> items, const std::vector<RowKeys>& keys);

}  // namespace partita
