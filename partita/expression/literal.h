// Literals as JSON and text, both exact. Internal to this room.
#pragma once

#include <arrow/scalar.h>

#include <memory>
#include <string>
#include <string_view>

#include "partita/base/error.h"
#include "partita/base/json_fwd.h"

namespace partita {

// {"literal": value, "type": type}. Numbers, strings and bools are themselves; NaN and infinities are "NaN",
// "inf", "-inf"; dates, timestamps, times and decimals their text; binary base64; all other types
// ("encoding": "ipc") one row of Arrow IPC in base64.
Json LiteralToJson(const arrow::Scalar& value);
// Reads the above. "type" may be missing for null, bool, int64, float64 and string. Kind: data.
Result<std::shared_ptr<arrow::Scalar>> LiteralFromJson(const Json& object);
// A bare JSON value (null, bool, number, string) or a literal object.
Result<std::shared_ptr<arrow::Scalar>> ScalarFromJsonValue(const Json& value);
// 5, 0.5, 'it''s', x'00ff', true, null, cast('2024-01-01' as date32), ...
std::string LiteralToText(const arrow::Scalar& value);
// 'it''s'
std::string QuoteString(std::string_view text);

// The value that a cast of a literal gives, where it is exact and needs no kernel; an error where a kernel
// must do it.
Result<std::shared_ptr<arrow::Scalar>> FoldCast(const std::shared_ptr<arrow::Scalar>& value,
                                                const std::shared_ptr<arrow::DataType>& type);
// The same for values of any type, as IPC text: arrow_literal('...').
Result<std::shared_ptr<arrow::Scalar>> ScalarFromIpcText(std::string_view base64);

}  // namespace partita
