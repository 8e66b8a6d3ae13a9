// The keys of rows that are grouped: the encodings and the hashes of runs/row_key.h, bit for bit, made column
// by column where the types are plain. Its memory is used again for the next batch. One thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

#include "partita/operator/aggregate_state.h"
#include "partita/runs/row_key.h"

namespace partita {

class GroupKeys {
 public:
  // `columns`: of the schema; all memory comes from `pool`.
  static Result<GroupKeys> Make(const arrow::Schema& schema, std::vector<int> columns,
                                std::shared_ptr<BudgetPool> pool);
  // The keys of these rows are what the other methods tell. After a refusal there are none.
  Status Encode(const arrow::RecordBatch& batch);

  int64_t rows() const { return rows_; }
  const KeyPrefix& prefix(int64_t row) const { return prefix_at_[row]; }
  uint64_t hash(int64_t row) const { return hashes_[static_cast<size_t>(row)]; }
  // The whole encoding where it is longer than 16 bytes, else nothing.
  std::string_view long_key(int64_t row) const {
    if (offset_at_ == nullptr) return {};
    const auto size = static_cast<size_t>(offset_at_[row + 1] - offset_at_[row]);
    if (size <= sizeof(KeyPrefix)) return {};
    return {reinterpret_cast<const char*>(byte_at_) + offset_at_[row], size};
  }
  bool has_long_keys() const { return offset_at_ != nullptr; }

 private:
  explicit GroupKeys(KeyEncoder encoder, std::vector<int> columns, std::shared_ptr<BudgetPool> pool);
  Status EncodeSlowly(const arrow::RecordBatch& batch);
  Status Hash();

  std::shared_ptr<BudgetPool> pool_;
  KeyEncoder encoder_;
  std::vector<int> columns_;

  int64_t rows_ = 0;
  // Of what Encode made, here or in `encoded_`.
  const KeyPrefix* prefix_at_ = nullptr;
  const int64_t* offset_at_ = nullptr;
  const uint8_t* byte_at_ = nullptr;
  RowKeys encoded_;
  GroupVector<KeyPrefix> prefixes_;
  GroupVector<int64_t> offsets_;
  GroupVector<uint8_t> bytes_;
  GroupVector<int64_t> places_;  // how much of each row's encoding is written
  GroupVector<uint64_t> hashes_;
};

}  // namespace partita
