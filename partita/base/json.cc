#include "partita/base/json.h"

#include <exception>
#include <limits>
#include <utility>

namespace partita {
namespace {

constexpr int kMaxDepth = 256;
constexpr size_t kMaxMessageBytes = 300;

std::string LineAndColumn(std::string_view text, size_t offset) {
  size_t line = 1, column = 1;
  for (size_t i = 0; i < offset && i < text.size(); ++i) {
    column = text[i] == '\n' ? 1 : column + 1;
    line += text[i] == '\n';
  }
  return "line " + std::to_string(line) + ", column " + std::to_string(column);
}

// The parser keeps its own stack, but everything that later walks a value (dump, copy) recurses: too deep a
// value must never be built. Brackets outside strings are all that count; whether the text is JSON at all,
// the parser says.
Status CheckDepth(std::string_view text) {
  int depth = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        in_string = false;
      }
      continue;
    }
    if (c == '"') in_string = true;
    if (c == '[' || c == '{') {
      if (++depth > kMaxDepth) {
        return DataError("JSON is nested deeper than " + std::to_string(kMaxDepth) + " levels at " +
                         LineAndColumn(text, i));
      }
    }
    if (c == ']' || c == '}') --depth;
  }
  return Status::OK();
}

// "[json.exception.parse_error.101] parse error at line 1, column 5: ..." without the library's own prefix.
std::string CleanMessage(std::string message) {
  static constexpr std::string_view kBefore = "parse error at ";
  if (const size_t at = message.find(kBefore); at != std::string::npos) {
    message.erase(0, at + kBefore.size());
  } else if (const size_t end = message.find("] "); end != std::string::npos) {
    message.erase(0, end + 2);
  }
  if (message.size() > kMaxMessageBytes) message = message.substr(0, kMaxMessageBytes) + "...";
  return message;
}

Status KeyError(std::string_view key, const char* what) {
  return DataError("JSON key '" + std::string(key) + "' " + what);
}

// Null where the key is absent or its value is null.
Result<const Json*> Find(const Json& object, std::string_view key) {
  if (!object.is_object()) {
    return DataError("a JSON object with the key '" + std::string(key) + "' is expected, not " +
                     object.type_name());
  }
  const auto it = object.find(std::string(key));
  return it == object.end() || it->is_null() ? nullptr : &*it;
}

Result<const Json*> Require(const Json& object, std::string_view key) {
  ARROW_ASSIGN_OR_RAISE(const Json* value, Find(object, key));
  if (value == nullptr) return KeyError(key, "is missing");
  return value;
}

Result<std::string> AsString(const Json& value, std::string_view key) {
  if (!value.is_string()) return KeyError(key, "must be a string");
  return value.get<std::string>();
}

Result<int64_t> AsInt(const Json& value, std::string_view key) {
  if (!value.is_number_integer()) return KeyError(key, "must be an integer");
  if (value.is_number_unsigned() &&
      value.get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    return KeyError(key, "is larger than a 64-bit integer");
  }
  return value.get<int64_t>();
}

Result<bool> AsBool(const Json& value, std::string_view key) {
  if (!value.is_boolean()) return KeyError(key, "must be true or false");
  return value.get<bool>();
}

Result<double> AsDouble(const Json& value, std::string_view key) {
  if (!value.is_number()) return KeyError(key, "must be a number");
  return value.get<double>();
}

}  // namespace

Result<Json> ParseJson(std::string_view text) {
  ARROW_RETURN_NOT_OK(CheckDepth(text));
  try {
    return Json::parse(text);
  } catch (const Json::parse_error& error) {
    return DataError("not valid JSON at " + CleanMessage(error.what()));
  } catch (const std::bad_alloc&) {
    return OutOfMemoryError("no memory left while reading JSON");
  } catch (const std::exception& error) {  // a number out of range
    return DataError("not valid JSON: " + CleanMessage(error.what()));
  }
}

std::string CanonicalJson(const Json& value) {
  return value.dump(-1, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace);
}

std::string PrettyJson(const Json& value) {
  return value.dump(2, ' ', /*ensure_ascii=*/false, Json::error_handler_t::replace) + "\n";
}

Result<std::string> GetString(const Json& object, std::string_view key) {
  ARROW_ASSIGN_OR_RAISE(const Json* value, Require(object, key));
  return AsString(*value, key);
}

Result<int64_t> GetInt(const Json& object, std::string_view key) {
  ARROW_ASSIGN_OR_RAISE(const Json* value, Require(object, key));
  return AsInt(*value, key);
}

Result<bool> GetBool(const Json& object, std::string_view key) {
  ARROW_ASSIGN_OR_RAISE(const Json* value, Require(object, key));
  return AsBool(*value, key);
}

Result<double> GetDouble(const Json& object, std::string_view key) {
  ARROW_ASSIGN_OR_RAISE(const Json* value, Require(object, key));
  return AsDouble(*value, key);
}

Result<std::string> GetStringOr(const Json& object, std::string_view key, std::string fallback) {
  ARROW_ASSIGN_OR_RAISE(const Json* value, Find(object, key));
  return value ? AsString(*value, key) : Result<std::string>(std::move(fallback));
}

Result<int64_t> GetIntOr(const Json& object, std::string_view key, int64_t fallback) {
  ARROW_ASSIGN_OR_RAISE(const Json* value, Find(object, key));
  return value ? AsInt(*value, key) : Result<int64_t>(fallback);
}

Result<bool> GetBoolOr(const Json& object, std::string_view key, bool fallback) {
  ARROW_ASSIGN_OR_RAISE(const Json* value, Find(object, key));
  return value ? AsBool(*value, key) : Result<bool>(fallback);
}

Result<double> GetDoubleOr(const Json& object, std::string_view key, double fallback) {
  ARROW_ASSIGN_OR_RAISE(const Json* value, Find(object, key));
  return value ? AsDouble(*value, key) : Result<double>(fallback);
}

Result<std::vector<std::string>> GetStringsOr(const Json& object, std::string_view key,
                                              std::vector<std::string> fallback) {
  ARROW_ASSIGN_OR_RAISE(const Json* value, Find(object, key));
  if (value == nullptr) return fallback;
  if (!value->is_array()) return KeyError(key, "must be a list of strings");
  std::vector<std::string> strings;
  for (const Json& item : *value) {
    if (!item.is_string()) return KeyError(key, "must be a list of strings");
    strings.push_back(item.get<std::string>());
  }
  return strings;
}

}  // namespace partita
