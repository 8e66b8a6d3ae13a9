// Schemas and types as text and JSON: what plans, manifests, `cast` and YAML write. Pure.
//
// Types: null bool int8..int64 uint8..uint64 float16 float32|float float64|double string large_string
// string_view binary large_binary binary_view fixed_size_binary[N] date32 date64 time32[s|ms] time64[us|ns]
// timestamp[unit] timestamp[unit, tz=Z] duration[unit] decimal128(p, s) decimal256(p, s) list<T>
// large_list<T> fixed_size_list<T>[N] struct<name: T, ...> map<K, V> map<K, V, sorted> dictionary<index,
// value> dictionary<index, value, ordered> list_view<T> large_list_view<T> run_end_encoded<int32, T>
// decimal32(p, s) decimal64(p, s) month_interval day_time_interval month_day_nano_interval. An element or
// field that may not be null ends with "not null". Field names that are not identifiers are quoted with
// double quotes ("" is a double quote). Types that this grammar lacks (extension, union) are written as
// "ipc:" + base64 of an IPC schema with one field. Names of list elements and metadata of nested fields are
// dropped. ParseType also reads what SQL and NumPy users write: int, bigint, double, varchar, text, bytes,
// blob, date, timestamp, decimal(p, s), ...; upper or lower case. Errors are user errors.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "partita/base/error.h"
#include "partita/base/json_fwd.h"

namespace arrow {
class DataType;
class Schema;
}  // namespace arrow

namespace partita {

std::string TypeToString(const arrow::DataType& type);
Result<std::shared_ptr<arrow::DataType>> ParseType(std::string_view text);

// [{"name": .., "type": .., "nullable": false?, "metadata": {..}?}, ...]; schema metadata is dropped.
Json SchemaToJson(const arrow::Schema& schema);
Result<std::shared_ptr<arrow::Schema>> SchemaFromJson(const Json& value);

// The column's index; an error names the columns there are and the nearest name. A name that occurs twice is
// a user error.
Result<int> FindColumn(const arrow::Schema& schema, std::string_view name);

// The nearest of `candidates` by edit distance, or "" when none is near. Used by every "did you mean".
std::string NearestName(std::string_view name, const std::vector<std::string>& candidates);

}  // namespace partita
