// The writing side of a hash exchange whose reader aggregates: rows become states of groups in a hash table,
// and what the table holds leaves as a run sorted by the hash of the keys, one row a group, when it fills its
// share of the budget, when memory is refused, and at the end. Within a run groups with equal hashes stand in
// the order of their first rows, and runs follow the rows: so whoever merges them meets each group first
// where its first row was.
//
// Where keys seldom repeat (seen in the first rows of a run) the table is not asked, and each row is a group
// of its own: what comes out is the same.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "partita/exchange/group_states.h"
#include "partita/operator/operator.h"

namespace partita {

class ExchangeMemory;
class GroupStretches;

struct GroupSinkInit {
  Env* env = nullptr;
  const GroupStates* states = nullptr;  // outlives the sink
  std::string folder, name, attempt;    // writes `folder`/<name>.tmp-<attempt>
  int64_t hold_bytes = 64 << 20;
  int64_t cached_bytes = INT64_MAX;                  // of the file (WriteOptions)
  int64_t most_kept_bytes = INT64_MAX;               // a larger share is a file
  std::shared_ptr<ExchangeMemory> memory = nullptr;  // where runs may stay; null: in the file
  // Of tasks whose tables outlive them, where there is `memory`; outlives the sink.
  GroupStretches* stretches = nullptr;
  int64_t partition = 0;  // of the stage that writes
};
Result<std::unique_ptr<Sink>> MakeGroupSink(GroupSinkInit init);

}  // namespace partita
