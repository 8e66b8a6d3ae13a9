#include "partita/storage/parquet/field.h"

#include <arrow/api.h>

#include <algorithm>

namespace partita {
namespace {

// Rows decoded at once while rows before the wanted one are dropped.
constexpr int64_t kDropRows = 64;

class PageFieldReader final : public FieldReader {
 public:
  PageFieldReader(std::shared_ptr<ColumnarFile> file, int row_group, int field, int64_t first_row)
      : file_(std::move(file)), row_group_(row_group), field_(field), row_(first_row) {}

  Result<std::shared_ptr<arrow::Array>> Read(int64_t rows) override {
    std::shared_ptr<arrow::Array> array;
    Status status = CatchParquet(file_->file->entry, row_group_,
                                 [&]() -> Status { return ReadSome(rows).Value(&array); });
    if (!status.ok()) {
      batches_.reset();  // its columns may be anywhere: the next call opens it at row_
      return status;
    }
    return array;
  }

 private:
  Result<std::shared_ptr<arrow::Array>> ReadSome(int64_t rows) {
    if (!batches_) ARROW_RETURN_NOT_OK(Open());
    for (;;) {
      file_->reader->set_batch_size(decoded_ < row_ ? std::max(rows, kDropRows) : rows);
      std::shared_ptr<arrow::RecordBatch> batch;
      ARROW_RETURN_NOT_OK(batches_->ReadNext(&batch));
      if (skip_) decoded_ += std::exchange(skip_, nullptr)->skipped;
      if (!batch || batch->num_rows() == 0) {
        return Status::Invalid("column '", name(), "' ends at row ", decoded_, " of ", RowsOfGroup());
      }
      auto array = batch->column(0);
      const int64_t first = decoded_;
      decoded_ += array->length();
      if (decoded_ <= row_) continue;
      if (first < row_) array = array->Slice(row_ - first);
      if (array->type_id() == arrow::Type::DICTIONARY) ARROW_RETURN_NOT_OK(array->ValidateFull());
      row_ = decoded_;
      return array;
    }
  }

  Status Open() {
    const auto& field = file_->file->manifest.schema_fields[static_cast<size_t>(field_)];
    const auto leaves = LeavesOf(field);
    // One leaf without repetition: its values are the rows, so that pages can be skipped unread.
    const bool flat =
        leaves.size() == 1 && file_->file->metadata->schema()->Column(leaves[0])->max_repetition_level() == 0;
    if (flat && row_ > 0) skip_ = std::make_shared<PageSkip>(PageSkip{row_, 0});
    decoded_ = 0;
    file_->pages->next_skip = skip_;
    auto opened = file_->reader->GetRecordBatchReader({row_group_}, leaves);
    file_->pages->next_skip = nullptr;
    ARROW_ASSIGN_OR_RAISE(batches_, std::move(opened));
    return Status::OK();
  }

  const std::string& name() const {
    return file_->file->manifest.schema_fields[static_cast<size_t>(field_)].field->name();
  }
  int64_t RowsOfGroup() const { return file_->file->metadata->RowGroup(row_group_)->num_rows(); }

  std::shared_ptr<ColumnarFile> file_;
  const int row_group_;
  const int field_;
  int64_t row_;          // the next row to return
  int64_t decoded_ = 0;  // the next row that batches_ yields
  std::shared_ptr<PageSkip> skip_;
  std::unique_ptr<arrow::RecordBatchReader> batches_;
};

void AddLeaves(const parquet::arrow::SchemaField& field, std::vector<int>* leaves) {
  if (field.is_leaf()) leaves->push_back(field.column_index);
  for (const auto& child : field.children) AddLeaves(child, leaves);
}

}  // namespace

std::vector<int> LeavesOf(const parquet::arrow::SchemaField& field) {
  std::vector<int> leaves;
  AddLeaves(field, &leaves);
  return leaves;
}

Result<std::shared_ptr<ColumnarFile>> OpenColumnar(std::shared_ptr<ParquetFile> file, int64_t window_bytes,
                                                   arrow::MemoryPool* pool) {
  auto columnar = std::make_shared<ColumnarFile>();
  columnar->file = file;
  columnar->window_bytes = window_bytes;
  columnar->pool = pool;
  ARROW_RETURN_NOT_OK(CatchParquet(file->entry, -1, [&]() -> Status {
    auto pages = std::make_unique<ParquetPages>(file, window_bytes, pool);
    columnar->pages = pages.get();
    auto reader = std::make_unique<parquet::ParquetFileReader>();
    reader->Open(std::move(pages));
    parquet::ArrowReaderProperties properties;
    properties.set_use_threads(false);
    properties.set_pre_buffer(false);
    return parquet::arrow::FileReader::Make(pool, std::move(reader), properties).Value(&columnar->reader);
  }));
  return columnar;
}

std::unique_ptr<FieldReader> MakePageFieldReader(std::shared_ptr<ColumnarFile> file, int row_group, int field,
                                                 int64_t first_row) {
  return std::make_unique<PageFieldReader>(std::move(file), row_group, field, first_row);
}

}  // namespace partita
