#include <algorithm>
#include <iterator>

#include "partita/expression/grammar.h"

namespace partita {
namespace {

constexpr std::string_view kKeywords[] = {"and", "as",    "between", "case", "cast", "else",
                                          "end", "false", "ilike",   "in",   "is",   "like",
                                          "not", "null",  "or",      "then", "true", "when"};

bool IsDigit(char c) { return c >= '0' && c <= '9'; }
// Letters beyond ASCII may stand in names: users name columns in their language.
bool IsNameStart(char c) {
  return c == '_' || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
         (static_cast<unsigned char>(c) & 0x80);
}
bool IsNamePart(char c) { return IsNameStart(c) || IsDigit(c); }
bool IsSpace(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }

std::string Lower(std::string_view text) {
  std::string lower;
  for (char c : text) lower += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return lower;
}

int HexDigit(char c) {
  if (IsDigit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

// Columns count characters, not bytes, from 1.
size_t ColumnOf(std::string_view source, size_t offset) {
  size_t column = 1;
  for (size_t i = 0; i < offset && i < source.size(); ++i) {
    if ((static_cast<unsigned char>(source[i]) & 0xC0) != 0x80) ++column;
  }
  return column;
}

std::string SymbolHint(std::string_view symbol) {
  if (symbol == "&" || symbol == "&&") return "write 'and'";
  if (symbol == "|") return "write 'or'";
  if (symbol == "!") return "write 'not'";
  if (symbol == ";") return "an expression is one value, without ';'";
  return "quote names that are no identifiers with double quotes";
}

}  // namespace

bool IsKeyword(std::string_view word) {
  return std::find(std::begin(kKeywords), std::end(kKeywords), word) != std::end(kKeywords);
}

std::string QuoteIdentifier(std::string_view name) {
  const std::string lower = Lower(name);
  const bool plain =
      !name.empty() && IsNameStart(name.front()) && std::all_of(name.begin(), name.end(), IsNamePart);
  if (plain && !IsKeyword(lower)) return std::string(name);
  std::string quoted = "\"";
  for (char c : name) {
    if (c == '"') quoted += '"';
    quoted += c;
  }
  return quoted + '"';
}

Status Tokenizer::Error(size_t offset, std::string_view expected, std::string hint) const {
  offset = SkipSpaces(offset);
  std::string found = "the end";
  if (offset < source_.size()) {
    // One word or symbol, whole characters only.
    size_t end = offset + 1;
    while (end < source_.size() && end - offset < 40 && IsNamePart(source_[offset]) &&
           IsNamePart(source_[end]))
      ++end;
    while (end < source_.size() && (static_cast<unsigned char>(source_[end]) & 0xC0) == 0x80) ++end;
    found = "'" + std::string(source_.substr(offset, end - offset)) + "'";
  }
  return UserError("expression: expected " + std::string(expected) + " at column " +
                       std::to_string(ColumnOf(source_, offset)) + ", found " + found,
                   std::move(hint));
}

size_t Tokenizer::SkipSpaces(size_t offset) const {
  while (offset < source_.size() && IsSpace(source_[offset])) ++offset;
  return offset;
}

// `open` is the offset of the opening quote; the quote itself is written twice.
Result<Token> Tokenizer::Quoted(size_t begin, size_t open, char quote, TokenKind kind) const {
  Token token{kind, "", begin, 0};
  for (size_t i = open + 1; i < source_.size(); ++i) {
    if (source_[i] != quote) {
      token.text += source_[i];
    } else if (i + 1 < source_.size() && source_[i + 1] == quote) {
      token.text += quote;
      ++i;
    } else {
      token.end = i + 1;
      return token;
    }
  }
  return UserError("expression: the " + std::string(1, quote) + " at column " +
                   std::to_string(ColumnOf(source_, open)) + " is never closed");
}

Result<Token> Tokenizer::Number(size_t begin) const {
  size_t i = begin;
  auto digits = [&] {
    while (i < source_.size() && IsDigit(source_[i])) ++i;
  };
  digits();
  if (i < source_.size() && source_[i] == '.') {
    ++i;
    digits();
  }
  if (i < source_.size() && (source_[i] == 'e' || source_[i] == 'E')) {
    ++i;
    if (i < source_.size() && (source_[i] == '+' || source_[i] == '-')) ++i;
    const size_t exponent = i;
    digits();
    if (i == exponent) return Error(i, "the digits of an exponent");
  }
  if (i < source_.size() && IsNamePart(source_[i])) {
    return Error(i, "the end of the number",
                 "quote a column name that starts with a digit with double quotes");
  }
  return Token{TokenKind::kNumber, std::string(source_.substr(begin, i - begin)), begin, i};
}

Result<Token> Tokenizer::At(size_t offset) const {
  const size_t begin = SkipSpaces(offset);
  if (begin >= source_.size()) return Token{TokenKind::kEnd, "", begin, begin};
  const char c = source_[begin];
  const char next = begin + 1 < source_.size() ? source_[begin + 1] : '\0';
  if (c == '\'') return Quoted(begin, begin, '\'', TokenKind::kString);
  if (c == '"' || c == '`') return Quoted(begin, begin, c, TokenKind::kQuotedName);
  if ((c == 'x' || c == 'X') && next == '\'') {
    ARROW_ASSIGN_OR_RAISE(auto token, Quoted(begin, begin + 1, '\'', TokenKind::kHexString));
    std::string bytes;
    for (size_t i = 0; i + 1 < token.text.size(); i += 2) {
      const int high = HexDigit(token.text[i]), low = HexDigit(token.text[i + 1]);
      if (high < 0 || low < 0) return Error(begin, "pairs of hexadecimal digits in x'...'");
      bytes += static_cast<char>(high * 16 + low);
    }
    if (token.text.size() % 2 != 0) return Error(begin, "pairs of hexadecimal digits in x'...'");
    token.text = std::move(bytes);
    return token;
  }
  if (IsDigit(c) || (c == '.' && IsDigit(next))) return Number(begin);
  if (IsNameStart(c)) {
    size_t end = begin;
    while (end < source_.size() && IsNamePart(source_[end])) ++end;
    return Token{TokenKind::kWord, std::string(source_.substr(begin, end - begin)), begin, end};
  }
  for (std::string_view symbol : {"==", "!=", "<>", "<=", ">=", "=>", "||", "::"}) {
    if (source_.substr(begin, 2) == symbol)
      return Token{TokenKind::kSymbol, std::string(symbol), begin, begin + 2};
  }
  if (std::string_view("+-*/%=<>(),.[]").find(c) != std::string_view::npos) {
    return Token{TokenKind::kSymbol, std::string(1, c), begin, begin + 1};
  }
  return Error(begin, "a value or an operator",
               SymbolHint(source_.substr(begin, c == '&' && next == '&' ? 2 : 1)));
}

size_t Tokenizer::TypeEnd(size_t offset) const {
  size_t i = SkipSpaces(offset);
  const size_t begin = i;
  while (i < source_.size() && IsNamePart(source_[i])) ++i;
  const std::string word = Lower(source_.substr(begin, i - begin));
  if (word == "ipc" && i < source_.size() && source_[i] == ':') {
    for (++i; i < source_.size() &&
              (IsNamePart(source_[i]) || std::string_view("+/=").find(source_[i]) != std::string_view::npos);)
      ++i;
    return i;
  }
  // A bracket belongs to the type only where types have one: x::int64 < 5 is a comparison.
  const bool nested = word.find("list") != std::string_view::npos || word == "struct" || word == "map" ||
                      word == "dictionary" || word == "run_end_encoded";
  std::string closers;
  bool in_quotes = false;
  for (; i < source_.size(); ++i) {
    const char c = source_[i];
    if (in_quotes) {
      in_quotes = c != '"';
    } else if (c == '"' && !closers.empty()) {
      in_quotes = true;
    } else if (c == '[' || c == '(' || (c == '<' && (nested || !closers.empty()))) {
      closers += c == '[' ? ']' : c == '(' ? ')' : '>';
    } else if (!closers.empty() && c == closers.back()) {
      closers.pop_back();
    } else if (closers.empty()) {
      break;
    }
  }
  return i;
}

}  // namespace partita
