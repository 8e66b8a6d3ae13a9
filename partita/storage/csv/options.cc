#include "partita/storage/csv/options.h"

#include <arrow/type.h>

#include "partita/base/json.h"
#include "partita/block/schema.h"

namespace partita {
namespace {

Result<char> OneByte(const Json& args, const char* key, char fallback, bool may_be_empty) {
  const auto found = args.find(key);
  if (found == args.end()) return fallback;
  if (found->is_null()) return may_be_empty ? Result<char>('\0') : Result<char>(fallback);
  ARROW_ASSIGN_OR_RAISE(const std::string text, GetString(args, key));
  if (text.empty() && may_be_empty) return '\0';
  if (text == "\\t" || text == "tab") return '\t';
  if (text.size() != 1 || text[0] == '\n' || text[0] == '\r' || text[0] == '\0') {
    return UserError(std::string(key) + " must be one character (one byte) that is no line end",
                     "use \",\", \";\" or \"\\t\"");
  }
  return text[0];
}

}  // namespace

Result<std::map<std::string, std::shared_ptr<arrow::DataType>>> ParseColumnTypes(const Json& args,
                                                                                 const std::string& key) {
  std::map<std::string, std::shared_ptr<arrow::DataType>> types;
  const auto found = args.find(key);
  if (found == args.end() || found->is_null()) return types;
  if (!found->is_object()) return UserError(key + " must be a map of column names to types");
  for (const auto& [name, type] : found->items()) {
    if (!type.is_string())
      return UserError(key + ": the type of '" + name + "' must be text", "write for example int64");
    ARROW_ASSIGN_OR_RAISE(types[name], ParseType(type.get<std::string>()));
  }
  return types;
}

Result<std::shared_ptr<arrow::Schema>> ApplyColumnTypes(
    std::shared_ptr<arrow::Schema> schema,
    const std::map<std::string, std::shared_ptr<arrow::DataType>>& types) {
  for (const auto& [name, type] : types) {
    ARROW_ASSIGN_OR_RAISE(const int index, FindColumn(*schema, name));
    ARROW_ASSIGN_OR_RAISE(schema, schema->SetField(index, schema->field(index)->WithType(type)));
  }
  return schema;
}

Result<CsvOptions> CsvOptions::Parse(const Json* given) {
  CsvOptions options;
  const Json args = given != nullptr && given->is_object() ? *given : Json::object();
  ARROW_ASSIGN_OR_RAISE(options.delimiter, OneByte(args, "delimiter", ',', false));
  ARROW_ASSIGN_OR_RAISE(options.quote, OneByte(args, "quote", '"', true));
  ARROW_ASSIGN_OR_RAISE(options.escape, OneByte(args, "escape", '\0', true));
  if (options.delimiter == options.quote || options.delimiter == options.escape) {
    return UserError("delimiter, quote and escape must be different characters");
  }
  ARROW_ASSIGN_OR_RAISE(options.column_names, GetStringsOr(args, "column_names", {}));
  ARROW_ASSIGN_OR_RAISE(options.has_header, GetBoolOr(args, "has_header", options.column_names.empty()));
  ARROW_ASSIGN_OR_RAISE(options.skip_rows, GetIntOr(args, "skip_rows", 0));
  if (options.skip_rows < 0) return UserError("skip_rows must not be negative");
  ARROW_ASSIGN_OR_RAISE(options.newlines_in_values, GetBoolOr(args, "newlines_in_values", false));
  ARROW_ASSIGN_OR_RAISE(options.column_types, ParseColumnTypes(args, "column_types"));
  const auto nulls = args.find("null_values");
  options.custom_null_values = nulls != args.end() && !nulls->is_null();
  ARROW_ASSIGN_OR_RAISE(
      options.null_values,
      GetStringsOr(args, "null_values", {"", "NA", "N/A", "#N/A", "n/a", "NULL", "null", "None"}));
  return options;
}

}  // namespace partita
