// The exchange that keeps the order of rows: each task of a writing stage leaves one framed file, or, of few
// rows, keeps them in memory; reading tasks take row
// ranges of their concatenation in (input, partition) order. Serves gather and rebalance; the same files
// serve the local engine and `partita task`.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "partita/operator/operator.h"

namespace arrow {
class Schema;
}

namespace partita {

class ExchangeMemory;
class KeptRows;

// File name of one writing task's share.
std::string ExchangeFileName(int input_index, int64_t partition);

// One share, as committed. Shares are ordered by (input, partition).
struct ExchangeShare {
  std::string path;  // absolute
  int64_t rows = 0;
  std::shared_ptr<const KeptRows> kept = nullptr;  // instead of the file
};

// Writes `folder`/<name>.tmp-<attempt>; Finish names it as the task's OutputFile (temporary -> folder/name).
// `memory`: where few rows may stay; null: nowhere.
std::unique_ptr<Sink> MakeExchangeSink(Env* env, std::string folder, std::string name, std::string attempt,
                                       std::shared_ptr<arrow::Schema> schema,
                                       std::shared_ptr<ExchangeMemory> memory = nullptr);

// Reads rows [first_row, first_row + num_rows) of the concatenated shares. Ordinals count from 0.
std::unique_ptr<Source> MakeExchangeSource(std::vector<ExchangeShare> shares, int64_t first_row,
                                           int64_t num_rows);

}  // namespace partita
