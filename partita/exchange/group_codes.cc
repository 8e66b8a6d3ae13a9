#include "partita/exchange/group_codes.h"

#include <arrow/api.h>

#include <algorithm>
#include <cstring>

#include "partita/runs/interleave.h"

namespace partita {
namespace {

// Combinations that are remembered, at most, and for each row that is looked at.
constexpr int64_t kMostCodes = 256 << 10;
constexpr int64_t kCodesPerRow = 32;

constexpr uint32_t kNew = uint32_t{1} << 31;

// Appends the digit of a column to each row's code, which before the first one is 0; a digit of 0 is null.
template <bool kFirst>
void AddDigits(const arrow::Array& column, uint32_t base, std::span<uint32_t> codes) {
  typedef uint32_t Lanes __attribute__((vector_size(16)));
  constexpr size_t kLanes = sizeof(Lanes) / sizeof(uint32_t);
  const auto* indices = column.data()->GetValues<uint32_t>(1);
  const bool no_nulls = column.null_count() == 0;
  size_t i = 0;
  for (; no_nulls && i + kLanes <= codes.size(); i += kLanes) {
    Lanes code = {}, digit;
    std::memcpy(&digit, indices + i, sizeof(digit));
    if (!kFirst) std::memcpy(&code, &codes[i], sizeof(code));
    code = code * base + digit + 1;
    std::memcpy(&codes[i], &code, sizeof(code));
  }
  for (; i < codes.size(); ++i) {
    const uint32_t digit = column.IsNull(static_cast<int64_t>(i)) ? 0 : indices[i] + 1;
    codes[i] = kFirst ? digit : codes[i] * base + digit;
  }
}

}  // namespace

GroupCodes::GroupCodes(std::shared_ptr<arrow::Schema> schema, const std::shared_ptr<BudgetPool>& pool)
    : schema_(std::move(schema)), codes_(pool), known_(pool) {}

bool GroupCodes::IsEncoded(const arrow::ArrayVector& columns, size_t column) const {
  return columns[column]->type_id() == arrow::Type::DICTIONARY &&
         schema_->field(static_cast<int>(column))->type()->id() != arrow::Type::DICTIONARY;
}

Result<bool> GroupCodes::Read(const arrow::ArrayVector& columns) {
  if (columns.empty()) return false;
  const int64_t rows = columns[0]->length();
  int64_t combinations = 1;
  for (size_t c = 0; c < columns.size(); ++c) {
    if (!IsEncoded(columns, c)) return false;
    combinations *= columns[c]->data()->dictionary->length + 1;
    if (combinations > std::min(kMostCodes, kCodesPerRow * rows)) return false;
  }
  const bool same = std::equal(columns.begin(), columns.end(), dictionaries_.begin(), dictionaries_.end(),
                               [](const auto& a, const auto& b) { return a->data()->dictionary == b; });
  if (!same) {
    Forget();
    ARROW_RETURN_NOT_OK(known_.Resize(static_cast<size_t>(combinations)));
    for (const auto& column : columns) dictionaries_.push_back(column->data()->dictionary);
  }
  ARROW_RETURN_NOT_OK(codes_.Reserve(static_cast<size_t>(rows)));
  codes_.SetSize(static_cast<size_t>(rows));
  const std::span<uint32_t> codes(codes_.begin(), codes_.size());
  AddDigits<true>(*columns[0], 0, codes);
  for (size_t c = 1; c < columns.size(); ++c) {
    AddDigits<false>(*columns[c], static_cast<uint32_t>(columns[c]->data()->dictionary->length + 1), codes);
  }
  return true;
}

void GroupCodes::Find(std::span<uint32_t> groups, GroupVector<uint32_t>* unknown) {
  unknown->SetSize(0);
  const uint32_t* codes = codes_.begin();
  uint32_t* known = known_.begin();
  // Mostly all are known: that shows in what was found, without a question to each row.
  uint32_t any = 0;
#pragma GCC unroll 4
  for (size_t i = 0; i < groups.size(); ++i) {
    groups[i] = known[codes[i]] - 1;
    any |= groups[i];
  }
  if ((any & kNew) == 0) return;
  for (size_t i = 0; i < groups.size(); ++i) {
    uint32_t& entry = known[codes[i]];
    if (entry == 0) {
      entry = kNew + static_cast<uint32_t>(unknown->size());
      unknown->PushBack(static_cast<uint32_t>(i));
    }
    groups[i] = entry - 1;
  }
}

void GroupCodes::Learn(std::span<const uint32_t> found, std::span<uint32_t> groups,
                       const GroupVector<uint32_t>& unknown) {
  for (size_t i = 0; i < found.size(); ++i) known_[codes_[unknown[i]]] = found[i] + 1;
  for (size_t i = 0; i < groups.size(); ++i) groups[i] = known_[codes_[i]] - 1;
}

void GroupCodes::Forget() {
  dictionaries_.clear();
  known_.SetSize(0);
}

Result<std::shared_ptr<arrow::RecordBatch>> GroupCodes::Plain(const arrow::ArrayVector& columns,
                                                              std::span<const uint32_t> rows,
                                                              arrow::MemoryPool* pool) const {
  const int64_t all = columns.empty() ? 0 : columns[0]->length();
  const int64_t length = rows.empty() ? all : static_cast<int64_t>(rows.size());
  arrow::ArrayVector plain(columns.size());
  std::vector<RowPick> picks(static_cast<size_t>(length));
  for (size_t c = 0; c < columns.size(); ++c) {
    const bool encoded = IsEncoded(columns, c);
    if (!encoded && rows.empty()) {
      plain[c] = columns[c];
      continue;
    }
    const auto& column = *columns[c];
    const auto* indices = encoded ? column.data()->GetValues<uint32_t>(1) : nullptr;
    for (size_t i = 0; i < picks.size(); ++i) {
      const auto row = rows.empty() ? static_cast<uint32_t>(i) : rows[i];
      picks[i] = !encoded ? RowPick{0, row} : column.IsNull(row) ? kNullRow : RowPick{0, indices[row]};
    }
    const auto values =
        encoded ? static_cast<const arrow::DictionaryArray&>(column).dictionary() : columns[c];
    const auto schema = arrow::schema({schema_->field(static_cast<int>(c))});
    const std::vector<std::shared_ptr<arrow::RecordBatch>> from = {
        arrow::RecordBatch::Make(schema, values->length(), {values})};
    ARROW_ASSIGN_OR_RAISE(const auto batch, Interleave(schema, from, picks, pool));
    plain[c] = batch->column(0);
  }
  return arrow::RecordBatch::Make(schema_, length, std::move(plain));
}

}  // namespace partita
