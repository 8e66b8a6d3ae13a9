// Typed expressions over Arrow compute: built, parsed from text with SQL's operators, bound to a schema,
// evaluated in bounded slices, and pushed down. An Expression is an immutable value (cheap to copy); its JSON
// form is what plans hold.
//
// Text: column names (quoted with "double quotes" or `backticks` where they are no identifiers; a.b for
// struct fields), numbers, 'strings', true, false, null; + - * / %; = == != <> < <= > >=; and or not; is
// null, is not null; in (...), not in (...); between .. and ..; like, ilike, not like; || ; case when .. then
// .. else .. end; cast(x as type), x::type; f(x, ...) for any Arrow compute scalar function by its name
// (utf8_upper(s), starts_with(s, pattern => 'x') : named arguments are function options). Functions `length`,
// `lower`, `upper`, `trim`, `abs`, `coalesce`, `if_else`, ... are friendly aliases (list in
// docs/expressions.md).
//
// JSON: {"column": "a"} | {"literal": 5, "type": "int64"} | {"call": "add", "args": [..], "options": {..}}.
//
// Expressions are canonical from the moment they are made: aliases become Arrow's names, literal arguments that Arrow wants as options
// become options, `and` / `or` are flat, casts of literals are literals. So ToJson is the same however they were written.
//
// Semantics: SQL's three-valued logic (and/or are Kleene); a filter keeps rows where the predicate is true.
// Integer overflow and invalid casts are data errors (checked kernels); `/` on integers divides as Arrow's
// divide_checked (truncates). Division by zero: data error for integers.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "partita/base/error.h"
#include "partita/base/json_fwd.h"

namespace arrow {
class Array;
class DataType;
class MemoryPool;
class RecordBatch;
class Schema;
struct Scalar;
}  // namespace arrow

namespace partita {

class Expression {
 public:
  struct Node;
  Expression() = default;
  bool valid() const { return node_ != nullptr; }

  static Expression Column(std::string name);
  static Expression Literal(std::shared_ptr<arrow::Scalar> value);
  static Expression Call(std::string function, std::vector<Expression> args, const Json& options);
  static Expression Call(std::string function, std::vector<Expression> args);

  // Parses text; user errors give the column in the text and what was expected.
  static Result<Expression> Parse(std::string_view text);
  static Result<Expression> FromJson(const Json& value);
  Json ToJson() const;
  std::string ToString() const;  // SQL-like text that Parse reads back

  // Top-level columns read, each once, in order of first use.
  std::vector<std::string> Columns() const;
  // The same expression with columns replaced (projection pushed through): name -> expression; absent names
  // stay.
  Expression Substitute(const std::vector<std::pair<std::string, Expression>>& by) const;
  // `a and b and c` -> [a, b, c].
  std::vector<Expression> Conjuncts() const;
  static Expression And(const std::vector<Expression>& parts);

  const Node* node() const { return node_.get(); }
  explicit Expression(std::shared_ptr<const Node> node) : node_(std::move(node)) {}

 private:
  std::shared_ptr<const Node> node_;
};

// An expression bound to a schema: types are checked, implicit casts are inserted. Immutable and thread-safe.
class BoundExpression {
 public:
  static Result<std::shared_ptr<const BoundExpression>> Bind(const Expression& expression,
                                                             std::shared_ptr<arrow::Schema> schema);
  virtual ~BoundExpression() = default;
  virtual const std::shared_ptr<arrow::DataType>& type() const = 0;
  // One array of batch.num_rows() values; a bare column is returned as it is. What is returned is allocated from `pool` only.
  // Works in slices; a kernel that is refused memory is retried on half of the slice. A value that cannot be computed is a data error.
  virtual Result<std::shared_ptr<arrow::Array>> Evaluate(const arrow::RecordBatch& batch,
                                                         arrow::MemoryPool* pool) const = 0;
};

// Can any row satisfy `predicate` given what statistics say? Used to skip row groups: false only when
// provably none.
struct ColumnRange {
  std::string column;
  std::shared_ptr<arrow::Scalar> min, max;  // null pointer: unknown
  bool has_nulls = true;
  bool all_null = false;
};
bool MaySatisfy(const Expression& predicate, const arrow::Schema& schema,
                const std::vector<ColumnRange>& ranges);

// Arrow's compute kernels live in a library of their own; this registers them once (about 1 ms). Called by
// Bind.
Status EnsureComputeKernels();

}  // namespace partita
