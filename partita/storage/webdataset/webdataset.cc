#include <arrow/type.h>

#include "partita/base/json.h"
#include "partita/block/schema.h"
#include "partita/storage/csv/options.h"
#include "partita/storage/formats.h"
#include "partita/storage/webdataset/layout.h"
#include "partita/storage/webdataset/reader.h"
#include "partita/storage/webdataset/writer.h"

namespace partita {
namespace {

constexpr int64_t kInspectedSamples = 100;
constexpr int64_t kInspectedBytes = 64 << 20;

class WebDataset final : public Format {
 public:
  std::string_view name() const override { return "webdataset"; }
  std::string_view extension() const override { return ".tar"; }
  std::vector<std::string> extensions() const override { return {".tar", ".tar.gz", ".tgz", ".tar.zst"}; }

  Result<FileInfo> Inspect(Env* env, const FileEntry& file, const Json& args,
                           arrow::MemoryPool* pool) const override {
    ARROW_ASSIGN_OR_RAISE(const auto types, ParseColumnTypes(args, "column_types"));
    ARROW_ASSIGN_OR_RAISE(auto source, OpenByteSource(env, file, 0, pool, nullptr, CancelToken()));
    TarReader tar(std::move(source));
    auto extensions = ListExtensions(&tar, kInspectedSamples, kInspectedBytes);
    if (!extensions.ok()) return WithContext(extensions.status(), {.file = file.location});
    arrow::FieldVector fields = {
        arrow::field(std::string(kSampleKeyColumn), arrow::utf8(), /*nullable=*/false)};
    for (const std::string& extension : *extensions) {
      fields.push_back(arrow::field(extension, TypeOfExtension(extension)));
    }
    auto schema = arrow::schema(std::move(fields));
    // A declared extension may be absent from the first samples.
    for (const auto& [name, type] : types) {
      if (schema->GetFieldIndex(name) < 0) {
        ARROW_ASSIGN_OR_RAISE(schema, schema->AddField(schema->num_fields(), arrow::field(name, type)));
      }
    }
    ARROW_ASSIGN_OR_RAISE(schema, ApplyColumnTypes(std::move(schema), types));
    if (schema->num_fields() == 1) {
      return WithContext(DataError("the archive holds no sample: no member named <key>.<extension>",
                                   "check that it is a WebDataset"),
                         {.file = file.location});
    }
    FileInfo info;
    info.schema = std::move(schema);
    return info;
  }

  Result<std::vector<Fragment>> Split(const FileEntry& file, const FileInfo*, const Json&,
                                      int64_t) const override {
    Fragment fragment;
    fragment.file = file;
    return std::vector<Fragment>{std::move(fragment)};
  }
  Result<std::unique_ptr<FragmentReader>> OpenReader(ReadRequest request) const override {
    return OpenWebDatasetReader(std::move(request));
  }
  Result<std::unique_ptr<FileWriter>> OpenWriter(std::shared_ptr<arrow::io::OutputStream> stream,
                                                 WriteRequest request) const override {
    return OpenWebDatasetWriter(std::move(stream), std::move(request));
  }
  int64_t least_write_bytes() const override { return 1 << 20; }
};

}  // namespace

const Format* WebDatasetFormat() {
  static const WebDataset format;
  return &format;
}

}  // namespace partita
