#include "partita/storage/parquet/dictionary.h"

#include <arrow/api.h>

#include <algorithm>

#include "partita/storage/parquet/flat_field.h"
#include "partita/storage/parquet/flat_page_reader.h"

namespace partita {
namespace {

// Of a dictionary of integers, which are as quick to look at as indices, unless these are few.
constexpr int64_t kMostNumberBytes = 32 << 10;
// Fewer rows to a value, and indices are as long as what they stand for.
constexpr int64_t kLeastRowsPerValue = 2;

class DictionaryFieldReader final : public FieldReader {
 public:
  DictionaryFieldReader(std::shared_ptr<ColumnarFile> file, int row_group, int field, NumberForm form,
                        int64_t first_row)
      : file_(std::move(file)),
        row_group_(row_group),
        field_(field),
        row_(first_row),
        type_(SchemaField().field->type()),
        rows_of_group_(file_->file->metadata->RowGroup(row_group)->num_rows()),
        is_text_(form.width == 0),
        pages_(file_, row_group, SchemaField().column_index, form) {}

  Result<std::shared_ptr<arrow::Array>> Read(int64_t rows) override {
    if (plain_) return plain_->Read(rows);
    std::shared_ptr<arrow::Array> array;
    const Status status = CatchParquet(file_->file->entry, row_group_,
                                       [&]() -> Status { return ReadIndices(rows).Value(&array); });
    if (status.ok() && array) return array;
    pages_.Close();  // they may be anywhere: the next call goes to row_
    if (status.IsOutOfMemory() || status.IsCancelled()) return status;
    // It does not pay, or the file is not what its footer says: whoever reads values tells what is wrong.
    dictionary_.reset();
    ARROW_RETURN_NOT_OK(CatchParquet(file_->file->entry, row_group_, [&] {
      plain_ = MakeFlatFieldReader(file_, row_group_, field_, row_);
      return Status::OK();
    }));
    return plain_->Read(rows);
  }

 private:
  const parquet::arrow::SchemaField& SchemaField() const {
    return file_->file->manifest.schema_fields[static_cast<size_t>(field_)];
  }

  // Null where the column is better read as values.
  Result<std::shared_ptr<arrow::Array>> ReadIndices(int64_t rows) {
    if (row_ >= rows_of_group_) return Status::Invalid("a column ends at row ", row_);
    rows = std::clamp<int64_t>(rows, 1, rows_of_group_ - row_);
    ARROW_RETURN_NOT_OK(pages_.SkipTo(row_));
    ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> buffer,
                          arrow::AllocateBuffer(rows * 4, file_->pool));
    auto* indices = reinterpret_cast<uint32_t*>(buffer->mutable_data());
    Presence presence(rows, file_->pool);
    while (presence.rows() < rows) {
      ARROW_RETURN_NOT_OK(pages_.Open());
      if (!pages_.indexed()) return nullptr;
      if (!dictionary_) {
        if (pages_.dictionary_size() * kLeastRowsPerValue > rows_of_group_) return nullptr;
        dictionary_ = Dictionary();
      }
      const int64_t first = presence.rows(), some = std::min(rows - first, pages_.rows_left());
      ARROW_ASSIGN_OR_RAISE(const int64_t count, pages_.Take(some, &presence));
      ARROW_RETURN_NOT_OK(pages_.ReadIndices(count, indices + first));
      if (count < some) {
        Spread(sizeof(uint32_t), presence.bits(), first, some, count,
               reinterpret_cast<uint8_t*>(indices + first));
      }
    }
    row_ += rows;
    const int64_t nulls = presence.nulls();
    return arrow::MakeArray(arrow::ArrayData::Make(arrow::dictionary(arrow::int32(), type_), rows,
                                                   {presence.TakeBits(), std::move(buffer)}, {},
                                                   dictionary_->data(), nulls));
  }

  std::shared_ptr<arrow::Array> Dictionary() const {
    arrow::BufferVector buffers = {nullptr};
    if (is_text_) buffers.push_back(pages_.dictionary_offsets());
    buffers.push_back(pages_.dictionary_values());
    return arrow::MakeArray(
        arrow::ArrayData::Make(type_, pages_.dictionary_size(), std::move(buffers), /*null_count=*/0));
  }

  std::shared_ptr<ColumnarFile> file_;
  const int row_group_;
  const int field_;
  int64_t row_;  // the next row to return
  const std::shared_ptr<arrow::DataType> type_;
  const int64_t rows_of_group_;
  const bool is_text_;
  FlatPageReader pages_;
  std::shared_ptr<arrow::Array> dictionary_;
  std::unique_ptr<FieldReader> plain_;  // instead
};

// Whether the footer says so of all data pages.
bool AreIndexed(const parquet::ColumnChunkMetaData& chunk) {
  bool any = false;
  for (const auto& pages : chunk.encoding_stats()) {
    if (pages.page_type == parquet::PageType::DICTIONARY_PAGE) continue;
    if (pages.encoding != parquet::Encoding::RLE_DICTIONARY &&
        pages.encoding != parquet::Encoding::PLAIN_DICTIONARY) {
      return false;
    }
    any = true;
  }
  return any && chunk.has_dictionary_page();
}

bool MayBeEncoded(arrow::Type::type type) {
  switch (type) {
    case arrow::Type::STRING:
    case arrow::Type::BINARY:
    case arrow::Type::INT32:
    case arrow::Type::DATE32:
    case arrow::Type::INT64:
      return true;
    default:
      return false;
  }
}

}  // namespace

std::unique_ptr<FieldReader> MakeDictionaryFieldReader(std::shared_ptr<ColumnarFile> file, int row_group,
                                                       int field, int64_t first_row) {
  const auto form = FlatFormOf(*file, row_group, field);
  if (!form) return nullptr;
  const auto& schema_field = file->file->manifest.schema_fields[static_cast<size_t>(field)];
  const auto chunk = file->file->metadata->RowGroup(row_group)->ColumnChunk(schema_field.column_index);
  if (!MayBeEncoded(schema_field.field->type()->id()) || !AreIndexed(*chunk)) return nullptr;
  if (form->width > 0 && chunk->data_page_offset() - chunk->dictionary_page_offset() > kMostNumberBytes)
    return nullptr;
  return std::make_unique<DictionaryFieldReader>(std::move(file), row_group, field, *form, first_row);
}

}  // namespace partita
