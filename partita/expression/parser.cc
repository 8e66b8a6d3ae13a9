// Text -> Expression: a Pratt parser, one function a construct.
#include <arrow/scalar.h>
#include <arrow/type.h>

#include <charconv>
#include <cmath>
#include <limits>
#include <utility>

#include "partita/base/utf8.h"
#include "partita/block/schema.h"
#include "partita/expression/functions.h"
#include "partita/expression/grammar.h"
#include "partita/expression/literal.h"
#include "partita/expression/node.h"

namespace partita {
namespace {

constexpr int kMaxNesting = 2 * kMaxExpressionDepth;  // of brackets and prefixes, which leave no node
constexpr size_t kMaxTextBytes = 16 << 20;

struct Operator {
  std::string_view symbol, function;
  int precedence;
};

constexpr Operator kOperators[] = {
    {"or", "or_kleene", kOr},         {"and", "and_kleene", kAnd},
    {"=", "equal", kComparison},      {"==", "equal", kComparison},
    {"!=", "not_equal", kComparison}, {"<>", "not_equal", kComparison},
    {"<", "less", kComparison},       {"<=", "less_equal", kComparison},
    {">", "greater", kComparison},    {">=", "greater_equal", kComparison},
    {"||", kConcat, kConcatenation},  {"+", "add", kAdditive},
    {"-", "subtract", kAdditive},     {"*", "multiply", kMultiplicative},
    {"/", "divide", kMultiplicative}, {"%", "remainder", kMultiplicative},
};

std::string Lower(std::string_view text) {
  std::string lower;
  for (char c : text) lower += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return lower;
}

Expression LiteralOf(auto value) { return Expression::Literal(arrow::MakeScalar(std::move(value))); }

class Parser {
 public:
  explicit Parser(std::string_view text) : tokenizer_(text) {}

  Result<Expression> ParseAll() {
    ARROW_RETURN_NOT_OK(Advance());
    ARROW_ASSIGN_OR_RAISE(auto expression, ParseExpression(0));
    if (token_.kind != TokenKind::kEnd) return Fail("an operator or the end");
    return expression;
  }

 private:
  Status Advance() { return AdvanceTo(token_.end); }

  Status AdvanceTo(size_t offset) {
    ARROW_ASSIGN_OR_RAISE(token_, tokenizer_.At(offset));
    // Words are compared in lower case; their own spelling is needed for names.
    word_ = token_.kind == TokenKind::kWord ? Lower(token_.text) : "";
    return Status::OK();
  }

  Status Fail(std::string_view expected, std::string hint = "") const {
    return tokenizer_.Error(token_.begin, expected, std::move(hint));
  }

  bool IsSymbol(std::string_view symbol) const {
    return token_.kind == TokenKind::kSymbol && token_.text == symbol;
  }
  bool IsWord(std::string_view word) const { return token_.kind == TokenKind::kWord && word_ == word; }

  Result<bool> Accept(std::string_view symbol_or_word) {
    if (!IsSymbol(symbol_or_word) && !IsWord(symbol_or_word)) return false;
    ARROW_RETURN_NOT_OK(Advance());
    return true;
  }

  Status Expect(std::string_view symbol_or_word) {
    ARROW_ASSIGN_OR_RAISE(bool accepted, Accept(symbol_or_word));
    return accepted ? Status::OK() : Fail("'" + std::string(symbol_or_word) + "'");
  }

  Result<Expression> ParseExpression(int precedence) {
    if (++nesting_ > kMaxNesting) return Fail("less nesting", "split the expression over several steps");
    ARROW_ASSIGN_OR_RAISE(auto left, ParsePrefix());
    while (true) {
      ARROW_ASSIGN_OR_RAISE(bool more, ParseInfix(precedence, &left));
      if (!more) break;
      if (left.node()->depth > kMaxExpressionDepth) {
        return Fail("less nesting", "split the expression over several steps");
      }
    }
    --nesting_;
    return left;
  }

