#include "components/image/image_rows.h"

#include <arrow/api.h>
#include <arrow/array/concatenate.h>
#include <arrow/util/bit_util.h>

#include <algorithm>
#include <cstring>

#include "partita/block/schema.h"

namespace partita {

namespace {

// Few rows a call: each is milliseconds of work, and all threads shall share one partition.
constexpr int64_t kRowsPerCall = 16;

bool HoldsBytes(const arrow::DataType& type) {
  return arrow::is_base_binary_like(type.id()) || arrow::is_binary_view_like(type.id());
}

// Concatenates the runs of neighbouring rows: works for every type, where Arrow's take lacks some.
Result<std::shared_ptr<arrow::Array>> TakeRows(const std::shared_ptr<arrow::Array>& array,
                                               const std::vector<int64_t>& rows, arrow::MemoryPool* pool) {
  arrow::ArrayVector runs;
  for (size_t begin = 0, end = 0; begin < rows.size(); begin = end) {
    while (end < rows.size() && rows[end] == rows[begin] + static_cast<int64_t>(end - begin)) ++end;
    runs.push_back(array->Slice(rows[begin], static_cast<int64_t>(end - begin)));
  }
  if (runs.size() == 1) return runs[0];
  return arrow::Concatenate(runs, pool);
}

class ImageTransform final : public Transform {
 public:
  ImageTransform(ImageStep step, std::shared_ptr<arrow::Schema> output)
      : step_(std::move(step)), output_(std::move(output)) {}

  int64_t max_rows_per_call() const override { return kRowsPerCall; }

  Status Process(const Block& in, const OperatorContext& ctx, BlockOutput& out) const override {
    ARROW_ASSIGN_OR_RAISE(const int column, FindColumn(*in.batch->schema(), step_.image_column));
    const std::shared_ptr<arrow::Array> array = in.batch->column(column);
    const BytesColumn images(*array);
    ARROW_ASSIGN_OR_RAISE(auto maker, step_.new_maker(*in.batch, ctx.pool.get()));
    std::vector<int64_t> kept;
    for (int64_t row = 0; row < in.num_rows(); ++row) {
      ARROW_RETURN_NOT_OK(ctx.cancel.Check());
      const Result<bool> made = maker->Append(row, images.At(row));
      if (!made.ok()) {
        const ErrorKind kind = KindOf(made.status());
        if (kind != ErrorKind::kData && kind != ErrorKind::kUser) return made.status();
        ARROW_RETURN_NOT_OK(ctx.errors->Add(row, made.status()));
        continue;
      }
      if (*made) kept.push_back(row);
      if (maker->bytes() >= ctx.target_block_bytes)
        ARROW_RETURN_NOT_OK(Emit(in, &kept, maker.get(), ctx, out));
    }
    return Emit(in, &kept, maker.get(), ctx, out);
  }

 private:
  Status Emit(const Block& in, std::vector<int64_t>* kept, ImageRowMaker* maker, const OperatorContext& ctx,
              BlockOutput& out) const {
    if (kept->empty()) return Status::OK();
    ARROW_ASSIGN_OR_RAISE(auto made, maker->Finish());
    std::vector<std::shared_ptr<arrow::Array>> columns;
    for (const auto& field : output_->fields()) {
      const auto it = std::find(step_.made.begin(), step_.made.end(), field->name());
      if (it != step_.made.end()) {
        columns.push_back(made[static_cast<size_t>(it - step_.made.begin())]);
        continue;
      }
      ARROW_ASSIGN_OR_RAISE(const int from, FindColumn(*in.batch->schema(), field->name()));
      ARROW_ASSIGN_OR_RAISE(auto column, TakeRows(in.batch->column(from), *kept, ctx.pool.get()));
      columns.push_back(std::move(column));
    }
    Block block;
    block.batch = arrow::RecordBatch::Make(output_, static_cast<int64_t>(kept->size()), std::move(columns));
    block.ordinals = in.ordinals.Take(*kept);
    kept->clear();
    return out.Emit(std::move(block));
  }

