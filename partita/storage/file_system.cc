#include "partita/storage/file_system.h"

#include <arrow/io/interfaces.h>

#include "partita/base/json.h"
#include "partita/storage/http/http_file.h"
#include "partita/storage/s3/s3_store.h"

namespace partita {
namespace {

std::string LowerScheme(std::string_view location) {
  const size_t end = location.find("://");
  if (end == std::string_view::npos || end == 0) return "";
  std::string scheme(location.substr(0, end));
  for (char& c : scheme) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '-' || c == '.')) return "";
  }
  return scheme;
}

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

Status Changed(const std::string& location, const std::string& what) {
  return WithContext(EnvironmentError("the file changed since it was listed: " + what,
                                      "run the pipeline again without changing its sources meanwhile", false),
                     {.file = location});
}

}  // namespace

std::string PercentDecode(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%' && i + 2 < text.size() && HexValue(text[i + 1]) >= 0 && HexValue(text[i + 2]) >= 0) {
      out.push_back(static_cast<char>(HexValue(text[i + 1]) * 16 + HexValue(text[i + 2])));
      i += 2;
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

Json FileEntry::ToJson() const {
  Json json = {{"location", location}, {"size_bytes", size_bytes}};
  if (mtime_ns != 0) json["mtime_ns"] = mtime_ns;
  if (!etag.empty()) json["etag"] = etag;
  if (!partition_values.empty()) {
    Json values = Json::array();
    for (const auto& [key, value] : partition_values) values.push_back(Json::array({key, value}));
    json["partition_values"] = std::move(values);
  }
  return json;
}

Result<FileEntry> FileEntry::FromJson(const Json& value) {
  FileEntry entry;
  ARROW_ASSIGN_OR_RAISE(entry.location, GetString(value, "location"));
  ARROW_ASSIGN_OR_RAISE(entry.size_bytes, GetInt(value, "size_bytes"));
  ARROW_ASSIGN_OR_RAISE(entry.mtime_ns, GetIntOr(value, "mtime_ns", 0));
  ARROW_ASSIGN_OR_RAISE(entry.etag, GetStringOr(value, "etag", ""));
  const auto values = value.find("partition_values");
  if (values == value.end() || values->is_null()) return entry;
  if (!values->is_array()) return DataError("partition_values is not a list");
  for (const Json& pair : *values) {
    if (!pair.is_array() || pair.size() != 2 || !pair[0].is_string() || !pair[1].is_string()) {
      return DataError("partition_values holds something other than [name, value]");
    }
    entry.partition_values.emplace_back(pair[0].get<std::string>(), pair[1].get<std::string>());
  }
  return entry;
}

bool IsRemote(std::string_view location) {
  const std::string scheme = LowerScheme(location);
  return !scheme.empty() && scheme != "file";
}

Result<std::string> LocalPath(std::string_view location) {
  if (location.find('\0') != std::string_view::npos) return UserError("a path holds a NUL character");
  const std::string scheme = LowerScheme(location);
  if (scheme.empty()) return std::string(location);
  if (scheme != "file") {
    return UserError("'" + std::string(location) + "' is not a local path",
                     "use a local path, file://, s3://, http:// or https://");
  }
  std::string_view rest = location.substr(7);
  if (rest.substr(0, 10) == "localhost/") rest.remove_prefix(9);
  if (rest.empty() || rest[0] != '/') {
    return UserError("'" + std::string(location) + "' names a host", "write file:///absolute/path");
  }
  std::string path = PercentDecode(rest);
  if (path.find('\0') != std::string::npos) return UserError("a path holds a NUL character");
  return path;
}

Result<std::shared_ptr<arrow::io::RandomAccessFile>> OpenFile(Env* env, const FileEntry& entry,
                                                              arrow::MemoryPool* pool,
                                                              const CancelToken& cancel) {
  if (IsS3(entry.location)) return OpenS3File(entry, pool, cancel);
  if (IsRemote(entry.location)) return OpenHttpFile(entry, pool, cancel);
  ARROW_ASSIGN_OR_RAISE(const std::string path, LocalPath(entry.location));
  ARROW_ASSIGN_OR_RAISE(const FileStatus status, env->Stat(path));
  if (!status.exists) return Changed(entry.location, "it is gone");
  if (status.is_directory) return Changed(entry.location, "it is a folder now");
  if (entry.size_bytes >= 0 && status.size_bytes != entry.size_bytes) {
    return Changed(entry.location, "it had " + std::to_string(entry.size_bytes) + " bytes and has " +
                                       std::to_string(status.size_bytes));
  }
  if (entry.mtime_ns != 0 && status.mtime_ns != entry.mtime_ns) {
    return Changed(entry.location, "its modification time is another");
  }
  // Sources are read once: keep them from pushing others' pages out of the cache.
  ARROW_ASSIGN_OR_RAISE(auto file, env->OpenRead(path, {.drop_cache = entry.size_bytes > (64 << 20)}));
  return file;
}

}  // namespace partita
