// Names and letters of the type grammar, shared by printer and parser. Internal to this room.
#pragma once

#include <arrow/type.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace partita {

inline bool IsIdentifierStart(char c) { return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
inline bool IsIdentifierPart(char c) { return IsIdentifierStart(c) || (c >= '0' && c <= '9'); }
// Time zones stand bare where they are made of these, else quoted.
inline bool IsZoneChar(char c) { return IsIdentifierPart(c) || c == '/' || c == '+' || c == '-' || c == ':'; }

std::string UnitName(arrow::TimeUnit::type unit);
// Types without parameters, by their canonical name first, then what SQL, NumPy and Arrow users also write.
const std::vector<std::pair<std::string, std::shared_ptr<arrow::DataType>>>& PlainTypes();

}  // namespace partita
