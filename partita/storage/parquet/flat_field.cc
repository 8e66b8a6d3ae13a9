#include "partita/storage/parquet/flat_field.h"

#include <arrow/api.h>
#include <arrow/util/bit_util.h>
#include <parquet/types.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "partita/storage/parquet/flat_page_reader.h"

namespace partita {
namespace {

// Text of one array; a single value may be larger.
constexpr int64_t kMostTextBytes = 64 << 20;
// Short text is copied as so many bytes, without a look at its length; so many more are allocated.
constexpr int64_t kCopiedBytes = 16;

void CopyText(const char* from, int64_t length, const char* end, uint8_t* out) {
  if (length <= kCopiedBytes && end - from >= kCopiedBytes) {
    std::memcpy(out, from, kCopiedBytes);
  } else {
    std::memcpy(out, from, static_cast<size_t>(length));
  }
}

// Text of some rows, with offsets of 32 or 64 bits.
template <typename Offset>
class TextRows {
 public:
  TextRows(int64_t rows, arrow::MemoryPool* pool) : rows_(rows), pool_(pool) {}

  Status Init() {
    return arrow::AllocateBuffer((rows_ + 1) * static_cast<int64_t>(sizeof(Offset)), pool_).Value(&offsets_);
  }

  int64_t rows() const { return done_; }
  int64_t used_bytes() const { return used_; }

  // Rows of a page of which `count` are there, as `presence` has it, whose last rows they are.
  Status AddPlain(int64_t rows, int64_t count, const Presence& presence, FlatPageReader* pages) {
    const std::string_view text = pages->text();
    const char *end = text.data() + text.size(), *at = text.data();
    ARROW_RETURN_NOT_OK(AddLengths(rows, presence, [&]() -> int64_t {
      if (end - at < kLengthBytes) return -1;
      const int64_t length = LengthAt(at);
      at += kLengthBytes;
      if (length > end - at) return -1;
      at += length;
      return length;
    }));
    const auto taken = at - text.data();
    at = text.data();
    AddText(count, end, [&](int64_t, int64_t* length) {
      *length = LengthAt(at);
      const char* from = at + kLengthBytes;
      at = from + *length;
      return from;
    });
    pages->AdvanceText(taken);
    return Status::OK();
  }

  Status AddIndexed(int64_t rows, int64_t count, const Presence& presence, FlatPageReader* pages) {
    ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> buffer, arrow::AllocateBuffer(count * 4, pool_));
    auto* indices = reinterpret_cast<uint32_t*>(buffer->mutable_data());
    ARROW_RETURN_NOT_OK(pages->ReadIndices(count, indices));
    const auto* offsets = reinterpret_cast<const int32_t*>(pages->dictionary_offsets()->data());
    const auto* text = reinterpret_cast<const char*>(pages->dictionary_values()->data());
    const auto length_of = [&](int64_t i) { return offsets[indices[i] + 1] - offsets[indices[i]]; };
    int64_t next = 0;
    ARROW_RETURN_NOT_OK(AddLengths(rows, presence, [&]() -> int64_t { return length_of(next++); }));
    AddText(count, text + pages->dictionary_values()->size(), [&](int64_t i, int64_t* length) {
      *length = length_of(i);
      return text + offsets[indices[i]];
    });
    return Status::OK();
  }

  Result<std::shared_ptr<arrow::Array>> Finish(const std::shared_ptr<arrow::DataType>& type,
                                               Presence* presence) {
    if (!text_) ARROW_RETURN_NOT_OK(Reserve());
    // A refused shrink leaves the buffer as large as it is.
    if (used_ < text_->size() / 4 * 3) (void)text_->Resize(used_, /*shrink_to_fit=*/true);
    ARROW_RETURN_NOT_OK(text_->Resize(used_, /*shrink_to_fit=*/false));
    const int64_t nulls = presence->nulls();
    return arrow::MakeArray(arrow::ArrayData::Make(
        type, done_, {presence->TakeBits(), std::move(offsets_), std::move(text_)}, nulls));
  }

 private:
  static constexpr int64_t kLengthBytes = 4;

  static int64_t LengthAt(const char* at) {
    uint32_t length = 0;
    std::memcpy(&length, at, sizeof(length));
    return length;
  }

  // next(): how long the next text is; -1: the page ends.
  template <typename Next>
  Status AddLengths(int64_t rows, const Presence& presence, Next next) {
    auto* offsets = reinterpret_cast<Offset*>(offsets_->mutable_data()) + done_;
    const uint8_t* bits = presence.nulls() > 0 ? presence.bits() : nullptr;
    int64_t at = used_;
    offsets[0] = static_cast<Offset>(at);
    for (int64_t row = 0; row < rows; ++row) {
      if (bits == nullptr || arrow::bit_util::GetBit(bits, done_ + row)) {
        const int64_t length = next();
        if (length < 0) return Status::Invalid("a page ends before its values");
        at += length;
      }
      offsets[row + 1] = static_cast<Offset>(at);
    }
    if (at > std::numeric_limits<Offset>::max() - kCopiedBytes)
      return Status::NotImplemented("text of ", at, " bytes in one array");
    done_ += rows;
    text_bytes_ = at;
    return Reserve();
  }

