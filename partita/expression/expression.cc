#include "partita/expression/expression.h"

#include <arrow/scalar.h>

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "partita/expression/functions.h"
#include "partita/expression/literal.h"
#include "partita/expression/node.h"

namespace partita {
namespace {

Expression Make(Expression::Node node) {
  return Expression(std::make_shared<const Expression::Node>(std::move(node)));
}

void CollectColumns(const Expression& expression, std::unordered_set<std::string>* seen,
                    std::vector<std::string>* columns) {
  if (!expression.valid()) return;
  if (const auto* column = expression.node()->column()) {
    if (seen->insert(column->name).second) columns->push_back(column->name);
  } else if (const auto* call = expression.node()->call()) {
    for (const auto& arg : call->args) CollectColumns(arg, seen, columns);
  }
}

Status CheckShape(const Json& value) {
  if (!value.is_object()) {
    return DataError("expression: expected an object with 'column', 'literal' or 'call', found a JSON " +
                     std::string(value.type_name()));
  }
  const int kinds = static_cast<int>(value.contains("column")) + static_cast<int>(value.contains("literal")) +
                    static_cast<int>(value.contains("call"));
  if (kinds != 1)
    return DataError("expression: an object needs exactly one of 'column', 'literal' and 'call'");
  return Status::OK();
}

Result<Expression> ReadJson(const Json& value, int depth) {
  // A canonical call may be one deeper than what was written (nullif), never more.
  if (depth > kMaxExpressionDepth) {
    return DataError("expression: nested deeper than " + std::to_string(kMaxExpressionDepth));
  }
  ARROW_RETURN_NOT_OK(CheckShape(value));
  if (value.contains("column")) {
    ARROW_ASSIGN_OR_RAISE(auto name, GetString(value, "column"));
    return Expression::Column(std::move(name));
  }
  if (value.contains("literal")) {
    ARROW_ASSIGN_OR_RAISE(auto scalar, LiteralFromJson(value));
    return Expression::Literal(std::move(scalar));
  }
  ARROW_ASSIGN_OR_RAISE(auto function, GetString(value, "call"));
  std::vector<Expression> args;
  if (const auto found = value.find("args"); found != value.end() && !found->is_null()) {
    if (!found->is_array()) return DataError("expression: 'args' of '" + function + "' is not an array");
    for (const auto& item : *found) {
      ARROW_ASSIGN_OR_RAISE(auto arg, ReadJson(item, depth + 1));
      args.push_back(std::move(arg));
    }
  }
  Json options = Json::object();
  if (const auto found = value.find("options"); found != value.end() && !found->is_null()) {
    if (!found->is_object()) return DataError("expression: 'options' of '" + function + "' is not an object");
    options = *found;
  }
  return Expression::Call(std::move(function), std::move(args), options);
}

}  // namespace

Status CheckDepth(const Expression& expression) {
  if (!expression.valid()) return UserError("the expression is empty");
  if (expression.node()->depth <= kMaxExpressionDepth) return Status::OK();
  return UserError("the expression is nested deeper than " + std::to_string(kMaxExpressionDepth),
                   "split it over several with_columns steps");
}

Expression Expression::Column(std::string name) { return Make({Node::Column{std::move(name)}}); }

Expression Expression::Literal(std::shared_ptr<arrow::Scalar> value) {
  return Make({Node::Literal{value ? std::move(value) : arrow::MakeNullScalar(arrow::null())}});
}

Expression Expression::Call(std::string function, std::vector<Expression> args, const Json& options) {
  return Make(CanonicalCall(std::move(function), std::move(args), options));
}

Expression Expression::Call(std::string function, std::vector<Expression> args) {
  return Call(std::move(function), std::move(args), Json::object());
}

Result<Expression> Expression::FromJson(const Json& value) {
  ARROW_ASSIGN_OR_RAISE(auto expression, ReadJson(value, 1));
  ARROW_RETURN_NOT_OK(CheckDepth(expression));
  return expression;
}

Json Expression::ToJson() const {
  if (!valid()) return nullptr;
  if (const auto* column = node_->column()) return Json{{"column", column->name}};
  if (const auto* literal = node_->literal()) return LiteralToJson(*literal->value);
  const auto& call = *node_->call();
  Json args = Json::array();
  for (const auto& arg : call.args) args.push_back(arg.ToJson());
  Json object{{"call", call.function}, {"args", std::move(args)}};
  if (!call.options.empty()) object["options"] = call.options;
  return object;
}

std::vector<std::string> Expression::Columns() const {
  std::unordered_set<std::string> seen;
  std::vector<std::string> columns;
  CollectColumns(*this, &seen, &columns);
  return columns;
}

Expression Expression::Substitute(const std::vector<std::pair<std::string, Expression>>& by) const {
  if (!valid() || node_->literal()) return *this;
  if (const auto* column = node_->column()) {
    const auto found =
        std::find_if(by.begin(), by.end(), [&](const auto& pair) { return pair.first == column->name; });
    return found == by.end() ? *this : found->second;
  }
  const auto& call = *node_->call();
  std::vector<Expression> args;
  for (const auto& arg : call.args) args.push_back(arg.Substitute(by));
  return Call(call.function, std::move(args), call.options);
}

std::vector<Expression> Expression::Conjuncts() const {
  if (!valid()) return {};
  // `and` is flat in canonical form.
  const auto* call = node_->call("and_kleene");
  return call ? call->args : std::vector<Expression>{*this};
}

Expression Expression::And(const std::vector<Expression>& parts) {
  if (parts.empty()) return Literal(arrow::MakeScalar(true));
  return parts.size() == 1 ? parts.front() : Call("and_kleene", parts);
}

}  // namespace partita
