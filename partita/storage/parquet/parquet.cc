// The Parquet format: what a file holds (footer only), how it is cut, and its reader and writer
// (parquet_reader.h, parquet_writer.h).
#include <arrow/api.h>

#include <algorithm>

#include "partita/base/json.h"
#include "partita/storage/formats.h"
#include "partita/storage/parquet/file.h"
#include "partita/storage/parquet/reader.h"
#include "partita/storage/parquet/writer.h"

namespace partita {
namespace {

class Parquet final : public Format {
 public:
  std::string_view name() const override { return "parquet"; }
  std::string_view extension() const override { return ".parquet"; }
  std::vector<std::string> extensions() const override { return {".parquet", ".pq", ".parq"}; }

  Result<FileInfo> Inspect(Env* env, const FileEntry& entry, const Json&,
                           arrow::MemoryPool* pool) const override {
    ARROW_ASSIGN_OR_RAISE(auto file, OpenParquetFile(env, entry, pool, CancelToken()));
    FileInfo info;
    ARROW_RETURN_NOT_OK(CatchParquet(entry, -1, [&]() -> Status {
      info.schema = file->schema;
      info.num_rows = 0;
      for (int i = 0; i < file->metadata->num_row_groups(); ++i) {
        const auto group = file->metadata->RowGroup(i);
        info.units.push_back({group->num_rows(), std::max<int64_t>(0, group->total_byte_size())});
        info.num_rows += group->num_rows();
      }
      return Status::OK();
    }));
    return info;
  }

  Result<std::vector<Fragment>> Split(const FileEntry& file, const FileInfo* info, const Json& args,
                                      int64_t target_bytes) const override {
    ARROW_ASSIGN_OR_RAISE(const int64_t rows, GetIntOr(args, "rows_per_partition", 0));
    if (rows > 0) {
      if (info == nullptr) return BugError("rows_per_partition needs the file's row count");
      return SplitByRows(file, info->num_rows, rows);
    }
    if (info == nullptr || info->units.size() < 2 || file.size_bytes < target_bytes)
      return std::vector{Fragment{file}};
    return SplitByUnits(file, *info, target_bytes);
  }

  Result<std::unique_ptr<FragmentReader>> OpenReader(ReadRequest request) const override {
    return OpenParquetReader(std::move(request));
  }

  Result<std::unique_ptr<FileWriter>> OpenWriter(std::shared_ptr<arrow::io::OutputStream> stream,
                                                 WriteRequest request) const override {
    return OpenParquetWriter(std::move(stream), std::move(request));
  }

  // A page of 1 MiB, compressed and decoded, of a few columns; and an open page a column with its dictionary.
  int64_t least_read_bytes() const override { return 4 << 20; }
  int64_t least_write_bytes() const override { return 8 << 20; }

 private:
  static std::vector<Fragment> SplitByRows(const FileEntry& file, int64_t num_rows, int64_t rows) {
    if (num_rows <= rows) return {Fragment{file}};
    std::vector<Fragment> fragments;
    for (int64_t begin = 0; begin < num_rows; begin += std::min(rows, num_rows - begin)) {
      fragments.push_back({file, Fragment::Range::kRows, begin, begin + std::min(rows, num_rows - begin)});
    }
    return fragments;
  }

  // Unit sizes are uncompressed, file sizes are not: units are weighed by their share of the file.
  static std::vector<Fragment> SplitByUnits(const FileEntry& file, const FileInfo& info,
                                            int64_t target_bytes) {
    double total = 0;
    for (const auto& unit : info.units) total += static_cast<double>(unit.bytes);
    const double scale = total > 0 ? static_cast<double>(file.size_bytes) / total : 0;
    std::vector<Fragment> fragments;
    int64_t begin = 0;
    double weight = 0;
    for (int64_t i = 0; i < static_cast<int64_t>(info.units.size()); ++i) {
      const double bytes = static_cast<double>(info.units[static_cast<size_t>(i)].bytes) * scale;
      if (i > begin && weight + bytes > static_cast<double>(target_bytes)) {
        fragments.push_back({file, Fragment::Range::kUnits, begin, i});
        begin = i;
        weight = 0;
      }
      weight += bytes;
    }
    fragments.push_back({file, Fragment::Range::kUnits, begin, static_cast<int64_t>(info.units.size())});
    if (fragments.size() == 1) return {Fragment{file}};
    return fragments;
  }
};

}  // namespace

const Format* ParquetFormat() {
  static const Parquet format;
  return &format;
}

}  // namespace partita