  // Extends `left` by one operator that binds at least as tight as `precedence`; false where there is none.
  Result<bool> ParseInfix(int precedence, Expression* left) {
    if (IsSymbol("::")) return ParseCastOperator(left);
    if (IsSymbol(".")) return ParseField(left);
    if (kComparison >= precedence && (IsWord("is") || IsWord("in") || IsWord("between") || IsWord("like") ||
                                      IsWord("ilike") || IsWord("not"))) {
      ARROW_RETURN_NOT_OK(ParseWordComparison(left));
      return true;
    }
    for (const auto& op : kOperators) {
      if (op.precedence < precedence || !(IsSymbol(op.symbol) || IsWord(op.symbol))) continue;
      ARROW_RETURN_NOT_OK(Advance());
      ARROW_ASSIGN_OR_RAISE(auto right, ParseExpression(op.precedence + 1));
      if (op.precedence == kComparison) ARROW_RETURN_NOT_OK(CheckNoChain());
      std::vector<Expression> args{*left, std::move(right)};
      // A chain of and / or is one call, made once: no quadratic time for long ones.
      while (op.precedence <= kAnd && IsWord(op.symbol)) {
        ARROW_RETURN_NOT_OK(Advance());
        ARROW_ASSIGN_OR_RAISE(auto next, ParseExpression(op.precedence + 1));
        args.push_back(std::move(next));
      }
      if (op.function == kConcat) args.push_back(LiteralOf(std::string()));
      *left = Expression::Call(std::string(op.function), std::move(args));
      return true;
    }
    return false;
  }

  Status CheckNoChain() const {
    for (const auto& op : kOperators) {
      if (op.precedence == kComparison && IsSymbol(op.symbol)) {
        return Fail("'and', 'or' or the end", "comparisons do not chain: write a < b and b < c");
      }
    }
    return Status::OK();
  }

  Result<bool> ParseCastOperator(Expression* left) {
    ARROW_RETURN_NOT_OK(Advance());
    ARROW_ASSIGN_OR_RAISE(auto type, ParseTypeText());
    *left = Expression::Call(std::string(kCast), {std::move(*left)}, Json{{"type", std::move(type)}});
    return true;
  }

  // The canonical text of the type that starts at the current token.
  Result<std::string> ParseTypeText() {
    const size_t begin = token_.begin, end = tokenizer_.TypeEnd(begin);
    const auto text = tokenizer_.source().substr(begin, end - begin);
    if (text.empty()) return Fail("a type");
    auto type = ParseType(text);
    if (!type.ok()) return tokenizer_.Error(begin, "a type", type.status().message());
    ARROW_RETURN_NOT_OK(AdvanceTo(end));
    return TypeToString(**type);
  }

  Result<bool> ParseField(Expression* left) {
    ARROW_RETURN_NOT_OK(Advance());
    if (token_.kind != TokenKind::kWord && token_.kind != TokenKind::kQuotedName) return Fail("a field name");
    std::string field = token_.text;
    ARROW_RETURN_NOT_OK(Advance());
    *left = Expression::Call("struct_field", {std::move(*left)}, Json{{"field", std::move(field)}});
    return true;
  }

  // is [not] null, [not] in, [not] between, [not] like.
  Status ParseWordComparison(Expression* left) {
    if (IsWord("is")) return ParseIsNull(left);
    ARROW_ASSIGN_OR_RAISE(const bool negated, Accept("not"));
    if (IsWord("in")) {
      ARROW_RETURN_NOT_OK(ParseIn(left));
    } else if (IsWord("between")) {
      ARROW_RETURN_NOT_OK(ParseBetween(left));
    } else if (IsWord("like") || IsWord("ilike")) {
      ARROW_RETURN_NOT_OK(ParseLike(left));
    } else {
      return Fail("'in', 'between', 'like' or 'ilike' after 'not'");
    }
    if (negated) *left = Expression::Call("invert", {std::move(*left)});
    return Status::OK();
  }

  Status ParseIsNull(Expression* left) {
    ARROW_RETURN_NOT_OK(Advance());
    ARROW_ASSIGN_OR_RAISE(const bool negated, Accept("not"));
    if (!IsWord("null")) return Fail(negated ? "'null'" : "'null' or 'not null'", "compare values with '='");
    ARROW_RETURN_NOT_OK(Advance());
    *left = Expression::Call(negated ? "is_valid" : "is_null", {std::move(*left)});
    return Status::OK();
  }

