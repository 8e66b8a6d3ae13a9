#include "partita/storage/webdataset/layout.h"

#include <arrow/type.h>
#include <arrow/type_traits.h>

#include <algorithm>
#include <array>
#include <set>

#include "partita/base/env.h"
#include "partita/base/json.h"
#include "partita/base/utf8.h"
#include "partita/block/schema.h"

namespace partita {
namespace {

// Extensions whose members are text, and by which a column of that name is written as it is.
constexpr std::array<std::string_view, 22> kTextExtensions = {
    "json", "jsonl", "txt",  "text", "caption", "transcript", "cls", "cls2", "index", "inx", "id",
    "csv",  "tsv",   "html", "htm",  "xml",     "yaml",       "yml", "md",   "url",   "srt", "vtt"};
constexpr std::array<std::string_view, 27> kBinaryExtensions = {
    "jpg",  "jpeg", "png", "webp", "gif",  "bmp", "tif", "tiff", "avif", "heic", "ppm", "pgm", "pbm", "mp4",
    "webm", "mov",  "mkv", "wav",  "flac", "ogg", "mp3", "m4a",  "pdf",  "npy",  "npz", "pth", "bin"};
// What SniffMediaExtension can answer.
constexpr std::array<std::string_view, 14> kSniffed = {"jpg", "png", "webp", "gif", "tif", "avif", "heic",
                                                       "mp4", "wav", "flac", "ogg", "mp3", "pdf",  "npy"};

template <size_t N>
bool Has(const std::array<std::string_view, N>& list, std::string_view word) {
  return std::find(list.begin(), list.end(), word) != list.end();
}

bool IsText(const arrow::DataType& type) {
  return arrow::is_string(type.id()) || type.id() == arrow::Type::STRING_VIEW;
}
bool IsBinary(const arrow::DataType& type) {
  return type.id() == arrow::Type::BINARY || type.id() == arrow::Type::LARGE_BINARY ||
         type.id() == arrow::Type::BINARY_VIEW || type.id() == arrow::Type::FIXED_SIZE_BINARY;
}

Status CheckExtension(const std::string& column, const std::string& extension) {
  const bool good = !extension.empty() && extension.size() <= 100 && extension.front() != '.' &&
                    extension.back() != '.' && std::all_of(extension.begin(), extension.end(), [](char c) {
                      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                             c == '_' || c == '-' || c == '.';
                    });
  if (good) return Status::OK();
  return UserError("'" + extension + "' cannot be the extension of column '" + column + "'",
                   "use letters, digits, '_', '-' and inner dots, without a leading dot");
}

// A column's name as an extension: characters that would read as something else become '_'.
std::string NameAsExtension(std::string_view column) {
  std::string out;
  for (const char c : column) {
    const bool good = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-';
    const bool upper = c >= 'A' && c <= 'Z';  // readers fold extensions to lower case
    out += good ? c : upper ? static_cast<char>(c + 32) : '_';
  }
  return out.empty() ? "_" : out;
}

class LayoutMaker {
 public:
  LayoutMaker(const arrow::Schema& schema, const Json& args)
      : schema_(schema),
        args_(args.is_object() ? args : Json::object()),
        placed_(static_cast<size_t>(schema.num_fields())) {}

  Result<SampleLayout> Make() {
    ARROW_RETURN_NOT_OK(PlaceKey());
    ARROW_RETURN_NOT_OK(PlaceNamed());
    ARROW_RETURN_NOT_OK(PlaceJson());
    PlaceKnownNames();
    PlaceCaption();
    PlaceBinary();
    PlaceRest();
    std::sort(layout_.members.begin(), layout_.members.end(),
              [](const auto& a, const auto& b) { return a.column < b.column; });
    std::sort(layout_.json_columns.begin(), layout_.json_columns.end(),
              [&](int a, int b) { return schema_.field(a)->name() < schema_.field(b)->name(); });
    layout_.writes_json = !layout_.json_columns.empty();
    ARROW_RETURN_NOT_OK(CheckUnique());
    if (layout_.members.empty() && !layout_.writes_json) {
      return UserError("there is no column to write besides the key", "keep at least one other column");
    }
    return std::move(layout_);
  }

 private:
  const std::string& Name(int column) const { return schema_.field(column)->name(); }
  bool Placed(int column) const { return placed_[static_cast<size_t>(column)]; }
  void AddMember(int column, std::string extension) {
    layout_.members.push_back(
        {.column = column, .extension = std::move(extension), .sniff = false, .fallback = ""});
    placed_[static_cast<size_t>(column)] = true;
  }

