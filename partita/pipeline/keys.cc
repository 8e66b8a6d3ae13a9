#include "partita/pipeline/keys.h"

#include <arrow/extension_type.h>
#include <arrow/type.h>
#include <arrow/type_traits.h>

#include <set>

#include "partita/block/schema.h"

namespace partita {

bool IsKeyType(const arrow::DataType& type) {
  switch (type.id()) {
    case arrow::Type::EXTENSION:
      return IsKeyType(*static_cast<const arrow::ExtensionType&>(type).storage_type());
    case arrow::Type::DICTIONARY:
      return IsKeyType(*static_cast<const arrow::DictionaryType&>(type).value_type());
    case arrow::Type::INTERVAL_DAY_TIME:
    case arrow::Type::INTERVAL_MONTH_DAY_NANO:
      return false;
    default:
      return !arrow::is_nested(type.id());
  }
}

Status CheckKeys(std::string_view op, const std::vector<std::string>& keys, const arrow::Schema& input,
                 std::string_view arg) {
  const std::string name(op), in_arg = "in `" + std::string(arg) + "`";
  if (keys.empty()) return UserError(name + " needs at least one column " + in_arg);
  std::set<std::string_view> seen;
  for (const std::string& key : keys) {
    ARROW_ASSIGN_OR_RAISE(const int index, FindColumn(input, key));
    if (!seen.insert(key).second) {
      return UserError(name + " names column '" + key + "' twice " + in_arg, "name it once");
    }
    const arrow::DataType& type = *input.field(index)->type();
    if (!IsKeyType(type)) {
      return UserError(name + " by column '" + key + "': its type " + TypeToString(type) + " cannot be a key",
                       "compute a key that is no list, struct or map with with_columns first");
    }
  }
  return Status::OK();
}

Result<std::vector<std::string>> DistinctKeys(const std::vector<std::string>& by,
                                              const arrow::Schema& input) {
  if (!by.empty()) {
    ARROW_RETURN_NOT_OK(CheckKeys("distinct", by, input));
    return by;
  }
  for (const auto& field : input.fields()) {
    if (IsKeyType(*field->type())) continue;
    return UserError("distinct compares all columns, but column '" + field->name() + "' of type " +
                         TypeToString(*field->type()) + " cannot be compared",
                     "name the columns to compare in `by`");
  }
  if (input.num_fields() == 0) return UserError("distinct has no column to compare");
  return input.field_names();
}

}  // namespace partita
