// Words and precedences of the text form, shared by parser and printer. Internal to this room.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "partita/base/error.h"

namespace partita {

// Loosest first, as in SQL.
enum Precedence : int {
  kOr = 1,
  kAnd,
  kNot,
  kComparison,
  kConcatenation,
  kAdditive,
  kMultiplicative,
  kUnary,
  kPostfix,
};

// Words that cannot be a bare column name.
bool IsKeyword(std::string_view lower_case_word);
// The name, in double quotes where it is no identifier or a keyword.
std::string QuoteIdentifier(std::string_view name);

enum class TokenKind { kEnd, kWord, kQuotedName, kNumber, kString, kHexString, kSymbol };

struct Token {
  TokenKind kind = TokenKind::kEnd;
  std::string text;  // names and strings without quotes; hex strings decoded
  size_t begin = 0;  // offset in the source
  size_t end = 0;
};

class Tokenizer {
 public:
  explicit Tokenizer(std::string_view source) : source_(source) {}
  // The token that starts at or after `offset`.
  Result<Token> At(size_t offset) const;
  // Where the type that starts at or after `offset` ends: a word and the brackets that belong to it.
  size_t TypeEnd(size_t offset) const;
  std::string_view source() const { return source_; }
  // "expression: expected <expected> at column 12, found 'x'".
  Status Error(size_t offset, std::string_view expected, std::string hint = "") const;

 private:
  size_t SkipSpaces(size_t offset) const;
  Result<Token> Quoted(size_t begin, size_t open, char quote, TokenKind kind) const;
  Result<Token> Number(size_t begin) const;
  std::string_view source_;
};

}  // namespace partita
