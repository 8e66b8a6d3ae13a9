// The keys of rows that are grouped, with their hashes. One thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "partita/operator/aggregate/state.h"
#include "partita/runs/row_key.h"

namespace partita {

class GroupKeys {
 public:
  // `columns`: of the schema; all memory comes from `pool`.
  static Result<GroupKeys> Make(const arrow::Schema& schema, const std::vector<int>& columns,
                                std::shared_ptr<BudgetPool> pool);
  // The keys of these rows are what the other methods tell. After a refusal there are none.
  Status Encode(const arrow::RecordBatch& batch);

  int64_t rows() const { return keys_.rows; }
  const KeyPrefix& prefix(int64_t row) const { return prefixes_[row]; }
  uint64_t hash(int64_t row) const { return hashes_[static_cast<size_t>(row)]; }  // of HashKeys
  // The whole encoding where it is longer than 16 bytes, else nothing.
  std::string_view long_key(int64_t row) const {
    const auto whole = keys_.whole(row);
    return whole.size() > sizeof(KeyPrefix) ? whole : std::string_view();
  }
  bool has_long_keys() const { return keys_.offsets != nullptr; }

 private:
  GroupKeys(KeyEncoder encoder, std::shared_ptr<BudgetPool> pool);

  std::shared_ptr<BudgetPool> pool_;
  KeyEncoder encoder_;
  RowKeys keys_;
  const KeyPrefix* prefixes_ = nullptr;  // of keys_
  GroupVector<uint64_t> hashes_;
};

}  // namespace partita
