// The arguments of read_csv and write_csv, parsed. Internal to storage/. See docs/formats/csv.md.
#pragma once

#include <map>
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

struct CsvOptions {
  char delimiter = ',';
  char quote = '"';        // 0: no quoting
  char escape = 0;         // 0: none
  bool has_header = true;  // without an argument: true unless column_names are given
  int64_t skip_rows = 0;   // records before the header
  bool newlines_in_values = false;
  std::vector<std::string> column_names;
  std::map<std::string, std::shared_ptr<arrow::DataType>> column_types;
  std::vector<std::string> null_values;  // of columns that are no strings
  bool custom_null_values = false;       // the user's: they hold for unquoted strings too

  static Result<CsvOptions> Parse(const Json* args);
  int64_t header_records() const { return skip_rows + (has_header ? 1 : 0); }
};

// {"column": "type"} of an argument.
Result<std::map<std::string, std::shared_ptr<arrow::DataType>>> ParseColumnTypes(const Json& args,
                                                                                 const std::string& key);
// The schema with those types in place; a name that is no column is a user error that names the nearest.
Result<std::shared_ptr<arrow::Schema>> ApplyColumnTypes(
    std::shared_ptr<arrow::Schema> schema,
    const std::map<std::string, std::shared_ptr<arrow::DataType>>& types);

}  // namespace partita
