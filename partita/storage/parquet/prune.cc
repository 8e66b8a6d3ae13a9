#include "partita/storage/parquet/prune.h"

#include <arrow/api.h>
#include <parquet/arrow/reader.h>
#include <parquet/statistics.h>

namespace partita {
namespace {

std::shared_ptr<arrow::Scalar> AsType(const std::shared_ptr<arrow::Scalar>& value,
                                      const std::shared_ptr<arrow::DataType>& type) {
  if (!value || !value->is_valid || value->type->Equals(*type)) return value;
  auto cast = value->CastTo(type);
  return cast.ok() ? *cast : nullptr;
}

// Statistics leave NaN out, and comparisons with NaN do not follow the order of bounds: floats have no bounds
// here.
bool HasBounds(const arrow::DataType& type) {
  return !arrow::is_floating(type.id()) && type.id() != arrow::Type::DICTIONARY &&
         !arrow::is_nested(type.id());
}

ColumnRange RangeOf(const ParquetFile& file, const parquet::arrow::SchemaField& field, int row_group) {
  ColumnRange range;
  range.column = field.field->name();
  const auto group = file.metadata->RowGroup(row_group);
  const auto chunk = group->ColumnChunk(field.column_index);
  if (!chunk->is_stats_set()) return range;
  const auto statistics = chunk->statistics();
  if (!statistics) return range;
  if (statistics->HasNullCount()) {
    range.has_nulls = statistics->null_count() != 0;
    range.all_null = chunk->num_values() > 0 && statistics->null_count() == chunk->num_values();
  }
  if (!statistics->HasMinMax() || !HasBounds(*field.field->type())) return range;
  std::shared_ptr<arrow::Scalar> min, max;
  if (!parquet::arrow::StatisticsAsScalars(*statistics, &min, &max).ok()) return range;
  range.min = AsType(min, field.field->type());
  range.max = AsType(max, field.field->type());
  return range;
}

}  // namespace

bool GroupMaySatisfy(const ParquetFile& file, int row_group, const Expression& filter) {
  std::vector<ColumnRange> ranges;
  for (const auto& name : filter.Columns()) {
    const auto found = file.schema->GetAllFieldIndices(name);
    if (found.size() != 1) continue;
    const auto& field = file.manifest.schema_fields[static_cast<size_t>(found[0])];
    if (!field.is_leaf() || file.metadata->schema()->Column(field.column_index)->max_repetition_level() > 0)
      continue;
    ranges.push_back(RangeOf(file, field, row_group));
  }
  return ranges.empty() || MaySatisfy(filter, *file.schema, ranges);
}

}  // namespace partita
