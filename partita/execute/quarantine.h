// Quarantine: the rows a step could not take, with why and where from, in row order. One dataset folder a
// step; columns are the step's input columns, then
//   __step string, __kind string, __message string, __file string, __file_row int64, __stage int32,
//   __partition int64, __ordinal int64
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "partita/execute/ticket.h"
#include "partita/operator/scan.h"

namespace partita {

std::shared_ptr<arrow::Schema> QuarantineSchema(const arrow::Schema& input);
// `errors` of one node, in order.
Result<std::shared_ptr<arrow::RecordBatch>> QuarantineBatch(const std::vector<const RowError*>& errors,
                                                            const std::string& step, int stage,
                                                            int64_t partition, const Partition& scan,
                                                            arrow::MemoryPool* pool);

}  // namespace partita
