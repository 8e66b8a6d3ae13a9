#include "partita/execute/quarantine.h"

#include <arrow/api.h>

namespace partita {

std::shared_ptr<arrow::Schema> QuarantineSchema(const arrow::Schema& input) {
  auto fields = input.fields();
  for (auto& field : fields) field = field->WithNullable(true);
  for (const char* name : {"__step", "__kind", "__message", "__file"})
    fields.push_back(arrow::field(name, arrow::utf8()));
  fields.push_back(arrow::field("__file_row", arrow::int64()));
  fields.push_back(arrow::field("__stage", arrow::int32()));
  fields.push_back(arrow::field("__partition", arrow::int64()));
  fields.push_back(arrow::field("__ordinal", arrow::int64()));
  return arrow::schema(std::move(fields));
}

Result<std::shared_ptr<arrow::RecordBatch>> QuarantineBatch(const std::vector<const RowError*>& errors,
                                                            const std::string& step, int stage,
                                                            int64_t partition, const Partition& scan,
                                                            arrow::MemoryPool* pool) {
  arrow::RecordBatchVector rows;
  arrow::StringBuilder steps(pool), kinds(pool), messages(pool), files(pool);
  arrow::Int64Builder file_rows(pool), partitions(pool), ordinals(pool);
  arrow::Int32Builder stages(pool);
  for (const auto* error : errors) {
    if (error->row) rows.push_back(error->row);
    auto at = CoordinateOf(scan, error->ordinal);
    if (const auto* detail = DetailOf(error->status); !error->row && detail != nullptr) {
      at = {detail->context.file,
            detail->context.row};  // a row that could not be parsed has no columns, only its place
    }
    ARROW_RETURN_NOT_OK(steps.Append(step));
    ARROW_RETURN_NOT_OK(kinds.Append(ErrorKindName(KindOf(error->status))));
    ARROW_RETURN_NOT_OK(messages.Append(MessageOf(error->status)));
    if (at.file.empty()) {
      ARROW_RETURN_NOT_OK(files.AppendNull());
    } else {
      ARROW_RETURN_NOT_OK(files.Append(at.file));
    }
    ARROW_RETURN_NOT_OK(file_rows.Append(at.row));
    ARROW_RETURN_NOT_OK(stages.Append(stage));
    ARROW_RETURN_NOT_OK(partitions.Append(partition));
    ARROW_RETURN_NOT_OK(ordinals.Append(error->ordinal));
  }
  std::shared_ptr<arrow::RecordBatch> input =
      arrow::RecordBatch::Make(arrow::schema({}), static_cast<int64_t>(errors.size()), arrow::ArrayVector());
  if (!rows.empty()) {
    ARROW_ASSIGN_OR_RAISE(input, arrow::ConcatenateRecordBatches(rows, pool));
  }
  auto columns = input->columns();
  for (arrow::ArrayBuilder* builder : std::initializer_list<arrow::ArrayBuilder*>{
           &steps, &kinds, &messages, &files, &file_rows, &stages, &partitions, &ordinals}) {
    ARROW_ASSIGN_OR_RAISE(auto column, builder->Finish());
    columns.push_back(std::move(column));
  }
  return arrow::RecordBatch::Make(QuarantineSchema(*input->schema()), input->num_rows(), std::move(columns));
}

}  // namespace partita