  const ImageStep step_;
  const std::shared_ptr<arrow::Schema> output_;
};

}  // namespace

Status CheckBytesColumn(const arrow::Schema& schema, std::string_view column) {
  ARROW_ASSIGN_OR_RAISE(const int index, FindColumn(schema, column));
  const arrow::DataType& type = *schema.field(index)->type();
  if (HoldsBytes(type)) return Status::OK();
  return UserError(
      "column '" + std::string(column) + "' must hold the bytes of images; it is " + TypeToString(type),
      "name the column with image=");
}

std::optional<std::string_view> BytesColumn::At(int64_t row) const {
  if (array_.IsNull(row)) return std::nullopt;
  switch (array_.type_id()) {
    case arrow::Type::BINARY:
    case arrow::Type::STRING:
      return static_cast<const arrow::BinaryArray&>(array_).GetView(row);
    case arrow::Type::LARGE_BINARY:
    case arrow::Type::LARGE_STRING:
      return static_cast<const arrow::LargeBinaryArray&>(array_).GetView(row);
    case arrow::Type::BINARY_VIEW:
    case arrow::Type::STRING_VIEW:
      return static_cast<const arrow::BinaryViewArray&>(array_).GetView(row);
    default:
      return std::nullopt;
  }
}

void BinaryCollector::Append(std::shared_ptr<arrow::Buffer> value) {
  bytes_ += value->size();
  values_.push_back(std::move(value));
}

void BinaryCollector::AppendNull() { values_.push_back(nullptr); }

Result<std::shared_ptr<arrow::Array>> BinaryCollector::Finish(arrow::MemoryPool* pool) {
  const auto values = std::exchange(values_, {});
  const int64_t bytes = std::exchange(bytes_, 0);
  if (bytes > INT32_MAX)
    return OutOfMemoryError("the images of a block are over 2 GiB");  // asked again with fewer rows
  const auto count = static_cast<int64_t>(values.size());
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> offsets, arrow::AllocateBuffer((count + 1) * 4, pool));
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> validity, arrow::AllocateBitmap(count, pool));
  std::memset(validity->mutable_data(), 0, static_cast<size_t>(validity->size()));
  std::shared_ptr<arrow::Buffer> data;
  if (count == 1 && values[0] != nullptr) {
    data = values[0];
  } else {
    ARROW_ASSIGN_OR_RAISE(data, arrow::AllocateBuffer(bytes, pool));
  }
  auto* ends = reinterpret_cast<int32_t*>(offsets->mutable_data());
  int64_t at = 0;
  int64_t nulls = 0;
  ends[0] = 0;
  for (int64_t i = 0; i < count; ++i) {
    if (const auto& value = values[static_cast<size_t>(i)]; value != nullptr) {
      if (data != value && value->size() > 0) {
        std::memcpy(data->mutable_data() + at, value->data(), static_cast<size_t>(value->size()));
      }
      at += value->size();
      arrow::bit_util::SetBit(validity->mutable_data(), i);
    } else {
      ++nulls;
    }
    ends[i + 1] = static_cast<int32_t>(at);
  }
  return std::make_shared<arrow::BinaryArray>(count, std::move(offsets), std::move(data),
                                              nulls > 0 ? std::move(validity) : nullptr, nulls);
}

std::unique_ptr<Transform> MakeImageTransform(ImageStep step, std::shared_ptr<arrow::Schema> output) {
  return std::make_unique<ImageTransform>(std::move(step), std::move(output));
}

Result<std::shared_ptr<arrow::Schema>> WithColumns(const arrow::Schema& input,
                                                   const std::vector<NewColumn>& columns) {
  std::vector<std::shared_ptr<arrow::Field>> fields = input.fields();
  for (size_t i = 0; i < columns.size(); ++i) {
    const NewColumn& column = columns[i];
    const auto same = [&](const NewColumn& other) { return other.name == column.name; };
    if (std::any_of(columns.begin(), columns.begin() + static_cast<int64_t>(i), same)) {
      return UserError(
          "the image column may not be called '" + column.name + "': the step makes a column of that name",
          "rename it before this step");
    }
    auto field = arrow::field(column.name, column.type);
    const auto it =
        std::find_if(fields.begin(), fields.end(), [&](const auto& f) { return f->name() == column.name; });
    if (it == fields.end()) {
      fields.push_back(std::move(field));
    } else {
      *it = std::move(field);
    }
  }
  return arrow::schema(std::move(fields));
}

}  // namespace partita
