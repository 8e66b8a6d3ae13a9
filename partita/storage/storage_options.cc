#include "partita/storage/storage_options.h"

#include <cstdlib>
#include <mutex>
#include <vector>

#include "partita/base/json.h"

namespace partita {
namespace {

std::mutex g_mutex;
std::string g_text;  // what SetStorageOptions was given

std::string Variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

std::string FirstOf(const std::string& given, std::initializer_list<const char*> names) {
  if (!given.empty()) return given;
  for (const char* name : names) {
    if (std::string value = Variable(name); !value.empty()) return value;
  }
  return "";
}

bool LooksSecret(std::string_view name) {
  for (const std::string_view word : {"key", "secret", "token", "password"}) {
    if (name.find(word) != std::string_view::npos) return true;
  }
  return false;
}

Status Apply(StorageOptions* options, const std::string& name, const std::string& value) {
  if (name == "endpoint_url" || name == "endpoint") {
    const bool is_url = value.starts_with("http://") || value.starts_with("https://");
    if (!value.empty() && !is_url)
      return UserError("endpoint_url: '" + value + "' is no http:// or https:// URL");
    options->endpoint_url = value;
  } else if (name == "region") {
    options->region = value;
  } else if (name == "anon") {
    if (value != "true" && value != "false")
      return UserError("anon: '" + value + "' is neither true nor false");
    options->anonymous = value == "true";
  } else if (name == "addressing") {
    if (value != "path" && value != "virtual")
      return UserError("addressing: '" + value + "' is neither path nor virtual");
    options->addressing = value;
  } else if (LooksSecret(name)) {
    return UserError("'" + name + "' is a secret; options are kept in the run's record",
                     "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE");
  } else {
    return UserError("unknown storage option '" + name + "'",
                     "the options are endpoint_url, region, anon and addressing");
  }
  return Status::OK();
}

}  // namespace

Result<StorageOptions> ParseStorageOptions(std::string_view text) {
  StorageOptions options;
  if (text.starts_with("{")) {
    ARROW_ASSIGN_OR_RAISE(const Json json, ParseJson(std::string(text)));
    for (const auto& [name, value] : json.items()) {
      ARROW_RETURN_NOT_OK(Apply(&options, name, value.is_string() ? value.get<std::string>() : value.dump()));
    }
  } else {
    while (!text.empty()) {
      const size_t end = std::min(text.find(','), text.size());
      const std::string_view part = text.substr(0, end);
      text.remove_prefix(std::min(end + 1, text.size()));
      const size_t equals = part.find('=');
      if (equals == std::string_view::npos) {
        return UserError("'" + std::string(part) + "' is no name=value");
      }
      ARROW_RETURN_NOT_OK(
          Apply(&options, std::string(part.substr(0, equals)), std::string(part.substr(equals + 1))));
    }
  }
  options.endpoint_url = FirstOf(options.endpoint_url, {"AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"});
  while (options.endpoint_url.ends_with('/')) options.endpoint_url.pop_back();
  options.region = FirstOf(options.region, {"AWS_REGION", "AWS_DEFAULT_REGION"});
  options.ca_file = Variable("AWS_CA_BUNDLE");
  return options;
}

Status SetStorageOptions(std::string_view text) {
  ARROW_RETURN_NOT_OK(ParseStorageOptions(text).status());
  std::lock_guard lock(g_mutex);
  g_text = std::string(text);
  return Status::OK();
}

Result<StorageOptions> CurrentStorageOptions() {
  std::lock_guard lock(g_mutex);
  return ParseStorageOptions(g_text.empty() ? Variable("PARTITA_STORAGE_OPTIONS") : g_text);
}

}  // namespace partita
