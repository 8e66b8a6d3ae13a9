// Arrays and batches from JSON text, for this room's tests.
#pragma once

#include <arrow/api.h>
#include <arrow/json/from_string.h>

#include <string>
#include <utility>
#include <vector>

#include "partita/block/schema.h"

namespace partita {

struct TestColumn {
  std::string name, type, values;
};

inline std::shared_ptr<arrow::Array> TestArray(const std::string& type, const std::string& values) {
  return arrow::json::ArrayFromJSONString(ParseType(type).ValueOrDie(), values).ValueOrDie();
}

inline std::shared_ptr<arrow::RecordBatch> TestRows(const std::vector<TestColumn>& columns) {
  arrow::FieldVector fields;
  arrow::ArrayVector arrays;
  for (const auto& column : columns) {
    arrays.push_back(TestArray(column.type, column.values));
    fields.push_back(arrow::field(column.name, arrays.back()->type()));
  }
  const int64_t rows = arrays.empty() ? 0 : arrays.front()->length();
  return arrow::RecordBatch::Make(arrow::schema(std::move(fields)), rows, std::move(arrays));
}

}  // namespace partita
