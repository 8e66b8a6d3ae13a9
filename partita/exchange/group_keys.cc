#include "partita/exchange/group_keys.h"

#include <arrow/buffer.h>

namespace partita {

GroupKeys::GroupKeys(KeyEncoder encoder, std::shared_ptr<BudgetPool> pool)
    : pool_(pool), encoder_(std::move(encoder)), hashes_(pool) {}

Result<GroupKeys> GroupKeys::Make(const arrow::Schema& schema, const std::vector<int>& columns,
                                  std::shared_ptr<BudgetPool> pool) {
  std::vector<KeyColumn> keys;
  for (const int column : columns) keys.push_back({column, false, false});
  ARROW_ASSIGN_OR_RAISE(auto encoder, KeyEncoder::Make(schema, std::move(keys)));
  return GroupKeys(std::move(encoder), std::move(pool));
}

Status GroupKeys::Encode(const arrow::RecordBatch& batch) {
  keys_ = {};
  const auto rows = static_cast<size_t>(batch.num_rows());
  ARROW_RETURN_NOT_OK(hashes_.Reserve(rows));
  hashes_.SetSize(rows);
  ARROW_ASSIGN_OR_RAISE(keys_, encoder_.Encode(batch, pool_.get()));
  prefixes_ = reinterpret_cast<const KeyPrefix*>(keys_.prefixes->data());
  for (int64_t row = 0; row < keys_.rows; ++row)
    hashes_[static_cast<size_t>(row)] = HashKey(prefixes_[row], keys_.whole(row));
  return Status::OK();
}

}  // namespace partita
