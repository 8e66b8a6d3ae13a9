// What an Expression is made of. Internal to this room; other rooms use Expression's methods.
#pragma once

#include <arrow/scalar.h>

#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "partita/base/json.h"
#include "partita/expression/expression.h"

namespace partita {

// Immutable. Calls are canonical: Arrow's function name (without "_checked"), literal arguments that are
// options in Arrow are options, and/or are flat, casts of literals are literals. So equal meanings mostly
// have equal JSON, which plans hash.
struct Expression::Node {
  struct Column {
    std::string name;
  };
  struct Literal {
    std::shared_ptr<arrow::Scalar> value;
  };
  struct Call {
    std::string function;
    std::vector<Expression> args;
    Json options;  // an object, maybe empty
  };
  std::variant<Column, Literal, Call> value;
  int depth = 1;

  const Column* column() const { return std::get_if<Column>(&value); }
  const Literal* literal() const { return std::get_if<Literal>(&value); }
  const Call* call() const { return std::get_if<Call>(&value); }
  // The call if it is one of `function`, else null.
  const Call* call(std::string_view function) const {
    const Call* found = call();
    return found && found->function == function ? found : nullptr;
  }
};

// Deeper expressions are refused: their JSON must fit in ParseJson's depth inside a plan, and recursion must
// fit the stack.
inline constexpr int kMaxExpressionDepth = 100;
Status CheckDepth(const Expression& expression);

}  // namespace partita
