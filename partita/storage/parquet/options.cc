#include "partita/storage/parquet/options.h"

#include "partita/base/json.h"
#include "partita/base/units.h"

namespace partita {
namespace {

struct CodecName {
  std::string_view name;
  arrow::Compression::type type;
};
constexpr CodecName kCodecs[] = {
    {"none", arrow::Compression::UNCOMPRESSED}, {"snappy", arrow::Compression::SNAPPY},
    {"gzip", arrow::Compression::GZIP},         {"zstd", arrow::Compression::ZSTD},
    {"lz4", arrow::Compression::LZ4},           {"brotli", arrow::Compression::BROTLI},
};

Result<arrow::Compression::type> ParseCodec(const std::string& name) {
  for (const auto& codec : kCodecs) {
    if (codec.name != name) continue;
    if (!arrow::util::Codec::IsAvailable(codec.type)) {
      return UserError("this build of Arrow has no codec '" + name + "'", "choose another `compression`");
    }
    return codec.type;
  }
  return UserError("unknown compression '" + name + "'", "choose none, snappy, gzip, zstd, lz4 or brotli");
}

// A positive count of rows or bytes ("128MiB" is as good as its number).
Result<int64_t> GetCount(const Json& args, const char* key, int64_t fallback) {
  const auto found = args.find(key);
  if (found == args.end() || found->is_null()) return fallback;
  int64_t value = 0;
  if (found->is_string()) {
    ARROW_ASSIGN_OR_RAISE(value, ParseBytes(found->get<std::string>()));
  } else {
    ARROW_ASSIGN_OR_RAISE(value, GetInt(args, key));
  }
  if (value <= 0) return UserError(std::string("`") + key + "` must be positive");
  return value;
}

Status CheckLevel(const ParquetOptions& options) {
  if (!options.compression_level) return Status::OK();
  if (!arrow::util::Codec::SupportsCompressionLevel(options.compression)) {
    return UserError("this compression has no levels", "leave `compression_level` out");
  }
  ARROW_ASSIGN_OR_RAISE(const int least, arrow::util::Codec::MinimumCompressionLevel(options.compression));
  ARROW_ASSIGN_OR_RAISE(const int most, arrow::util::Codec::MaximumCompressionLevel(options.compression));
  if (*options.compression_level >= least && *options.compression_level <= most) return Status::OK();
  return UserError("the compression level " + std::to_string(*options.compression_level) + " is out of range",
                   "choose one from " + std::to_string(least) + " to " + std::to_string(most));
}

}  // namespace

Result<ParquetOptions> ParquetOptions::FromArgs(const Json* args) {
  ParquetOptions options;
  if (args == nullptr || !args->is_object()) return options;
  ARROW_ASSIGN_OR_RAISE(const std::string codec, GetStringOr(*args, "compression", "zstd"));
  ARROW_ASSIGN_OR_RAISE(options.compression, ParseCodec(codec));
  const auto level = args->find("compression_level");
  if (level != args->end() && !level->is_null()) {
    ARROW_ASSIGN_OR_RAISE(const int64_t value, GetInt(*args, "compression_level"));
    if (value < INT32_MIN || value > INT32_MAX) return UserError("`compression_level` is out of range");
    options.compression_level = static_cast<int>(value);
  }
  ARROW_RETURN_NOT_OK(CheckLevel(options));
  ARROW_ASSIGN_OR_RAISE(options.row_group_rows, GetCount(*args, "row_group_size", options.row_group_rows));
  ARROW_ASSIGN_OR_RAISE(options.row_group_bytes, GetCount(*args, "row_group_bytes", options.row_group_bytes));
  ARROW_ASSIGN_OR_RAISE(options.data_page_bytes, GetCount(*args, "data_page_bytes", options.data_page_bytes));
  ARROW_ASSIGN_OR_RAISE(options.dictionary, GetBoolOr(*args, "dictionary", options.dictionary));
  ARROW_ASSIGN_OR_RAISE(options.statistics, GetBoolOr(*args, "statistics", options.statistics));
  return options;
}

}  // namespace partita
