// Expressions: text and literals to the JSON form of expression/expression.h. Python builds the rest itself.
#include <arrow/array/array_base.h>
#include <arrow/scalar.h>
#include <arrow/type.h>

#include "partita/base/json.h"
#include "partita/block/schema.h"
#include "partita/expression/expression.h"
#include "python/src/arrow_capsules.h"
#include "python/src/bindings.h"

namespace partita::python {

void BindExpressions(nb::module_& m) {
  m.def(
      "parse_expression",
      [](const std::string& text) { return CanonicalJson(ValueOrThrow(Expression::Parse(text)).ToJson()); },
      nb::arg("text"), "SQL-like text to JSON.");
  m.def(
      "expression_text",
      [](const std::string& json) {
        return ValueOrThrow(Expression::FromJson(ValueOrThrow(ParseJson(json)))).ToString();
      },
      nb::arg("json"), "JSON to SQL-like text.");
  m.def(
      "literal_json",
      [](nb::handle array) {
        const auto scalar = ValueOrThrow(ArrayFrom(array)->GetScalar(0));
        return CanonicalJson(Expression::Literal(scalar).ToJson());
      },
      nb::arg("array"), "The first value of an Arrow array as a literal.");
  m.def(
      "type_text", [](nb::handle type) { return TypeToString(*TypeFrom(type)); }, nb::arg("type"),
      "An Arrow type as pipelines write it.");
  m.def(
      "canonical_type", [](const std::string& text) { return TypeToString(*ValueOrThrow(ParseType(text))); },
      nb::arg("text"), "A type as people write it, as pipelines write it.");
  m.def(
      "nearest_name",
      [](const std::string& name, const std::vector<std::string>& candidates) {
        return NearestName(name, candidates);
      },
      nb::arg("name"), nb::arg("candidates"), "The candidate that was probably meant, or an empty text.");
}

}  // namespace partita::python
