#include "partita/storage/parquet/fat.h"

#include <arrow/api.h>
#include <arrow/util/bit_util.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "partita/storage/parquet/fat_page.h"

namespace partita {
namespace {

class FatFieldReader final : public FieldReader {
 public:
  FatFieldReader(std::shared_ptr<ColumnarFile> file, int row_group, int field, int64_t first_row)
      : file_(std::move(file)),
        row_group_(row_group),
        field_(field),
        type_(file_->file->manifest.schema_fields[static_cast<size_t>(field)].field->type()),
        first_row_(first_row),
        pages_(file_, row_group,
               file_->file->manifest.schema_fields[static_cast<size_t>(field)].column_index) {}

  Result<std::shared_ptr<arrow::Array>> Read(int64_t rows) override {
    if (whole_pages_) return whole_pages_->Read(rows);
    std::shared_ptr<arrow::Array> array;
    bool streams = true;
    ARROW_RETURN_NOT_OK(CatchParquet(file_->file->entry, row_group_, [&]() -> Status {
      auto read = ReadValues(rows);
      streams = !read.status().IsNotImplemented();
      return streams ? std::move(read).Value(&array) : Status::OK();
    }));
    if (streams) return array;
    // Legal, but nothing that a window can follow.
    whole_pages_ = MakePageFieldReader(file_, row_group_, field_, pages_.row());
    pages_.Close();
    return whole_pages_->Read(rows);
  }

  bool inside_page() const override { return !whole_pages_ && pages_.inside(); }

 private:
  Result<std::shared_ptr<arrow::Array>> ReadValues(int64_t rows) {
    ARROW_RETURN_NOT_OK(pages_.SkipTo(first_row_));
    ARROW_RETURN_NOT_OK(pages_.Locate());
    // All that can be refused comes before anything is consumed.
    rows = std::clamp<int64_t>(rows, 1, pages_.values_left());
    const int64_t usual = rows == 1 ? 0 : pages_.average_bytes() * rows;
    const int64_t capacity = std::max(pages_.value_bytes(), std::min(usual + usual / 4, kMostUsualBytes));
    ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::ResizableBuffer> data,
                          arrow::AllocateResizableBuffer(capacity, file_->pool));
    ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> offsets,
                          arrow::AllocateBuffer((rows + 1) * OffsetBytes(), file_->pool));
    std::shared_ptr<arrow::Buffer> validity;
    if (pages_.nullable()) {
      ARROW_ASSIGN_OR_RAISE(validity, arrow::AllocateEmptyBitmap(rows, file_->pool));
    }
    int64_t row = 0, used = 0, nulls = 0;
    for (; row < rows; ++row) {
      ARROW_RETURN_NOT_OK(pages_.Locate());
      if (pages_.value_bytes() > capacity - used) break;
      SetOffset(offsets.get(), row, used);
      if (pages_.valid()) {
        if (validity) arrow::bit_util::SetBit(validity->mutable_data(), row);
      } else {
        ++nulls;
      }
      used += pages_.value_bytes();
      ARROW_RETURN_NOT_OK(pages_.Take(data->mutable_data() + used - pages_.value_bytes()));
    }
    SetOffset(offsets.get(), row, used);
    // What is taken cannot be taken back: a refused shrink leaves the buffer as large as it is.
    if (used < capacity / 4 * 3) (void)data->Resize(used, /*shrink_to_fit=*/true);
    if (used < data->size()) ARROW_RETURN_NOT_OK(data->Resize(used, /*shrink_to_fit=*/false));
    if (nulls == 0) validity.reset();
    arrow::BufferVector buffers{std::move(validity), std::move(offsets), std::move(data)};
    if (type_->id() == arrow::Type::FIXED_SIZE_BINARY) buffers.erase(buffers.begin() + 1);
    return arrow::MakeArray(arrow::ArrayData::Make(type_, row, std::move(buffers), nulls));
  }

  bool is_wide() const {
    return type_->id() == arrow::Type::LARGE_STRING || type_->id() == arrow::Type::LARGE_BINARY;
  }
  int64_t OffsetBytes() const { return is_wide() ? sizeof(int64_t) : sizeof(int32_t); }
  // Below 2 GiB: a page and kMostUsualBytes are.
  void SetOffset(arrow::Buffer* offsets, int64_t row, int64_t value) const {
    if (is_wide()) {
      reinterpret_cast<int64_t*>(offsets->mutable_data())[row] = value;
    } else {
      reinterpret_cast<int32_t*>(offsets->mutable_data())[row] = static_cast<int32_t>(value);
    }
  }

  static constexpr int64_t kMostUsualBytes = 64 << 20;

  std::shared_ptr<ColumnarFile> file_;
  const int row_group_;
  const int field_;
  const std::shared_ptr<arrow::DataType> type_;
  const int64_t first_row_;
  FatPages pages_;
  std::unique_ptr<FieldReader> whole_pages_;  // instead
};

bool IsFatType(const arrow::DataType& type, const parquet::ColumnDescriptor& column) {
  switch (type.id()) {
    case arrow::Type::STRING:
    case arrow::Type::BINARY:
    case arrow::Type::LARGE_STRING:
    case arrow::Type::LARGE_BINARY:
      return column.physical_type() == parquet::Type::BYTE_ARRAY;
    case arrow::Type::FIXED_SIZE_BINARY:
      return column.physical_type() == parquet::Type::FIXED_LEN_BYTE_ARRAY &&
             static_cast<const arrow::FixedSizeBinaryType&>(type).byte_width() == column.type_length();
    default:
      return false;
  }
}

}  // namespace

std::unique_ptr<FieldReader> MakeFatFieldReader(std::shared_ptr<ColumnarFile> file, int row_group, int field,
                                                int64_t first_row, int64_t fat_bytes) {
  const auto& schema_field = file->file->manifest.schema_fields[static_cast<size_t>(field)];
  if (!schema_field.is_leaf()) return nullptr;
  const int column = schema_field.column_index;
  const auto group = file->file->metadata->RowGroup(row_group);
  const auto& descr = *group->schema()->Column(column);
  const auto chunk = group->ColumnChunk(column);
  if (descr.max_repetition_level() != 0 || !IsFatType(*schema_field.field->type(), descr)) return nullptr;
  if (chunk->crypto_metadata() || !CanInflate(chunk->compression()) || !KnowsEncodings(*chunk))
    return nullptr;
  if (chunk->num_values() <= 0 || chunk->total_uncompressed_size() / chunk->num_values() < fat_bytes)
    return nullptr;
  return std::make_unique<FatFieldReader>(std::move(file), row_group, field, first_row);
}

}  // namespace partita
