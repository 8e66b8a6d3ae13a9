// What leaves two hash exchanges as a join: partition p of both is read side by side in the order of the
// hash, and the rows of both sides whose keys are equal are put together. Semantics: pipeline/join.h. Order:
// docs/decisions/0007-join-order.md.
//
// Memory: the windows of both sides (exchange/hash_side.h) and the block that is being made, however many
// rows a key has.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "partita/exchange/sorted_source.h"
#include "partita/operator/operator.h"
#include "partita/plan/plan.h"

namespace partita {

struct JoinSourceInit {
  Env* env = nullptr;
  const PlanSource* source = nullptr;  // with right_exchange
  const PlanExchange* left_exchange = nullptr;
  const PlanExchange* right_exchange = nullptr;
  std::shared_ptr<const SortedShares> left, right;
  int64_t partition = 0;
  std::string scratch;  // prefix of scratch files' paths, of this attempt alone
  int64_t hold_bytes = 64 << 20;
};
Result<std::unique_ptr<Source>> MakeJoinSource(JoinSourceInit init);

}  // namespace partita