  // source(i, &length): where the next text is, and how long.
  template <typename Source>
  void AddText(int64_t count, const char* end, Source source) {
    uint8_t* out = text_->mutable_data() + used_;
    for (int64_t i = 0; i < count; ++i) {
      int64_t length = 0;
      const char* from = source(i, &length);
      CopyText(from, length, end, out);
      out += length;
    }
    used_ = text_bytes_;
  }

  // Room for the text; when it is more than there was, for rows to come as well.
  Status Reserve() {
    const int64_t least = text_bytes_ + kCopiedBytes;
    if (text_ && text_->size() >= least) return Status::OK();
    const double usual = static_cast<double>(text_bytes_) * static_cast<double>(rows_) /
                         static_cast<double>(std::max<int64_t>(1, done_));
    const int64_t wanted = std::max(least, static_cast<int64_t>(std::min(1.1 * usual, 1.0 * kMostTextBytes)));
    if (text_) return text_->Resize(wanted, /*shrink_to_fit=*/false);
    return arrow::AllocateResizableBuffer(wanted, pool_).Value(&text_);
  }

  const int64_t rows_;
  arrow::MemoryPool* pool_;
  std::shared_ptr<arrow::Buffer> offsets_;
  std::shared_ptr<arrow::ResizableBuffer> text_;
  int64_t done_ = 0;        // rows
  int64_t used_ = 0;        // of text_
  int64_t text_bytes_ = 0;  // that the offsets are of
};

class FlatFieldReader final : public FieldReader {
 public:
  FlatFieldReader(std::shared_ptr<ColumnarFile> file, int row_group, int field, NumberForm form,
                  int64_t first_row)
      : file_(std::move(file)),
        row_group_(row_group),
        field_(field),
        type_(SchemaField().field->type()),
        form_(form),
        rows_of_group_(file_->file->metadata->RowGroup(row_group)->num_rows()),
        row_(first_row),
        pages_(file_, row_group, SchemaField().column_index, form) {}

  Result<std::shared_ptr<arrow::Array>> Read(int64_t rows) override {
    if (by_arrow_) return by_arrow_->Read(rows);
    std::shared_ptr<arrow::Array> array;
    const Status status = CatchParquet(file_->file->entry, row_group_,
                                       [&]() -> Status { return ReadSome(rows).Value(&array); });
    if (status.ok()) return array;
    pages_.Close();  // they may be anywhere: the next call goes to row_
    if (status.IsOutOfMemory() || status.IsCancelled()) return status;
    by_arrow_ = MakePageFieldReader(file_, row_group_, field_, row_);
    return by_arrow_->Read(rows);
  }

 private:
  const parquet::arrow::SchemaField& SchemaField() const {
    return file_->file->manifest.schema_fields[static_cast<size_t>(field_)];
  }

  Result<std::shared_ptr<arrow::Array>> ReadSome(int64_t rows) {
    if (row_ >= rows_of_group_) return Status::Invalid("a column ends at row ", row_);
    rows = std::clamp<int64_t>(rows, 1, rows_of_group_ - row_);
    ARROW_RETURN_NOT_OK(pages_.SkipTo(row_));
    std::shared_ptr<arrow::Array> array;
    if (form_.width > 0) {
      ARROW_ASSIGN_OR_RAISE(array, ReadNumbers(rows));
    } else if (type_->id() == arrow::Type::STRING || type_->id() == arrow::Type::BINARY) {
      ARROW_ASSIGN_OR_RAISE(array, ReadText<int32_t>(rows));
    } else {
      ARROW_ASSIGN_OR_RAISE(array, ReadText<int64_t>(rows));
    }
    row_ += array->length();
    return array;
  }

  Result<std::shared_ptr<arrow::Array>> ReadNumbers(int64_t rows) {
    ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> values,
                          arrow::AllocateBuffer(rows * form_.width, file_->pool));
    Presence presence(rows, file_->pool);
    while (presence.rows() < rows) {
      ARROW_RETURN_NOT_OK(pages_.Open());
      const int64_t first = presence.rows(), some = std::min(rows - first, pages_.rows_left());
      ARROW_ASSIGN_OR_RAISE(const int64_t count, pages_.Take(some, &presence));
      uint8_t* out = values->mutable_data() + first * form_.width;
      ARROW_RETURN_NOT_OK(pages_.ReadNumbers(count, out));
      if (count < some) Spread(form_.width, presence.bits(), first, some, count, out);
    }
    const int64_t nulls = presence.nulls();
    return arrow::MakeArray(
        arrow::ArrayData::Make(type_, rows, {presence.TakeBits(), std::move(values)}, nulls));
  }

