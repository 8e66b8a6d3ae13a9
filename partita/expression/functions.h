// The one table of function names, aliases and options. Internal to this room.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "partita/expression/node.h"

namespace arrow::compute {
class FunctionOptions;
}

namespace partita {

// Names that are not Arrow's functions; Bind rewrites them.
inline constexpr std::string_view kCase = "case";                   // condition, value, ..., [else]
inline constexpr std::string_view kCast = "cast";                   // options: type, safe
inline constexpr std::string_view kArrowLiteral = "arrow_literal";  // one string: IPC text
inline constexpr std::string_view kConcat = "binary_join_element_wise";

// A call in canonical form (see node.h). Never fails: what it does not know stays as it is, for Bind to
// refuse.
Expression::Node CanonicalCall(std::string function, std::vector<Expression> args, Json options);

// Why a function cannot be used, or OK. Unknown names get the nearest one.
Status CheckFunction(std::string_view name);

enum class OptionKind { kString, kInt, kDouble, kBool, kWord, kNames, kValue };

struct OptionSpec {
  std::string_view name;
  OptionKind kind;
  bool required = false;
};

// The options of a function, in the order in which they may be given as positional literals; null where it
// has none.
const std::vector<OptionSpec>* OptionsOf(std::string_view function);

// Arrow's options of a canonical function from JSON; null where it has none. User errors for unknown, missing
// or mistyped options.
Result<std::shared_ptr<arrow::compute::FunctionOptions>> MakeOptions(const std::string& function,
                                                                     const Json& options);

// (alias, canonical name), for docs and tests.
std::vector<std::pair<std::string, std::string>> FunctionAliases();

}  // namespace partita