  Status ParseIn(Expression* left) {
    ARROW_RETURN_NOT_OK(Advance());
    ARROW_RETURN_NOT_OK(Expect("("));
    std::vector<Expression> items;
    bool literal = true;
    while (!IsSymbol(")")) {
      if (!items.empty()) ARROW_RETURN_NOT_OK(Expect(","));
      ARROW_ASSIGN_OR_RAISE(auto item, ParseExpression(0));
      literal = literal && item.node()->literal();
      items.push_back(std::move(item));
    }
    ARROW_RETURN_NOT_OK(Advance());
    if (literal) {
      items.insert(items.begin(), std::move(*left));
      *left = Expression::Call("is_in", std::move(items));
      return Status::OK();
    }
    for (auto& item : items) item = Expression::Call("equal", {*left, std::move(item)});
    *left = items.size() == 1 ? items.front() : Expression::Call("or_kleene", std::move(items));
    return Status::OK();
  }

  Status ParseBetween(Expression* left) {
    ARROW_RETURN_NOT_OK(Advance());
    ARROW_ASSIGN_OR_RAISE(auto low, ParseExpression(kConcatenation));
    ARROW_RETURN_NOT_OK(Expect("and"));
    ARROW_ASSIGN_OR_RAISE(auto high, ParseExpression(kConcatenation));
    *left = Expression::Call("and_kleene", {Expression::Call("greater_equal", {*left, std::move(low)}),
                                            Expression::Call("less_equal", {*left, std::move(high)})});
    return Status::OK();
  }

  Status ParseLike(Expression* left) {
    const std::string function = word_;
    ARROW_RETURN_NOT_OK(Advance());
    if (token_.kind != TokenKind::kString) return Fail("a 'pattern' in single quotes");
    Json options{{"pattern", token_.text}};
    ARROW_RETURN_NOT_OK(CheckText());
    ARROW_RETURN_NOT_OK(Advance());
    *left = Expression::Call(function, {std::move(*left)}, options);
    return Status::OK();
  }

  Result<Expression> ParsePrefix() {
    switch (token_.kind) {
      case TokenKind::kNumber:
        return ParseNumber("");
      case TokenKind::kString: {
        ARROW_RETURN_NOT_OK(CheckText());
        auto text = LiteralOf(token_.text);
        ARROW_RETURN_NOT_OK(Advance());
        return text;
      }
      case TokenKind::kHexString: {
        auto bytes = LiteralOf(std::make_shared<arrow::BinaryScalar>(token_.text));
        ARROW_RETURN_NOT_OK(Advance());
        return bytes;
      }
      case TokenKind::kQuotedName: {
        auto column = Expression::Column(token_.text);
        ARROW_RETURN_NOT_OK(Advance());
        return column;
      }
      case TokenKind::kWord:
        return ParseWord();
      default:
        return ParseSymbolPrefix();
    }
  }

  Status CheckText() const {
    return IsUtf8(token_.text) ? Status::OK()
                                                  : Fail("valid UTF-8", "write bytes as x'00ff'");
  }

  Result<Expression> ParseSymbolPrefix() {
    if (IsSymbol("(")) {
      ARROW_RETURN_NOT_OK(Advance());
      ARROW_ASSIGN_OR_RAISE(auto inner, ParseExpression(0));
      ARROW_RETURN_NOT_OK(Expect(")"));
      return inner;
    }
    if (IsSymbol("-")) {
      ARROW_RETURN_NOT_OK(Advance());
      if (token_.kind == TokenKind::kNumber) return ParseNumber("-");
      ARROW_ASSIGN_OR_RAISE(auto operand, ParseExpression(kUnary));
      return Expression::Call("negate", {std::move(operand)});
    }
    if (IsSymbol("+")) {
      ARROW_RETURN_NOT_OK(Advance());
      return ParseExpression(kUnary);
    }
    return Fail("a column, a value or a function");
  }

