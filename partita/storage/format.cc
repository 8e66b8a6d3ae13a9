#include "partita/storage/format.h"

#include "partita/base/json.h"
#include "partita/storage/formats.h"

namespace partita {
namespace {

struct RangeName {
  Fragment::Range range;
  std::string_view name;
};
constexpr RangeName kRangeNames[] = {
    {Fragment::Range::kWhole, "whole"},
    {Fragment::Range::kUnits, "units"},
    {Fragment::Range::kBytes, "bytes"},
    {Fragment::Range::kRows, "rows"},
};

}  // namespace

Json Fragment::ToJson() const {
  Json value = {{"file", file.ToJson()}};
  if (range == Range::kWhole) return value;
  for (const auto& [known, name] : kRangeNames) {
    if (known == range) value["range"] = name;
  }
  value["begin"] = begin;
  value["end"] = end;
  return value;
}

Result<Fragment> Fragment::FromJson(const Json& value) {
  if (!value.is_object() || !value.contains("file"))
    return DataError("a fragment is an object with a `file`");
  Fragment fragment;
  ARROW_ASSIGN_OR_RAISE(fragment.file, FileEntry::FromJson(value.at("file")));
  ARROW_ASSIGN_OR_RAISE(const std::string range, GetStringOr(value, "range", "whole"));
  bool known = false;
  for (const auto& [kind, name] : kRangeNames) {
    if (name != range) continue;
    fragment.range = kind;
    known = true;
  }
  if (!known) return DataError("a fragment has the unknown range '" + range + "'");
  if (fragment.range == Range::kWhole) return fragment;
  ARROW_ASSIGN_OR_RAISE(fragment.begin, GetInt(value, "begin"));
  ARROW_ASSIGN_OR_RAISE(fragment.end, GetInt(value, "end"));
  if (fragment.begin < 0 || fragment.end < fragment.begin) {
    return DataError("a fragment of " + fragment.file.location + " has the impossible range [" +
                     std::to_string(fragment.begin) + ", " + std::to_string(fragment.end) + ")");
  }
  return fragment;
}

Result<std::unique_ptr<FileWriter>> Format::OpenWriter(std::shared_ptr<arrow::io::OutputStream>,
                                                       WriteRequest) const {
  return UserError("the format '" + std::string(name()) + "' is read only",
                   "write parquet, csv, jsonl or webdataset");
}

std::vector<const Format*> AllFormats() {
  return {ParquetFormat(), CsvFormat(), JsonlFormat(), TextFormat(), FilesFormat(), WebDatasetFormat()};
}

const Format* FindFormat(std::string_view name) {
  for (const Format* format : AllFormats()) {
    if (format->name() == name) return format;
  }
  return nullptr;
}

}  // namespace partita
