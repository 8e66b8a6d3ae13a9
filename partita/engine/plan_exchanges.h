// What a plan says of its exchanges: who writes each, and who reads it how. Pure.
#pragma once

#include <cstdint>
#include <vector>

#include "partita/dataset/run_directory.h"
#include "partita/plan/plan.h"

namespace partita {

// An output of a stage that feeds an exchange.
struct ExchangeWriter {
  int stage = 0;
  int output = 0;
  int input_index = 0;
};
std::vector<ExchangeWriter> WritersOf(const Plan& plan, int exchange);  // by input
std::vector<int> ExchangesReadBy(const Plan& plan, int stage);

// The exchange with the one that is read beside it, left first; alone where there is none.
std::vector<int> ReadTogether(const Plan& plan, int exchange);
// Who joins it by key with another, placed by the hash of keys and by position. Null: nobody.
const PlanSource* HashJoinOf(const Plan& plan, int exchange);
// The column by which an as-of join orders its rows; -1: nobody reads it so.
int OrderColumnOf(const Plan& plan, int exchange);

// What a committed task made: rows and logical bytes by output of its stage.
struct MadeRows {
  std::vector<int64_t> rows, bytes;
};
MadeRows MadeBy(const Plan& plan, const TaskCommit& commit);

}  // namespace partita
