#include "partita/block/schema.h"

#include <arrow/type.h>
#include <arrow/util/key_value_metadata.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "partita/base/json.h"

namespace partita {
namespace {

constexpr size_t kMaxNamesShown = 20;

// "a, b, c, and 7 more"
std::string ListNames(const std::vector<std::string>& names) {
  std::string text;
  for (size_t i = 0; i < names.size() && i < kMaxNamesShown; ++i) text += (i > 0 ? ", " : "") + names[i];
  if (names.size() > kMaxNamesShown)
    text += ", and " + std::to_string(names.size() - kMaxNamesShown) + " more";
  return text;
}

char LowerAscii(char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; }

// Optimal string alignment distance: insert, delete, replace, swap of neighbours; letter case is free.
size_t EditDistance(std::string_view a, std::string_view b) {
  std::vector<size_t> before(b.size() + 1), previous(b.size() + 1), current(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) previous[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    current[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const bool same = LowerAscii(a[i - 1]) == LowerAscii(b[j - 1]);
      current[j] = std::min({previous[j] + 1, current[j - 1] + 1, previous[j - 1] + (same ? 0 : 1)});
      if (i > 1 && j > 1 && LowerAscii(a[i - 1]) == LowerAscii(b[j - 2]) &&
          LowerAscii(a[i - 2]) == LowerAscii(b[j - 1])) {
        current[j] = std::min(current[j], before[j - 2] + 1);
      }
    }
    std::swap(before, previous);
    std::swap(previous, current);
  }
  return previous[b.size()];
}

Result<std::shared_ptr<arrow::KeyValueMetadata>> MetadataFromJson(const Json& value,
                                                                  const std::string& column) {
  if (!value.is_object()) return DataError("schema: 'metadata' of column '" + column + "' is not an object");
  auto metadata = std::make_shared<arrow::KeyValueMetadata>();
  for (const auto& [key, text] : value.items()) {
    if (!text.is_string()) {
      return DataError("schema: metadata '" + key + "' of column '" + column + "' is not a string");
    }
    metadata->Append(key, text.get<std::string>());
  }
  return metadata;
}

}  // namespace

Json SchemaToJson(const arrow::Schema& schema) {
  Json columns = Json::array();
  for (const auto& field : schema.fields()) {
    Json column{{"name", field->name()}, {"type", TypeToString(*field->type())}};
    if (!field->nullable()) column["nullable"] = false;
    if (field->HasMetadata() && field->metadata()->size() > 0) {
      Json metadata = Json::object();
      for (const auto& [key, text] : field->metadata()->sorted_pairs()) metadata[key] = text;
      column["metadata"] = std::move(metadata);
    }
    columns.push_back(std::move(column));
  }
  return columns;
}

Result<std::shared_ptr<arrow::Schema>> SchemaFromJson(const Json& value) {
  if (!value.is_array()) return DataError("schema: expected a JSON array of columns");
  arrow::FieldVector fields;
  for (const auto& column : value) {
    if (!column.is_object()) return DataError("schema: a column is not a JSON object");
    ARROW_ASSIGN_OR_RAISE(auto name, GetString(column, "name"));
    ARROW_ASSIGN_OR_RAISE(auto type_text, GetString(column, "type"));
    auto type = ParseType(type_text);
    if (!type.ok()) return DataError("schema: column '" + name + "': " + type.status().message());
    ARROW_ASSIGN_OR_RAISE(bool nullable, GetBoolOr(column, "nullable", true));
    std::shared_ptr<arrow::KeyValueMetadata> metadata;
    if (const auto found = column.find("metadata"); found != column.end() && !found->is_null()) {
      ARROW_ASSIGN_OR_RAISE(metadata, MetadataFromJson(*found, name));
    }
    fields.push_back(arrow::field(std::move(name), *type, nullable, std::move(metadata)));
  }
  return arrow::schema(std::move(fields));
}

Result<int> FindColumn(const arrow::Schema& schema, std::string_view name) {
  const auto indices = schema.GetAllFieldIndices(std::string(name));
  if (indices.size() == 1) return indices.front();
  const std::string quoted = "'" + std::string(name.substr(0, 200)) + "'";
  if (indices.size() > 1) {
    return UserError("column " + quoted + " occurs " + std::to_string(indices.size()) + " times",
                     "rename the columns so that each name occurs once");
  }
  const auto names = schema.field_names();
  const auto nearest = NearestName(name, names);
  return UserError(
      "there is no column " + quoted + (nearest.empty() ? "" : " (did you mean '" + nearest + "'?)"),
      names.empty() ? "the input has no columns" : "use one of: " + ListNames(names));
}

std::string NearestName(std::string_view name, const std::vector<std::string>& candidates) {
  constexpr size_t kLongestName = 256;  // the distance is quadratic
  const std::string* nearest = nullptr;
  size_t least = 0;
  for (const auto& candidate : candidates) {
    const size_t longest = std::max(name.size(), candidate.size());
    if (longest > kLongestName || candidate.empty()) continue;
    const size_t distance = EditDistance(name, candidate);
    if (distance > (longest + 1) / 3 || distance == longest) continue;
    if (!nearest || distance < least) {
      nearest = &candidate;
      least = distance;
    }
  }
  return nearest ? *nearest : "";
}

}  // namespace partita
