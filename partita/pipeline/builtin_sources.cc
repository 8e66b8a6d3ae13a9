// Sources: what a pipeline reads. Argument names are those of pyarrow, Polars and Ray Data where they agree.
#include "partita/base/units.h"
#include "partita/pipeline/builtin_steps.h"

namespace partita {
namespace {

constexpr ArgType kBool = ArgType::kBool, kInt = ArgType::kInt, kString = ArgType::kString,
                  kBytes = ArgType::kBytes, kStringList = ArgType::kStringList, kTypeMap = ArgType::kTypeMap;

// The arguments of every source that reads files; `own` stand between path and the rest.
StepSpec FileSource(std::string name, std::string summary, std::vector<ArgSpec> own) {
  StepSpec spec;
  spec.name = std::move(name);
  spec.kind = StepKind::kSource;
  spec.summary = std::move(summary);
  spec.args = {
      {.name = "path",
       .type = kStringList,
       .required = true,
       .min = 1,
       .doc = "A file, folder, glob or URL, or a list of them."},
      {.name = "columns",
       .type = kStringList,
       .doc = "Columns to read, in this order; null: all. Columns that no later step uses are never read "
              "anyway."},
  };
  for (ArgSpec& arg : own) spec.args.push_back(std::move(arg));
  const std::vector<ArgSpec> common = {
      {.name = "rows_per_partition",
       .type = kInt,
       .min = 1,
       .doc = "Most rows of a partition; null: partitions are cut by bytes alone."},
      {.name = "partition_bytes",
       .type = kBytes,
       .default_json = "\"128MiB\"",
       .min = 1,
       .doc = "About how many bytes of files make a partition."},
      {.name = "hive_partitioning",
       .type = kBool,
       .default_json = "true",
       .doc = "Whether folders named key=value become columns."},
      {.name = "include_hidden",
       .type = kBool,
       .default_json = "false",
       .doc = "Whether files and folders whose names begin with '_' or '.' are read."},
  };
  spec.args.insert(spec.args.end(), common.begin(), common.end());
  return spec;
}

StepSpec ReadParquet() {
  return FileSource("read_parquet",
                    "Reads Parquet files, page by page: a row group may be larger than the budget.", {});
}

StepSpec ReadCsv() {
  return FileSource(
      "read_csv", "Reads CSV files; a large file is split by byte ranges.",
      {
          {.name = "delimiter",
           .type = kString,
           .default_json = R"(",")",
           .doc = "The one byte between fields."},
          {.name = "quote",
           .type = kString,
           .default_json = R"("\"")",
           .doc = "The one byte around quoted fields, doubled inside them; \"\": fields are never quoted."},
          {.name = "escape",
           .type = kString,
           .default_json = R"("")",
           .doc = "The one byte that takes the next byte literally; \"\": none."},
          {.name = "has_header",
           .type = kBool,
           .doc = "Whether the first record names the columns; null: yes, unless column_names are given."},
          {.name = "skip_rows",
           .type = kInt,
           .default_json = "0",
           .min = 0,
           .doc = "Records before the header to leave out."},
          {.name = "column_names",
           .type = kStringList,
           .doc = "Names of the columns, instead of the header's, or of f0, f1, ... where there is none."},
          {.name = "column_types",
           .type = kTypeMap,
           .default_json = "{}",
           .doc = "Types of columns; of others they are found in the first rows of the first file."},
          {.name = "null_values",
           .type = kStringList,
           .doc = "Unquoted fields that stand for null; null: the usual ones (empty, NA, NULL, ...), of "
                  "columns that are no strings."},
          {.name = "newlines_in_values",
           .type = kBool,
           .default_json = "false",
           .doc = "Whether quoted fields may hold line breaks; a file with such fields is read as one "
                  "partition."},
      });
}

StepSpec ReadJsonl() {
  StepSpec spec = FileSource(
      "read_jsonl", "Reads JSON Lines: one object a line.",
      {{.name = "column_types",
        .type = kTypeMap,
        .default_json = "{}",
        .doc = "Types of columns; of others they are found in the first lines of the first file."}});
  spec.aliases = {"read_json", "read_ndjson"};
  return spec;
}

StepSpec ReadText() {
  return FileSource(
      "read_text", "Reads text files: a column `text` with one row a line.",
      {
          {.name = "drop_empty_lines",
           .type = kBool,
           .default_json = "false",
           .doc = "Whether empty lines make no row."},
          {.name = "on_invalid",
           .type = kString,
           .default_json = R"("error")",
           .choices = {"error", "replace"},
           .doc = "What bytes that are not UTF-8 become: a bad row, or replacement characters."},
      });
}

StepSpec ReadFiles() {
  StepSpec spec = FileSource(
      "read_files", "Reads whole files, one row a file: the columns `path`, `bytes`, `size` and `modified`.",
      {});
  spec.aliases = {"read_binary_files"};
  return spec;
}

StepSpec ReadWebdataset() {
  return FileSource("read_webdataset",
                    "Reads tar shards: one row a sample, a column `__key__` and one an extension.",
                    {{.name = "column_types",
                      .type = kTypeMap,
                      .default_json = "{}",
                      .doc = "Types of columns; others are text or binary by their extension."}});
}

StepSpec Range() {
  StepSpec spec;
  spec.name = "range";
  spec.kind = StepKind::kSource;
  spec.summary = "Makes the integers 0 to n - 1.";
  spec.args = {
      {.name = "n", .type = kInt, .required = true, .min = 0, .doc = "Number of rows."},
      {.name = "rows_per_partition",
       .type = kInt,
       .default_json = "1048576",
       .min = 1,
       .doc = "Most rows of a partition."},
      {.name = "column", .type = ArgType::kColumn, .default_json = R"("id")", .doc = "Name of the column."},
  };
  return spec;
}

StepSpec FromMemory() {
  StepSpec spec;
  spec.name = "from_memory";
  spec.kind = StepKind::kSource;
  spec.summary = "Takes rows that the caller holds in memory.";
  spec.is_internal = true;
  spec.args = {
      {.name = "id", .type = kString, .required = true, .doc = "Names the rows in this process."},
      {.name = "columns", .type = kStringList, .doc = "Columns to take, in this order; null: all."},
      {.name = "rows_per_partition",
       .type = kInt,
       .min = 1,
       .doc = "Most rows of a partition; null: one partition."},
  };
  return spec;
}

}  // namespace

std::vector<StepSpec> BuiltinSources() {
  return {ReadParquet(), ReadCsv(),        ReadJsonl(), ReadText(),
          ReadFiles(),   ReadWebdataset(), Range(),     FromMemory()};
}

}  // namespace partita
