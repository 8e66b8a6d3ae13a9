// Expressions as text that Parse reads back.
#include <arrow/type.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "partita/block/schema.h"
#include "partita/expression/functions.h"
#include "partita/expression/grammar.h"
#include "partita/expression/literal.h"
#include "partita/expression/node.h"

namespace partita {
namespace {

struct Infix {
  std::string_view function, symbol;
  int precedence;
};

constexpr Infix kInfix[] = {
    {"add", "+", kAdditive},
    {"subtract", "-", kAdditive},
    {"multiply", "*", kMultiplicative},
    {"divide", "/", kMultiplicative},
    {"remainder", "%", kMultiplicative},
    {"equal", "=", kComparison},
    {"not_equal", "!=", kComparison},
    {"less", "<", kComparison},
    {"less_equal", "<=", kComparison},
    {"greater", ">", kComparison},
    {"greater_equal", ">=", kComparison},
};

using Call = Expression::Node::Call;

std::string Print(const Expression& expression, int precedence);

std::string PrintList(const std::vector<Expression>& args, size_t first, std::string_view separator,
                      int precedence) {
  std::string text;
  for (size_t i = first; i < args.size(); ++i) {
    if (i > first) text += separator;
    text += Print(args[i], precedence);
  }
  return text;
}

std::string Wrap(std::string text, int own, int wanted) {
  return own < wanted ? "(" + std::move(text) + ")" : text;
}

bool IsStringLiteral(const Expression& expression, std::string_view text) {
  const auto* literal = expression.valid() ? expression.node()->literal() : nullptr;
  return literal && literal->value->is_valid && literal->value->type->id() == arrow::Type::STRING &&
         static_cast<const arrow::StringScalar&>(*literal->value).view() == text;
}

// A path of columns and fields prints as a.b; anything else needs the function.
bool IsPath(const Expression& expression) {
  if (!expression.valid()) return false;
  if (expression.node()->column()) return true;
  const auto* call = expression.node()->call("struct_field");
  return call && call->args.size() == 1 && call->options.size() == 1 && call->options.contains("field") &&
         call->options["field"].is_string() && IsPath(call->args[0]);
}

std::string PrintOption(const Json& value) {
  if (value.is_string()) return QuoteString(value.get_ref<const std::string&>());
  if (value.is_array()) {
    std::string text = "[";
    for (size_t i = 0; i < value.size(); ++i) text += (i > 0 ? ", " : "") + PrintOption(value[i]);
    return text + "]";
  }
  auto scalar = ScalarFromJsonValue(value);
  return scalar.ok() ? LiteralToText(**scalar) : "null";
}

std::string PrintFunction(const Call& call) {
  std::string text = call.function + "(" + PrintList(call.args, 0, ", ", 0);
  bool first = call.args.empty();
  for (const auto& [name, value] : call.options.items()) {
    text += (first ? "" : ", ") + name + " => " + PrintOption(value);
    first = false;
  }
  return text + ")";
}

std::string PrintCase(const Call& call) {
  std::string text = "case";
  size_t i = 0;
  for (; i + 1 < call.args.size(); i += 2) {
    text += " when " + Print(call.args[i], 0) + " then " + Print(call.args[i + 1], 0);
  }
  if (i < call.args.size()) text += " else " + Print(call.args[i], 0);
  return text + " end";
}

std::string PrintSetLookup(const Call& call, std::string_view verb) {
  return Print(call.args[0], kComparison + 1) + " " + std::string(verb) + " (" +
         PrintList(call.args, 1, ", ", 0) + ")";
}

std::string PrintNot(const Call& call, int precedence) {
  const auto& arg = call.args[0];
  const auto* in = arg.valid() ? arg.node()->call("is_in") : nullptr;
  if (in && !in->args.empty() && in->options.empty()) {
    return Wrap(PrintSetLookup(*in, "not in"), kComparison, precedence);
  }
  return Wrap("not " + Print(arg, kNot), kNot, precedence);
}

bool IsNumber(const Expression& expression) {
  const auto* literal = expression.valid() ? expression.node()->literal() : nullptr;
  return literal && (literal->value->type->id() == arrow::Type::INT64 ||
                     literal->value->type->id() == arrow::Type::DOUBLE ||
                     literal->value->type->id() == arrow::Type::UINT64);
}

std::string PrintCall(const Call& call, int precedence) {
  const auto& args = call.args;
  const auto& options = call.options;
  const bool plain = options.empty();
  if (plain && args.size() == 2) {
    for (const auto& infix : kInfix) {
      if (infix.function != call.function) continue;
      // Comparisons do not chain, so both their sides bind tighter.
      const int left = infix.precedence + (infix.precedence == kComparison ? 1 : 0);
      return Wrap(
          Print(args[0], left) + " " + std::string(infix.symbol) + " " + Print(args[1], infix.precedence + 1),
          infix.precedence, precedence);
    }
  }
  if (plain && args.size() >= 2 && call.function == "and_kleene") {
    return Wrap(PrintList(args, 0, " and ", kAnd + 1), kAnd, precedence);
  }
  if (plain && args.size() >= 2 && call.function == "or_kleene") {
    return Wrap(PrintList(args, 0, " or ", kOr + 1), kOr, precedence);
  }
  if (plain && args.size() == 1) {
    if (call.function == "invert") return PrintNot(call, precedence);
    if (call.function == "negate") {
      const std::string operand = IsNumber(args[0]) ? "(" + Print(args[0], 0) + ")" : Print(args[0], kUnary);
      return Wrap("- " + operand, kUnary, precedence);
    }
    if (call.function == "is_null" || call.function == "is_valid") {
      return Wrap(
          Print(args[0], kComparison + 1) + (call.function == "is_null" ? " is null" : " is not null"),
          kComparison, precedence);
    }
  }
  if (plain && args.size() >= 2 && call.function == kCase) return PrintCase(call);
  if (plain && !args.empty() && call.function == "is_in") {
    return Wrap(PrintSetLookup(call, "in"), kComparison, precedence);
  }
  if (plain && call.function == kConcat && args.size() == 3 && IsStringLiteral(args.back(), "")) {
    return Wrap(Print(args[0], kConcatenation) + " || " + Print(args[1], kConcatenation + 1), kConcatenation,
                precedence);
  }
  if (call.function == kCast && args.size() == 1 && options.contains("type") && options["type"].is_string()) {
    std::string text = "cast(" + Print(args[0], 0) + " as " + options["type"].get<std::string>();
    for (const auto& [name, value] : options.items()) {
      if (name != "type") text += ", " + name + " => " + PrintOption(value);
    }
    return text + ")";
  }
  if (call.function == "match_like" && args.size() == 1 && options.contains("pattern") &&
      options["pattern"].is_string()) {
    const bool ilike =
        options.size() == 2 && options.contains("ignore_case") && options["ignore_case"] == true;
    if (ilike || options.size() == 1) {
      return Wrap(Print(args[0], kComparison + 1) + (ilike ? " ilike " : " like ") +
                      QuoteString(options["pattern"].get_ref<const std::string&>()),
                  kComparison, precedence);
    }
  }
  return PrintFunction(call);
}

std::string Print(const Expression& expression, int precedence) {
  if (!expression.valid()) return "";
  const auto* node = expression.node();
  if (const auto* column = node->column()) return QuoteIdentifier(column->name);
  if (const auto* literal = node->literal()) return LiteralToText(*literal->value);
  if (IsPath(expression)) {
    const auto& call = *node->call();
    return Print(call.args[0], kPostfix) + "." + QuoteIdentifier(call.options["field"].get<std::string>());
  }
  return PrintCall(*node->call(), precedence);
}

}  // namespace

std::string Expression::ToString() const { return Print(*this, 0); }

}  // namespace partita
