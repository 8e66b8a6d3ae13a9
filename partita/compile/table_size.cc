#include "partita/compile/table_size.h"

#include <arrow/type.h>

#include <algorithm>

#include "partita/base/json.h"
#include "partita/pipeline/projection.h"

namespace partita::compile {
namespace {

// What a value of no fixed width is taken for where nothing tells its size: of tables in memory, and of
// computed columns on top of the columns that they are made of.
constexpr int64_t kAssumedValueBytes = 64;
// A byte of CSV makes at most one value: ",,,\n".
constexpr int64_t kCsvExpansion = 8;

bool IsFixed(const arrow::DataType& type) {
  return type.id() == arrow::Type::NA || arrow::is_fixed_width(type.id());
}

int64_t WidthOf(const arrow::DataType& type) {
  if (type.id() == arrow::Type::NA) return 1;
  if (!arrow::is_fixed_width(type.id())) return kAssumedValueBytes;
  return std::max(1, static_cast<const arrow::FixedWidthType&>(type).bit_width() / 8);
}

int64_t RowWidth(const arrow::Schema& schema) {
  int64_t width = 0;
  for (const auto& field : schema.fields()) width += WidthOf(*field->type());
  return width;
}

int64_t Times(int64_t a, int64_t b) {
  int64_t product = 0;
  return a < 0 || b < 0 || __builtin_mul_overflow(a, b, &product) ? -1 : product;
}

int64_t Plus(int64_t a, int64_t b) {
  int64_t sum = 0;
  return a < 0 || b < 0 || __builtin_add_overflow(a, b, &sum) ? -1 : sum;
}

TableSize Known(const TableSize& size) { return size.rows < 0 || size.bytes < 0 ? TableSize{} : size; }

TableSize OfParquet(const SourceSnapshot& source) {
  TableSize size{0, 0};
  for (const auto& file : source.files) {
    if (!file.inspected || file.num_rows < 0) return {};
    int64_t rows = 0, bytes = 0;
    for (const auto& unit : file.units) {
      rows = Plus(rows, unit.rows);
      bytes = Plus(bytes, unit.bytes);
    }
    if (rows != file.num_rows) return {};
    size.rows = Plus(size.rows, rows);
    size.bytes = Plus(size.bytes, bytes);
  }
  return size;
}

TableSize OfSource(const SourceSnapshot& source, const arrow::Schema& schema) {
  if (source.format == "range" || source.format == "memory") {
    return {source.num_rows, Times(source.num_rows, RowWidth(schema))};
  }
  if (source.format == "parquet") {
    TableSize size = OfParquet(source);
    // Encodings hide repetition: a value counts as much as its type says at least.
    size.bytes = std::max(size.bytes, Times(size.rows, RowWidth(schema)));
    return size;
  }
  if (source.format != "csv") return {};
  TableSize size{0, 0};
  for (const auto& file : source.files) {
    const auto& location = file.entry.location;
    const bool plain = location.size() > 4 && location.compare(location.size() - 4, 4, ".csv") == 0;
    if (!plain || file.entry.size_bytes < 0) return {};
    size.rows = Plus(size.rows, file.entry.size_bytes);
    size.bytes = Plus(size.bytes, Times(file.entry.size_bytes, kCsvExpansion));
  }
  return size;
}

// With columns that `step` computes.
TableSize Projected(const GraphStep& step, const arrow::Schema& input, const arrow::Schema& output,
                    const TableSize& in) {
  const auto projection = ProjectionOf(step.spec->name, step.args, input);
  if (!projection.ok()) return {};
  TableSize size = in;
  for (const auto& [name, expression] : *projection) {
    if (!PlainColumn(expression).empty()) continue;
    const auto& type = *output.GetFieldByName(name)->type();
    size.bytes = Plus(size.bytes, Times(in.rows, WidthOf(type)));
    if (!IsFixed(type)) size.bytes = Plus(size.bytes, in.bytes);
  }
  return size;
}

TableSize Limited(const TableSize& in, int64_t rows, const arrow::Schema& schema) {
  TableSize size = in;
  if (rows < 0) return size;
  const bool fixed = std::all_of(schema.fields().begin(), schema.fields().end(),
                                 [](const auto& field) { return IsFixed(*field->type()); });
  if (fixed && (size.rows < 0 || rows < size.rows)) return {rows, Times(rows, RowWidth(schema))};
  if (size.rows >= 0) size.rows = std::min(size.rows, rows);
  return size;
}

}  // namespace

TableSize SizeAtMost(const Graph& graph, const std::vector<BoundStep>& bound, const Snapshot& snapshot,
                     int last) {
  std::vector<TableSize> sizes(static_cast<size_t>(last) + 1);
  for (int i = 0; i <= last; ++i) {
    const auto& step = graph.steps[static_cast<size_t>(i)];
    const auto& schema = *bound[static_cast<size_t>(i)].output;
    auto& size = sizes[static_cast<size_t>(i)];
    const std::string& op = step.spec->name;
    if (step.is(StepKind::kSource)) {
      const auto* source = snapshot.Find(step.declared->name);
      if (source != nullptr) size = Known(OfSource(*source, schema));
      continue;
    }
    if (step.inputs.empty() || step.spec->takes_pair()) continue;
    const TableSize in = sizes[static_cast<size_t>(step.inputs[0])];
    if (op == kUnionOp) {
      size = {0, 0};
      for (int input : step.inputs) {
        const auto& one = sizes[static_cast<size_t>(input)];
        size = Known({Plus(size.rows, one.rows), Plus(size.bytes, one.bytes)});
        if (size.rows < 0) break;
      }
    } else if (op == "filter" || op == kSampleOp || op == kLocalShuffleOp || op == "sort" ||
               op == "random_shuffle" || op == "repartition" || op == "distinct") {
      size = in;
    } else if (op == kLimitOp) {
      size = Known(Limited(in, GetIntOr(step.args, "n", -1).ValueOr(-1), schema));
    } else if (op == "group_by") {
      // One row of each group; a list has no more values than its column.
      size = Known({in.rows, Times(Plus(in.bytes, Times(in.rows, RowWidth(schema))), schema.num_fields())});
    } else if (IsProjectionStep(op) && in.rows >= 0) {
      size = Known(Projected(step, *bound[static_cast<size_t>(step.inputs[0])].output, schema, in));
    }
  }
  return sizes.back();
}

}  // namespace partita::compile
