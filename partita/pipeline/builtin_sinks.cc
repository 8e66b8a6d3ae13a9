// Sinks: what a pipeline writes.
#include "partita/pipeline/builtin_steps.h"

namespace partita {
namespace {

constexpr ArgType kBool = ArgType::kBool, kInt = ArgType::kInt, kString = ArgType::kString,
                  kBytes = ArgType::kBytes, kStringList = ArgType::kStringList,
                  kStringMap = ArgType::kStringMap;

// `rows`: the argument that cuts files by rows, named as the format's users name it.
StepSpec FileSink(std::string name, std::string summary, ArgSpec rows, bool hive, std::vector<ArgSpec> own) {
  StepSpec spec;
  spec.name = std::move(name);
  spec.kind = StepKind::kSink;
  spec.summary = std::move(summary);
  spec.args = {
      {.name = "path",
       .type = kString,
       .required = true,
       .doc = "The folder of the dataset; made when it is missing."},
      std::move(rows),
      {.name = "max_file_bytes",
       .type = kBytes,
       .min = 1,
       .doc = "Most logical bytes of a file; null: no limit. A single larger row has a file of its own."},
  };
  if (hive) {
    spec.args.push_back({.name = "partition_by",
                         .type = kStringList,
                         .default_json = "[]",
                         .doc = "Columns that become folders named key=value."});
  }
  spec.args.push_back(
      {.name = "exact",
       .type = kBool,
       .default_json = "false",
       .doc = "Whether all files but the last have the same number of rows, across partitions."});
  for (ArgSpec& arg : own) spec.args.push_back(std::move(arg));
  return spec;
}

ArgSpec RowsPerFile() {
  return {.name = "rows_per_file",
          .type = kInt,
          .min = 1,
          .doc = "Most rows of a file; null: one file a partition."};
}

StepSpec WriteParquet() {
  return FileSink("write_parquet", "Writes Parquet files.", RowsPerFile(), true,
                  {
                      {.name = "compression",
                       .type = kString,
                       .default_json = R"("zstd")",
                       .choices = {"none", "snappy", "gzip", "zstd", "lz4", "brotli"},
                       .doc = "Codec of the pages. Those of fat values and fixed-size lists stay as they are "
                              "where it saves less than a tenth."},
                      {.name = "compression_level",
                       .type = kInt,
                       .min = -131072,
                       .max = 22,
                       .doc = "Level of the codec; null: the codec's own default."},
                      {.name = "row_group_size",
                       .type = kInt,
                       .default_json = "1048576",
                       .min = 1,
                       .doc = "Most rows of a row group."},
                      {.name = "row_group_bytes",
                       .type = kBytes,
                       .default_json = "\"128MiB\"",
                       .min = 1,
                       .doc = "Most logical bytes of a row group."},
                      {.name = "data_page_bytes",
                       .type = kBytes,
                       .default_json = "\"1MiB\"",
                       .min = 1,
                       .doc = "About the size of a data page before compression."},
                      {.name = "dictionary",
                       .type = kBool,
                       .default_json = "true",
                       .doc = "Whether repeated values are dictionary-encoded; fat values, fixed-size "
                              "lists of floats and columns in whose first rows hardly a value comes twice "
                              "never are."},
                      {.name = "statistics",
                       .type = kBool,
                       .default_json = "true",
                       .doc = "Whether row groups carry least and greatest values; fixed-size lists of "
                              "numbers never have them."},
                  });
}

StepSpec WriteCsv() {
  return FileSink("write_csv", "Writes CSV files.", RowsPerFile(), true,
                  {
                      {.name = "delimiter",
                       .type = kString,
                       .default_json = R"(",")",
                       .doc = "The one byte between fields."},
                      {.name = "quote",
                       .type = kString,
                       .default_json = R"("\"")",
                       .doc = "The one byte around quoted fields."},
                      {.name = "has_header",
                       .type = kBool,
                       .default_json = "true",
                       .doc = "Whether the first line of each file names the columns."},
                  });
}

StepSpec WriteJsonl() {
  StepSpec spec = FileSink("write_jsonl", "Writes JSON Lines: one object a line.", RowsPerFile(), true,
                           {{.name = "skip_nulls",
                             .type = kBool,
                             .default_json = "false",
                             .doc = "Whether null values are left out of their objects."}});
  spec.aliases = {"write_json", "write_ndjson"};
  return spec;
}

StepSpec WriteWebdataset() {
  ArgSpec rows = {.name = "rows_per_shard",
                  .type = kInt,
                  .default_json = "10000",
                  .min = 1,
                  .doc = "Most rows of a shard."};
  return FileSink(
      "write_webdataset", "Writes tar shards for training.", std::move(rows), false,
      {
          {.name = "key",
           .type = ArgType::kColumn,
           .doc = "The column that names the samples; null: `__key__` if there is one, else partition and "
                  "row number."},
          {.name = "extensions",
           .type = kStringMap,
           .default_json = "{}",
           .doc = "Extension of the member that each column becomes ({image: jpg}); null: by name and type."},
          {.name = "json_columns",
           .type = kStringList,
           .doc =
               "Columns that go into the sample's `json` member; null: all that are no member of their own."},
      });
}

StepSpec Collect() {
  StepSpec spec;
  spec.name = "collect";
  spec.kind = StepKind::kSink;
  spec.summary = "Hands the rows to the caller.";
  spec.is_internal = true;
  spec.args = {{.name = "limit", .type = kInt, .min = 0, .doc = "Rows at most; null: all."}};
  return spec;
}

}  // namespace

std::vector<StepSpec> BuiltinSinks() {
  return {WriteParquet(), WriteCsv(), WriteJsonl(), WriteWebdataset(), Collect()};
}

}  // namespace partita
