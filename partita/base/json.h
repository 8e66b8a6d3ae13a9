// JSON values: arguments, plans, manifests, events. nlohmann::json keeps object keys sorted, so its dump is canonical.
// Include this header in .cc files only where the value is touched; headers use <nlohmann/json_fwd.hpp> through json_fwd.h.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "partita/base/error.h"
#include "partita/base/json_fwd.h"

namespace partita {

// Parses hostile text: depth is bounded (256), no exception leaves, errors name line and column. Kind: data.
Result<Json> ParseJson(std::string_view text);
// The one canonical form that is hashed and compared: sorted keys, no spaces, UTF-8 (invalid bytes are replaced).
std::string CanonicalJson(const Json& value);
// Indented by two, sorted keys, trailing newline: what people read on disk.
std::string PrettyJson(const Json& value);

// Typed access with a clear data error that names the key. `Get*Or` return the default where the key is absent or null.
Result<std::string> GetString(const Json& object, std::string_view key);
Result<int64_t> GetInt(const Json& object, std::string_view key);
Result<bool> GetBool(const Json& object, std::string_view key);
Result<double> GetDouble(const Json& object, std::string_view key);
Result<std::string> GetStringOr(const Json& object, std::string_view key, std::string fallback);
Result<int64_t> GetIntOr(const Json& object, std::string_view key, int64_t fallback);
Result<bool> GetBoolOr(const Json& object, std::string_view key, bool fallback);
Result<double> GetDoubleOr(const Json& object, std::string_view key, double fallback);
Result<std::vector<std::string>> GetStringsOr(const Json& object, std::string_view key, std::vector<std::string> fallback);

}  // namespace partita
