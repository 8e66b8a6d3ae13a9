// How a WebDataset sample is named and cut: member names to (key, extension), columns to members, bytes to
// media extensions. Pure. Internal to storage/; docs/formats/webdataset.md is the manual.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "partita/base/error.h"
#include "partita/base/json_fwd.h"

namespace arrow {
class DataType;
class Schema;
}  // namespace arrow

namespace partita {

inline constexpr std::string_view kSampleKeyColumn = "__key__";

// "a/b/0001.seg.PNG" -> {"a/b/0001", "seg.png"}: the key ends at the first dot of the last path part. False
// when the name has no key or no extension; such members are no part of a sample.
bool SplitMemberName(std::string_view name, std::string* key, std::string* extension);

// The type a member of this extension is read as: string for text (json, txt, cls, ...), else binary.
std::shared_ptr<arrow::DataType> TypeOfExtension(std::string_view extension);

// "jpg", "png", "webp", ... by a value's first bytes; empty when they are none that is known.
std::string_view SniffMediaExtension(std::string_view bytes);

// Ok for a key that can name members: not empty, at most 1000 bytes, UTF-8, a safe relative path without
// control characters and without a dot in its last part.
Status CheckSampleKey(std::string_view key);

// Where each column of a written dataset goes.
struct SampleLayout {
  struct Member {
    int column = -1;
    std::string
        extension;  // fixed; or, with `sniff`, what is put before the sniffed extension ("" or "mask.")
    bool sniff = false;
    std::string fallback;  // with `sniff`: the extension of bytes that are no known media
  };
  int key_column = -1;            // -1: keys are made from partition and row
  std::vector<Member> members;    // in schema order
  std::vector<int> json_columns;  // members of <key>.json, sorted by name
  bool writes_json = false;

  static Result<SampleLayout> Make(const arrow::Schema& schema, const Json& args);
};

}  // namespace partita