  template <typename Offset>
  Result<std::shared_ptr<arrow::Array>> ReadText(int64_t rows) {
    TextRows<Offset> text(rows, file_->pool);
    ARROW_RETURN_NOT_OK(text.Init());
    Presence presence(rows, file_->pool);
    while (text.rows() < rows) {
      ARROW_RETURN_NOT_OK(pages_.Open());
      const int64_t some = RowsWithRoom(std::min(rows - text.rows(), pages_.rows_left()), text.used_bytes());
      if (some == 0) break;
      ARROW_ASSIGN_OR_RAISE(const int64_t count, pages_.Take(some, &presence));
      if (pages_.indexed()) {
        ARROW_RETURN_NOT_OK(text.AddIndexed(some, count, presence, &pages_));
      } else {
        ARROW_RETURN_NOT_OK(text.AddPlain(some, count, presence, &pages_));
      }
    }
    return text.Finish(type_, &presence);
  }

  // How many of these rows of the open page an array takes that has so much text: at least one if it has
  // none.
  int64_t RowsWithRoom(int64_t rows, int64_t used_bytes) const {
    const int64_t room = std::max<int64_t>(0, kMostTextBytes - used_bytes);
    if (pages_.indexed()) {
      rows = std::min(rows, room / std::max<int64_t>(1, pages_.longest_text()));
    } else if (used_bytes > 0 && static_cast<int64_t>(pages_.text().size()) > room) {
      rows = 0;
    }
    return used_bytes == 0 ? std::max<int64_t>(1, rows) : rows;
  }

  std::shared_ptr<ColumnarFile> file_;
  const int row_group_;
  const int field_;
  const std::shared_ptr<arrow::DataType> type_;
  const NumberForm form_;
  const int64_t rows_of_group_;
  int64_t row_;  // the next row to return
  FlatPageReader pages_;
  std::unique_ptr<FieldReader> by_arrow_;  // instead
};

bool IsSameTime(const arrow::TimestampType& type, const parquet::LogicalType* logical) {
  if (logical == nullptr || !logical->is_timestamp()) return false;
  using Unit = parquet::LogicalType::TimeUnit;
  const auto stored = static_cast<const parquet::TimestampLogicalType&>(*logical).time_unit();
  switch (type.unit()) {
    case arrow::TimeUnit::MILLI:
      return stored == Unit::MILLIS;
    case arrow::TimeUnit::MICRO:
      return stored == Unit::MICROS;
    case arrow::TimeUnit::NANO:
      return stored == Unit::NANOS;
    default:
      return false;
  }
}

// Of values whose bits are the same in file and array, or the low ones of what is stored.
std::optional<NumberForm> FormOf(const arrow::DataType& type, const parquet::ColumnDescriptor& descr) {
  using Physical = parquet::Type;
  const auto stored_as = [&](Physical::type physical, NumberForm form) {
    return descr.physical_type() == physical ? std::optional(form) : std::nullopt;
  };
  switch (type.id()) {
    case arrow::Type::INT8:
    case arrow::Type::UINT8:
    case arrow::Type::INT16:
    case arrow::Type::UINT16:
    case arrow::Type::INT32:
    case arrow::Type::UINT32:
    case arrow::Type::DATE32:
      return stored_as(Physical::INT32, {type.byte_width(), 4});
    case arrow::Type::INT64:
    case arrow::Type::UINT64:
      return stored_as(Physical::INT64, {8, 8});
    case arrow::Type::TIMESTAMP:
      if (!IsSameTime(static_cast<const arrow::TimestampType&>(type), descr.logical_type().get()))
        return std::nullopt;
      return stored_as(Physical::INT64, {8, 8});
    case arrow::Type::FLOAT:
      return stored_as(Physical::FLOAT, {4, 4});
    case arrow::Type::DOUBLE:
      return stored_as(Physical::DOUBLE, {8, 8});
    case arrow::Type::STRING:
    case arrow::Type::BINARY:
    case arrow::Type::LARGE_STRING:
    case arrow::Type::LARGE_BINARY:
      return stored_as(Physical::BYTE_ARRAY, {});
    default:
      return std::nullopt;
  }
}

}  // namespace

std::optional<NumberForm> FlatFormOf(const ColumnarFile& file, int row_group, int field) {
  const auto& schema_field = file.file->manifest.schema_fields[static_cast<size_t>(field)];
  if (!schema_field.is_leaf()) return std::nullopt;
  const auto group = file.file->metadata->RowGroup(row_group);
  const auto& descr = *group->schema()->Column(schema_field.column_index);
  if (descr.max_repetition_level() != 0 || descr.max_definition_level() > 1) return std::nullopt;
  const auto chunk = group->ColumnChunk(schema_field.column_index);
  if (chunk->crypto_metadata() || !CanInflate(chunk->compression()) || !KnowsEncodings(*chunk))
    return std::nullopt;
  return FormOf(*schema_field.field->type(), descr);
}

std::unique_ptr<FieldReader> MakeFlatFieldReader(std::shared_ptr<ColumnarFile> file, int row_group, int field,
                                                 int64_t first_row) {
  const auto form = FlatFormOf(*file, row_group, field);
  if (!form) return nullptr;
  return std::make_unique<FlatFieldReader>(std::move(file), row_group, field, *form, first_row);
}

}  // namespace partita