  // The number token, with the sign before it: the least int64 has no positive twin.
  Result<Expression> ParseNumber(const std::string& sign) {
    const std::string text = sign + token_.text;
    const char* end = text.data() + text.size();
    Expression number;
    if (text.find_first_of(".eE") != std::string::npos) {
      double value = 0;
      const auto parsed = std::from_chars(text.data(), end, value);
      if (parsed.ec != std::errc() || parsed.ptr != end) return Fail("a number that float64 can hold");
      number = LiteralOf(value);
    } else {
      int64_t value = 0;
      uint64_t large = 0;
      if (std::from_chars(text.data(), end, value).ec == std::errc()) {
        number = LiteralOf(value);
      } else if (sign.empty() && std::from_chars(text.data(), end, large).ec == std::errc()) {
        number = LiteralOf(large);
      } else {
        return Fail("a number that int64 or uint64 can hold", "write cast('...' as decimal128(38, 0))");
      }
    }
    ARROW_RETURN_NOT_OK(Advance());
    return number;
  }

  Result<Expression> ParseWord() {
    if (word_ == "true" || word_ == "false") {
      auto value = LiteralOf(word_ == "true");
      ARROW_RETURN_NOT_OK(Advance());
      return value;
    }
    if (word_ == "null") {
      ARROW_RETURN_NOT_OK(Advance());
      return Expression::Literal(arrow::MakeNullScalar(arrow::null()));
    }
    if (word_ == "not") {
      ARROW_RETURN_NOT_OK(Advance());
      ARROW_ASSIGN_OR_RAISE(auto operand, ParseExpression(kNot));
      return Expression::Call("invert", {std::move(operand)});
    }
    if (word_ == "case") return ParseCase();
    if (word_ == "cast") return ParseCast();
    ARROW_ASSIGN_OR_RAISE(const auto next, tokenizer_.At(token_.end));
    if (next.kind == TokenKind::kSymbol && next.text == "(" &&
        (!IsKeyword(word_) || word_ == "like" || word_ == "ilike" || word_ == "in")) {
      return ParseFunction();
    }
    if (IsKeyword(word_)) {
      return Fail("a column, a value or a function", "quote a column of this name: \"" + token_.text + "\"");
    }
    if (next.kind == TokenKind::kString && (word_ == "date" || word_ == "timestamp" || word_ == "time")) {
      return ParseTemporalLiteral();
    }
    auto column = Expression::Column(token_.text);
    ARROW_RETURN_NOT_OK(Advance());
    return column;
  }

  // date '2024-01-31', timestamp '2024-01-31 10:00:00', time '10:00:00'.
  Result<Expression> ParseTemporalLiteral() {
    const auto type = word_ == "date"   ? arrow::date32()
                      : word_ == "time" ? arrow::time64(arrow::TimeUnit::MICRO)
                                        : arrow::timestamp(arrow::TimeUnit::MICRO);
    const std::string word = word_;
    ARROW_RETURN_NOT_OK(Advance());
    auto value = FoldCast(arrow::MakeScalar(token_.text), type);
    if (!value.ok()) return Fail("the text of a " + word, "write it as in '2024-01-31 10:00:00'");
    ARROW_RETURN_NOT_OK(Advance());
    return Expression::Literal(*std::move(value));
  }

  Result<Expression> ParseCast() {
    ARROW_RETURN_NOT_OK(Advance());
    ARROW_RETURN_NOT_OK(Expect("("));
    ARROW_ASSIGN_OR_RAISE(auto value, ParseExpression(0));
    if (!IsWord("as")) return Fail("'as' and a type", "write cast(x as type)");
    ARROW_RETURN_NOT_OK(Advance());
    ARROW_ASSIGN_OR_RAISE(auto type, ParseTypeText());
    Json options{{"type", std::move(type)}};
    while (IsSymbol(",")) {
      ARROW_RETURN_NOT_OK(Advance());
      ARROW_RETURN_NOT_OK(ParseNamedArgument(&options));
    }
    ARROW_RETURN_NOT_OK(Expect(")"));
    return Expression::Call(std::string(kCast), {std::move(value)}, options);
  }

