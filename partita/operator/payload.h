// Bytes that a plan names by digest and does not hold: code that a user wrote in another language. A process
// keeps what its plans may need; a plan written to a file has them beside it (session/). Thread-safe.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "partita/base/error.h"

namespace partita {

struct Plan;

inline constexpr std::string_view kPayloadPrefix = "payload:";

// Keeps the bytes; returns how arguments name them: "payload:" and their SHA-256 in hexadecimal.
Result<std::string> AddPayload(std::string bytes);
// Null: this process does not have it.
std::shared_ptr<const std::string> FindPayload(std::string_view name);
// The payloads that the steps of a plan name as their argument `fn`, once each.
std::vector<std::string> PayloadNames(const Plan& plan);

}  // namespace partita