  Status PlaceKey() {
    ARROW_ASSIGN_OR_RAISE(const std::string key, GetStringOr(args_, "key", ""));
    if (key.empty()) {
      layout_.key_column = schema_.GetFieldIndex(std::string(kSampleKeyColumn));
      if (layout_.key_column < 0) return Status::OK();
    } else {
      ARROW_ASSIGN_OR_RAISE(layout_.key_column, FindColumn(schema_, key));
    }
    const arrow::DataType& type = *schema_.field(layout_.key_column)->type();
    if (!IsText(type) && !arrow::is_integer(type.id())) {
      return UserError("the key column '" + Name(layout_.key_column) + "' is " + TypeToString(type),
                       "keys must be strings or integers");
    }
    placed_[static_cast<size_t>(layout_.key_column)] = true;
    return Status::OK();
  }

  Status PlaceNamed() {
    const auto found = args_.find("extensions");
    if (found == args_.end() || found->is_null()) return Status::OK();
    if (!found->is_object()) return UserError("extensions must be a map of column names to extensions");
    for (const auto& [name, value] : found->items()) {
      ARROW_ASSIGN_OR_RAISE(const int column, FindColumn(schema_, name));
      if (!value.is_string()) return UserError("extensions: the extension of '" + name + "' must be text");
      ARROW_RETURN_NOT_OK(CheckExtension(name, value.get<std::string>()));
      if (column == layout_.key_column)
        return UserError("the key column '" + name + "' has an extension too");
      AddMember(column, value.get<std::string>());
    }
    return Status::OK();
  }

  Status PlaceJson() {
    const auto found = args_.find("json_columns");
    rest_is_json_ = found == args_.end() || found->is_null();
    if (rest_is_json_) return Status::OK();
    ARROW_ASSIGN_OR_RAISE(const auto names, GetStringsOr(args_, "json_columns", {}));
    for (const std::string& name : names) {
      ARROW_ASSIGN_OR_RAISE(const int column, FindColumn(schema_, name));
      if (Placed(column))
        return UserError("json_columns: '" + name + "' is the key, has an extension, or is named twice");
      layout_.json_columns.push_back(column);
      placed_[static_cast<size_t>(column)] = true;
    }
    return Status::OK();
  }

  // Columns as a WebDataset reader names them: jpg, txt, json, cls, seg.png.
  void PlaceKnownNames() {
    for (int i = 0; i < schema_.num_fields(); ++i) {
      if (Placed(i) || !CheckExtension("", Name(i)).ok()) continue;
      const std::string_view name = Name(i);
      const std::string_view last = name.substr(name.rfind('.') + 1);
      const bool caption = name == "text" || name == "caption";
      const bool as_it_is = (IsText(*schema_.field(i)->type()) && Has(kTextExtensions, last) && !caption &&
                             name != "url" && name != "id" && name != "index") ||
                            (IsBinary(*schema_.field(i)->type()) && Has(kBinaryExtensions, last));
      if (as_it_is) AddMember(i, Name(i));
    }
  }

  void PlaceCaption() {
    const bool has_txt = std::any_of(layout_.members.begin(), layout_.members.end(),
                                     [](const auto& member) { return member.extension == "txt"; });
    if (has_txt) return;
    for (const std::string name : {"caption", "text"}) {
      const int column = schema_.GetFieldIndex(name);
      if (column < 0 || Placed(column) || !IsText(*schema_.field(column)->type())) continue;
      AddMember(column, "txt");
      return;
    }
  }

  // The first binary column without a place is the sample's medium and is named by what it holds; others
  // carry their name.
  void PlaceBinary() {
    bool has_medium = std::any_of(layout_.members.begin(), layout_.members.end(),
                                  [](const auto& member) { return Has(kSniffed, member.extension); });
    for (int i = 0; i < schema_.num_fields(); ++i) {
      if (Placed(i) || !IsBinary(*schema_.field(i)->type())) continue;
      const std::string own = NameAsExtension(Name(i));
      layout_.members.push_back(
          {.column = i, .extension = has_medium ? own + "." : "", .sniff = true, .fallback = own});
      placed_[static_cast<size_t>(i)] = true;
      has_medium = true;
    }
  }

  void PlaceRest() {
    for (int i = 0; i < schema_.num_fields(); ++i) {
      if (Placed(i)) continue;
      if (rest_is_json_) {
        layout_.json_columns.push_back(i);
      } else {
        AddMember(i, NameAsExtension(Name(i)));
      }
    }
  }