  Result<Expression> ParseCase() {
    ARROW_RETURN_NOT_OK(Advance());
    Expression subject;
    if (!IsWord("when")) {
      ARROW_ASSIGN_OR_RAISE(subject, ParseExpression(0));
    }
    std::vector<Expression> args;
    while (IsWord("when")) {
      ARROW_RETURN_NOT_OK(Advance());
      ARROW_ASSIGN_OR_RAISE(auto condition, ParseExpression(0));
      if (subject.valid()) condition = Expression::Call("equal", {subject, std::move(condition)});
      ARROW_RETURN_NOT_OK(Expect("then"));
      ARROW_ASSIGN_OR_RAISE(auto value, ParseExpression(0));
      args.push_back(std::move(condition));
      args.push_back(std::move(value));
    }
    if (args.empty()) return Fail("'when'");
    ARROW_ASSIGN_OR_RAISE(const bool has_else, Accept("else"));
    if (has_else) {
      ARROW_ASSIGN_OR_RAISE(auto value, ParseExpression(0));
      args.push_back(std::move(value));
    }
    if (!IsWord("end")) return Fail(has_else ? "'end'" : "'when', 'else' or 'end'");
    ARROW_RETURN_NOT_OK(Advance());
    return Expression::Call(std::string(kCase), std::move(args));
  }

  Result<Expression> ParseFunction() {
    const size_t begin = token_.begin;
    const std::string name = word_;
    if (auto known = CheckFunction(name); !known.ok()) {
      const auto* detail = DetailOf(known);
      return tokenizer_.Error(begin, "a function: " + known.message(), detail ? detail->context.hint : "");
    }
    ARROW_RETURN_NOT_OK(Advance());
    ARROW_RETURN_NOT_OK(Expect("("));
    std::vector<Expression> args;
    Json options = Json::object();
    for (bool first = true; !IsSymbol(")"); first = false) {
      if (!first) ARROW_RETURN_NOT_OK(Expect(","));
      ARROW_ASSIGN_OR_RAISE(const auto next, tokenizer_.At(token_.end));
      if (token_.kind == TokenKind::kWord && next.kind == TokenKind::kSymbol && next.text == "=>") {
        ARROW_RETURN_NOT_OK(ParseNamedArgument(&options));
        continue;
      }
      if (!options.empty()) return Fail("a named argument", "write positional arguments before named ones");
      ARROW_ASSIGN_OR_RAISE(auto arg, ParseExpression(0));
      args.push_back(std::move(arg));
    }
    ARROW_RETURN_NOT_OK(Advance());
    return Expression::Call(name, std::move(args), options);
  }

  // name => literal
  Status ParseNamedArgument(Json* options) {
    if (token_.kind != TokenKind::kWord) return Fail("a named argument");
    const std::string name = word_;
    if (options->contains(name)) return Fail("each named argument once");
    ARROW_RETURN_NOT_OK(Advance());
    ARROW_RETURN_NOT_OK(Expect("=>"));
    ARROW_ASSIGN_OR_RAISE((*options)[name], ParseOptionValue());
    return Status::OK();
  }

  Result<Json> ParseOptionValue() {
    if (IsSymbol("[")) {
      ARROW_RETURN_NOT_OK(Advance());
      Json list = Json::array();
      while (!IsSymbol("]")) {
        if (!list.empty()) ARROW_RETURN_NOT_OK(Expect(","));
        if (IsSymbol("[")) return Fail("a value");
        ARROW_ASSIGN_OR_RAISE(auto item, ParseOptionValue());
        list.push_back(std::move(item));
      }
      ARROW_RETURN_NOT_OK(Advance());
      return list;
    }
    const size_t begin = token_.begin;
    ARROW_ASSIGN_OR_RAISE(auto value, ParseExpression(0));
    const auto* literal = value.node()->literal();
    if (!literal) return tokenizer_.Error(begin, "a literal: an option is the same for all rows");
    Json json = LiteralToJson(*literal->value);
    switch (literal->value->type->id()) {
      case arrow::Type::INT64:
      case arrow::Type::BOOL:
      case arrow::Type::STRING:
      case arrow::Type::NA:
        return json["literal"];
      case arrow::Type::DOUBLE:
        // NaN and infinity are no JSON numbers.
        return json["literal"].is_number() ? json["literal"] : std::move(json);
      default:
        return json;
    }
  }

  Tokenizer tokenizer_;
  Token token_;
  std::string word_;
  int nesting_ = 0;
};

}  // namespace

Result<Expression> Expression::Parse(std::string_view text) {
  if (text.size() > kMaxTextBytes) return UserError("expression: longer than 16 MiB");
  ARROW_ASSIGN_OR_RAISE(auto expression, Parser(text).ParseAll());
  ARROW_RETURN_NOT_OK(CheckDepth(expression));
  return expression;
}

}  // namespace partita
