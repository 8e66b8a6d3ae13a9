// JsonFields of json_columns.h.
#include <arrow/array.h>
#include <arrow/type.h>

#include <utility>

#include "partita/storage/json/columns.h"

namespace partita {

Result<std::unique_ptr<JsonFields>> JsonFields::Make(const std::vector<std::shared_ptr<arrow::Field>>& fields,
                                                     arrow::MemoryPool* pool, int depth) {
  auto out = std::make_unique<JsonFields>();
  for (const auto& field : fields) {
    auto column = JsonColumn::Make(field->type(), pool, depth);
    if (!column.ok()) {
      return column.status().WithMessage("column '", field->name(), "': ", column.status().message());
    }
    out->names_.push_back(field->name());
    out->columns_.push_back(std::move(*column));
  }
  out->seen_.resize(fields.size(), 0);
  return out;
}

int JsonFields::Find(std::string_view name) {
  const size_t count = names_.size();
  for (size_t step = 0; step < count; ++step) {
    const size_t i = expected_ + step < count ? expected_ + step : expected_ + step - count;
    if (names_[i] == name) {
      expected_ = i + 1 < count ? i + 1 : 0;
      return static_cast<int>(i);
    }
  }
  return -1;
}

Status JsonFields::Append(JsonReader* reader, int depth) {
  ++row_;
  size_t found = 0;
  ARROW_RETURN_NOT_OK(reader->Enter('{'));
  while (true) {
    ARROW_ASSIGN_OR_RAISE(const bool more, reader->More('}'));
    if (!more) break;
    ARROW_ASSIGN_OR_RAISE(const std::string_view name, reader->TakeKey());
    const int index = Find(name);
    if (index < 0) {
      ARROW_RETURN_NOT_OK(reader->TakeRaw(depth + 1));
      continue;
    }
    const auto i = static_cast<size_t>(index);
    if (std::exchange(seen_[i], row_) == row_)
      return DataError("the name '" + names_[i] + "' occurs twice in one object");
    ++found;
    const Status status = columns_[i]->Append(reader, depth + 1);
    if (status.ok()) continue;
    if (KindOf(status) != ErrorKind::kData) return status;
    const auto* detail = DetailOf(status);
    std::string hint = detail ? detail->context.hint : "";
    return DataError(
        "'" + names_[i] + "': " + MessageOf(status),
        hint.empty() ? "set column_types to a type that fits all rows, for example string" : hint);
  }
  if (found == columns_.size()) return Status::OK();
  for (size_t i = 0; i < columns_.size(); ++i) {
    if (seen_[i] != row_) ARROW_RETURN_NOT_OK(columns_[i]->AppendNull());
  }
  return Status::OK();
}

Status JsonFields::AppendNulls() {
  for (auto& column : columns_) ARROW_RETURN_NOT_OK(column->AppendNull());
  return Status::OK();
}

void JsonFields::Reset() {
  for (auto& column : columns_) column->Reset();
}

Result<std::vector<std::shared_ptr<arrow::Array>>> JsonFields::Finish() {
  std::vector<std::shared_ptr<arrow::Array>> arrays;
  for (auto& column : columns_) {
    ARROW_ASSIGN_OR_RAISE(auto array, column->Finish());
    arrays.push_back(std::move(array));
  }
  return arrays;
}

}  // namespace partita