  // No two columns may claim one member name, nor names that readers cannot tell apart.
  Status CheckUnique() const {
    std::vector<std::pair<std::string, std::string>> claims;  // extension in lower case, column
    const auto add = [&](const std::string& extension, const std::string& column) {
      std::string lower = extension;
      for (char& c : lower) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
      claims.emplace_back(lower, column);
    };
    if (layout_.writes_json) add("json", Name(layout_.json_columns.front()));
    for (const auto& member : layout_.members) {
      if (!member.sniff) {
        add(member.extension, Name(member.column));
        continue;
      }
      add(member.fallback, Name(member.column));
      for (const std::string_view media : kSniffed) {
        const std::string extension = member.extension + std::string(media);
        if (extension != member.fallback) add(extension, Name(member.column));
      }
    }
    std::sort(claims.begin(), claims.end());
    for (size_t i = 1; i < claims.size(); ++i) {
      if (claims[i].first != claims[i - 1].first) continue;
      return UserError(
          "the columns '" + claims[i - 1].second + "' and '" + claims[i].second +
              "' would both be written as <key>." + claims[i].first,
          "rename one, drop it, or give it an extension: extensions: {" + claims[i].second + ": ...}");
    }
    return Status::OK();
  }

  const arrow::Schema& schema_;
  const Json args_;
  SampleLayout layout_;
  std::vector<bool> placed_;
  bool rest_is_json_ = true;
};

}  // namespace

bool SplitMemberName(std::string_view name, std::string* key, std::string* extension) {
  const size_t slash = name.rfind('/');
  const size_t base = slash == std::string_view::npos ? 0 : slash + 1;
  const size_t dot = name.find('.', base);
  if (dot == std::string_view::npos || dot == base || dot + 1 == name.size()) return false;
  key->assign(name.substr(0, dot));
  extension->assign(name.substr(dot + 1));
  for (char& c : *extension) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  return true;
}

std::shared_ptr<arrow::DataType> TypeOfExtension(std::string_view extension) {
  const std::string_view last = extension.substr(extension.rfind('.') + 1);
  return Has(kTextExtensions, last) ? arrow::utf8() : arrow::binary();
}

std::string_view SniffMediaExtension(std::string_view bytes) {
  const auto begins = [&](std::string_view magic, size_t at = 0) {
    return bytes.size() >= at + magic.size() && bytes.substr(at, magic.size()) == magic;
  };
  if (begins("\xFF\xD8\xFF")) return "jpg";
  if (begins("\x89PNG\r\n\x1A\n")) return "png";
  if (begins("RIFF") && begins("WEBP", 8)) return "webp";
  if (begins("GIF87a") || begins("GIF89a")) return "gif";
  if (begins(std::string_view("II*\0", 4)) || begins(std::string_view("MM\0*", 4))) return "tif";
  if (begins("ftypavif", 4) || begins("ftypavis", 4)) return "avif";
  if (begins("ftyphei", 4) || begins("ftypmif1", 4)) return "heic";
  if (begins("ftyp", 4)) return "mp4";
  if (begins("RIFF") && begins("WAVE", 8)) return "wav";
  if (begins("fLaC")) return "flac";
  if (begins("OggS")) return "ogg";
  if (begins("ID3")) return "mp3";
  if (begins("%PDF-")) return "pdf";
  if (begins("\x93NUMPY")) return "npy";
  return "";
}

Status CheckSampleKey(std::string_view key) {
  const auto bad = [&](const std::string& why) {
    std::string shown(key.substr(0, 60));
    for (char& c : shown) c = static_cast<unsigned char>(c) < 0x20 || c == 0x7f ? '?' : c;
    return DataError("'" + shown + "' cannot be the key of a sample: " + why,
                     "make keys of letters, digits, '_' and '-'");
  };
  if (key.empty()) return bad("it is empty");
  if (key.size() > 1000) return bad("it is longer than 1000 bytes");
  if (!IsUtf8(key)) return bad("it is not valid UTF-8");
  if (std::any_of(key.begin(), key.end(),
                  [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; })) {
    return bad("it holds a control character");
  }
  if (!IsSafeRelativePath(key)) return bad("as a path it is absolute, has empty parts or '..'");
  if (BaseName(key).find('.') != std::string_view::npos) return bad("readers end a key at the first dot");
  return Status::OK();
}

Result<SampleLayout> SampleLayout::Make(const arrow::Schema& schema, const Json& args) {
  return LayoutMaker(schema, args).Make();
}

}  // namespace partita
