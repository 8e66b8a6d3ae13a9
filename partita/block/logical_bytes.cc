#include "partita/block/logical_bytes.h"

#include <arrow/array.h>
#include <arrow/extension_type.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>
#include <arrow/util/ree_util.h>

#include <algorithm>
#include <limits>
#include <optional>
#include <type_traits>
#include <utility>

namespace partita {
namespace {

constexpr int64_t kOffsetBytes = 4;  // counted for each string and list, whatever the offset width in memory

// Size of a null value of a type. It never depends on what lies hidden behind the null.
int64_t NullBytes(const arrow::DataType& type) {
  switch (type.id()) {
    case arrow::Type::NA:
      return 0;
    case arrow::Type::BOOL:
      return 1;
    case arrow::Type::EXTENSION:
      return NullBytes(*static_cast<const arrow::ExtensionType&>(type).storage_type());
    case arrow::Type::DICTIONARY:
      return NullBytes(*static_cast<const arrow::DictionaryType&>(type).value_type());
    case arrow::Type::RUN_END_ENCODED:
      return NullBytes(*static_cast<const arrow::RunEndEncodedType&>(type).value_type());
    case arrow::Type::SPARSE_UNION:
    case arrow::Type::DENSE_UNION:
      return 1;
    case arrow::Type::FIXED_SIZE_LIST: {
      const auto& list = static_cast<const arrow::FixedSizeListType&>(type);
      return list.list_size() * NullBytes(*list.value_type());
    }
    case arrow::Type::STRUCT: {
      int64_t total = 0;
      for (const auto& field : type.fields()) total += NullBytes(*field->type());
      return total;
    }
    default:
      return arrow::is_fixed_width(type.id()) ? type.byte_width() : kOffsetBytes;
  }
}

// True when every value, null or not, has the size of a null.
bool IsFixed(const arrow::DataType& type) {
  switch (type.id()) {
    case arrow::Type::NA:
      return true;
    case arrow::Type::EXTENSION:
      return IsFixed(*static_cast<const arrow::ExtensionType&>(type).storage_type());
    case arrow::Type::DICTIONARY:
      return IsFixed(*static_cast<const arrow::DictionaryType&>(type).value_type());
    case arrow::Type::RUN_END_ENCODED:
      return IsFixed(*static_cast<const arrow::RunEndEncodedType&>(type).value_type());
    case arrow::Type::FIXED_SIZE_LIST:
      return IsFixed(*static_cast<const arrow::FixedSizeListType&>(type).value_type());
    case arrow::Type::STRUCT:
      return std::all_of(type.fields().begin(), type.fields().end(),
                         [](const auto& field) { return IsFixed(*field->type()); });
    default:
      return arrow::is_fixed_width(type.id());
  }
}

Status AddSizes(const arrow::Array& array, int64_t* sizes);

Result<std::vector<int64_t>> Sizes(const arrow::Array& array) {
  std::vector<int64_t> sizes(static_cast<size_t>(array.length()));
  ARROW_RETURN_NOT_OK(AddSizes(array, sizes.data()));
  return sizes;
}

// sums[i] = size of the first i values.
Result<std::vector<int64_t>> PrefixSums(const arrow::Array& array) {
  std::vector<int64_t> sums(static_cast<size_t>(array.length()) + 1);
  ARROW_RETURN_NOT_OK(AddSizes(array, sums.data() + 1));
  for (size_t i = 1; i < sums.size(); ++i) sums[i] += sums[i - 1];
  return sums;
}

template <typename Offset>
void AddTextSizes(const Offset* offsets, int64_t rows, int64_t* sizes) {
  for (int64_t i = 0; i < rows; ++i) sizes[i] += kOffsetBytes + (offsets[i + 1] - offsets[i]);
}

template <typename ArrayType>
void AddStringSizes(const ArrayType& array, int64_t* sizes) {
  if constexpr (!std::is_base_of_v<arrow::BinaryViewArray, ArrayType>) {
    if (array.null_count() == 0) return AddTextSizes(array.raw_value_offsets(), array.length(), sizes);
  }
  const bool may_have_nulls = array.null_count() != 0;
  for (int64_t i = 0; i < array.length(); ++i) {
    sizes[i] += kOffsetBytes;
    if (!may_have_nulls || array.IsValid(i)) sizes[i] += static_cast<int64_t>(array.GetView(i).size());
  }
}

template <typename ArrayType>
Status AddListSizes(const ArrayType& array, int64_t* sizes) {
  if (array.length() == 0) return Status::OK();
  // Only the values that the rows show are sized: a slice may sit on a huge child.
  int64_t begin = std::numeric_limits<int64_t>::max(), end = 0;
  for (int64_t i = 0; i < array.length(); ++i) {
    if (array.IsNull(i) || array.value_length(i) == 0) continue;
    begin = std::min<int64_t>(begin, array.value_offset(i));
    end = std::max<int64_t>(end, array.value_offset(i) + array.value_length(i));
  }
  const auto& values = *array.values();
  if (begin < 0 || end > values.length()) {
    return DataError("a list column has offsets beyond its values", "write the file again");
  }
  const bool fixed = IsFixed(*values.type());
  const int64_t fixed_bytes = fixed ? NullBytes(*values.type()) : 0;
  std::vector<int64_t> sums;
  if (!fixed && begin < end) {
    ARROW_ASSIGN_OR_RAISE(sums, PrefixSums(*values.Slice(begin, end - begin)));
  }
  for (int64_t i = 0; i < array.length(); ++i) {
    sizes[i] += kOffsetBytes;
    if (array.IsNull(i) || array.value_length(i) == 0) continue;
    const int64_t first = array.value_offset(i) - begin, length = array.value_length(i);
    sizes[i] += fixed ? length * fixed_bytes : sums[first + length] - sums[first];
  }
  return Status::OK();
}

Status AddFixedSizeListSizes(const arrow::FixedSizeListArray& array, int64_t* sizes) {
  const int64_t list_size = array.list_type()->list_size();
  const int64_t null_bytes = NullBytes(*array.type());
  ARROW_ASSIGN_OR_RAISE(
      auto sums, PrefixSums(*array.values()->Slice(array.value_offset(0), array.length() * list_size)));
  for (int64_t i = 0; i < array.length(); ++i) {
    sizes[i] += array.IsNull(i) ? null_bytes : sums[(i + 1) * list_size] - sums[i * list_size];
  }
  return Status::OK();
}

Status AddStructSizes(const arrow::StructArray& array, int64_t* sizes) {
  if (array.null_count() == 0) {
    for (int i = 0; i < array.num_fields(); ++i) ARROW_RETURN_NOT_OK(AddSizes(*array.field(i), sizes));
    return Status::OK();
  }
  const int64_t null_bytes = NullBytes(*array.type());
  std::vector<int64_t> inner(static_cast<size_t>(array.length()));
  for (int i = 0; i < array.num_fields(); ++i) ARROW_RETURN_NOT_OK(AddSizes(*array.field(i), inner.data()));
  for (int64_t i = 0; i < array.length(); ++i) sizes[i] += array.IsNull(i) ? null_bytes : inner[i];
  return Status::OK();
}

Status AddDictionarySizes(const arrow::DictionaryArray& array, int64_t* sizes) {
  const int64_t null_bytes = NullBytes(*array.type());
  ARROW_ASSIGN_OR_RAISE(auto values, Sizes(*array.dictionary()));
  const auto beyond = [] {
    return DataError("a dictionary column has an index beyond its dictionary", "write the file again");
  };
  if (array.null_count() == 0 && array.indices()->type_id() == arrow::Type::INT32) {
    const auto* indices = array.indices()->data()->GetValues<uint32_t>(1);
    for (int64_t i = 0; i < array.length(); ++i) {
      if (indices[i] >= values.size()) return beyond();
      sizes[i] += values[indices[i]];
    }
    return Status::OK();
  }
  for (int64_t i = 0; i < array.length(); ++i) {
    if (array.IsNull(i)) {
      sizes[i] += null_bytes;
      continue;
    }
    const int64_t index = array.GetValueIndex(i);
    if (index < 0 || index >= static_cast<int64_t>(values.size())) return beyond();
    sizes[i] += values[index];
  }
  return Status::OK();
}

Status AddRunEndSizes(const arrow::RunEndEncodedArray& array, int64_t* sizes) {
  ARROW_ASSIGN_OR_RAISE(auto values, Sizes(*array.values()));
  const arrow::ArraySpan span(*array.data());
  auto add_runs = [&](const auto& runs) {
    for (auto run = runs.begin(); run != runs.end(); ++run) {
      const int64_t size = values[run.index_into_array()];
      for (int64_t i = run.logical_position(); i < run.run_end(); ++i) sizes[i] += size;
    }
  };
  switch (array.run_ends()->type_id()) {
    case arrow::Type::INT16:
      add_runs(arrow::ree_util::RunEndEncodedArraySpan<int16_t>(span));
      break;
    case arrow::Type::INT32:
      add_runs(arrow::ree_util::RunEndEncodedArraySpan<int32_t>(span));
      break;
    default:
      add_runs(arrow::ree_util::RunEndEncodedArraySpan<int64_t>(span));
  }
  return Status::OK();
}

Status AddUnionSizes(const arrow::UnionArray& array, int64_t* sizes) {
  const bool dense = array.type_id() == arrow::Type::DENSE_UNION;
  std::vector<std::vector<int64_t>> children(static_cast<size_t>(array.num_fields()));
  for (int i = 0; i < array.num_fields(); ++i) {
    ARROW_ASSIGN_OR_RAISE(children[i], Sizes(*array.field(i)));
  }
  for (int64_t i = 0; i < array.length(); ++i) {
    const auto& child = children[array.child_id(i)];
    const int64_t position = dense ? static_cast<const arrow::DenseUnionArray&>(array).value_offset(i) : i;
    if (position < 0 || position >= static_cast<int64_t>(child.size())) {
      return DataError("a union column has an offset beyond its values", "write the file again");
    }
    sizes[i] += 1 + child[position];
  }
  return Status::OK();
}

Status AddSizes(const arrow::Array& array, int64_t* sizes) {
  if (array.length() == 0) return Status::OK();
  if (IsFixed(*array.type())) {
    const int64_t bytes = NullBytes(*array.type());
    for (int64_t i = 0; i < array.length(); ++i) sizes[i] += bytes;
    return Status::OK();
  }
  switch (array.type_id()) {
    case arrow::Type::STRING:
    case arrow::Type::BINARY:
      AddStringSizes(static_cast<const arrow::BinaryArray&>(array), sizes);
      return Status::OK();
    case arrow::Type::LARGE_STRING:
    case arrow::Type::LARGE_BINARY:
      AddStringSizes(static_cast<const arrow::LargeBinaryArray&>(array), sizes);
      return Status::OK();
    case arrow::Type::STRING_VIEW:
    case arrow::Type::BINARY_VIEW:
      AddStringSizes(static_cast<const arrow::BinaryViewArray&>(array), sizes);
      return Status::OK();
    case arrow::Type::LIST:
    case arrow::Type::MAP:
      return AddListSizes(static_cast<const arrow::ListArray&>(array), sizes);
    case arrow::Type::LARGE_LIST:
      return AddListSizes(static_cast<const arrow::LargeListArray&>(array), sizes);
    case arrow::Type::LIST_VIEW:
      return AddListSizes(static_cast<const arrow::ListViewArray&>(array), sizes);
    case arrow::Type::LARGE_LIST_VIEW:
      return AddListSizes(static_cast<const arrow::LargeListViewArray&>(array), sizes);
    case arrow::Type::FIXED_SIZE_LIST:
      return AddFixedSizeListSizes(static_cast<const arrow::FixedSizeListArray&>(array), sizes);
    case arrow::Type::STRUCT:
      return AddStructSizes(static_cast<const arrow::StructArray&>(array), sizes);
    case arrow::Type::DICTIONARY:
      return AddDictionarySizes(static_cast<const arrow::DictionaryArray&>(array), sizes);
    case arrow::Type::RUN_END_ENCODED:
      return AddRunEndSizes(static_cast<const arrow::RunEndEncodedArray&>(array), sizes);
    case arrow::Type::SPARSE_UNION:
    case arrow::Type::DENSE_UNION:
      return AddUnionSizes(static_cast<const arrow::UnionArray&>(array), sizes);
    case arrow::Type::EXTENSION:
      return AddSizes(*static_cast<const arrow::ExtensionArray&>(array).storage(), sizes);
    default:
      return BugError("logical bytes of type " + array.type()->ToString() + " are not defined");
  }
}

// Of text behind indices; nothing where that is not all there is to it.
std::optional<int64_t> FastDictionarySum(const arrow::DictionaryArray& array) {
  const auto& dictionary = *array.dictionary();
  const auto id = dictionary.type_id();
  if (id != arrow::Type::STRING && id != arrow::Type::BINARY) return std::nullopt;
  if (array.indices()->type_id() != arrow::Type::INT32 || dictionary.null_count() != 0) return std::nullopt;
  const auto* offsets = static_cast<const arrow::BinaryArray&>(dictionary).raw_value_offsets();
  const auto* indices = array.indices()->data()->GetValues<uint32_t>(1);
  const int64_t size = dictionary.length(), rows = array.length();
  if (size == 0) return std::nullopt;
  const int32_t first = offsets[1] - offsets[0];
  int64_t same = 1;
  while (same < size && offsets[same + 1] - offsets[same] == first) ++same;
  if (same == size) return rows * (kOffsetBytes + first);
  uint32_t last = 0;
  for (int64_t i = 0; i < rows; ++i) last = std::max(last, indices[i]);
  if (last >= size) return std::nullopt;
  int64_t bytes = rows * kOffsetBytes;
  for (int64_t i = 0; i < rows; ++i) bytes += offsets[indices[i] + 1] - offsets[indices[i]];
  return bytes;
}

// The sum without a visit of each row, where the layout tells it.
std::optional<int64_t> FastSum(const arrow::Array& array) {
  if (IsFixed(*array.type())) return array.length() * NullBytes(*array.type());
  if (array.null_count() != 0 || array.length() == 0) return std::nullopt;
  if (array.type_id() == arrow::Type::STRING || array.type_id() == arrow::Type::BINARY) {
    return array.length() * kOffsetBytes +
           static_cast<const arrow::BinaryArray&>(array).total_values_length();
  }
  if (array.type_id() == arrow::Type::DICTIONARY)
    return FastDictionarySum(static_cast<const arrow::DictionaryArray&>(array));
  if (array.type_id() == arrow::Type::LARGE_STRING || array.type_id() == arrow::Type::LARGE_BINARY) {
    return array.length() * kOffsetBytes +
           static_cast<const arrow::LargeBinaryArray&>(array).total_values_length();
  }
  return std::nullopt;
}

}  // namespace

Status AddLogicalBytes(const arrow::Array& array, std::vector<int64_t>* sizes) {
  if (static_cast<int64_t>(sizes->size()) != array.length()) {
    return BugError("logical bytes: " + std::to_string(sizes->size()) + " sizes for " +
                    std::to_string(array.length()) + " rows");
  }
  return AddSizes(array, sizes->data());
}

Result<std::vector<int64_t>> RowLogicalBytes(const arrow::RecordBatch& batch) {
  int64_t fixed_bytes = 0;  // of columns whose values have one size
  for (int i = 0; i < batch.num_columns(); ++i) {
    const auto& type = *batch.column_data(i)->type;
    if (IsFixed(type)) fixed_bytes += NullBytes(type);
  }
  std::vector<int64_t> sizes(static_cast<size_t>(batch.num_rows()), fixed_bytes);
  for (int i = 0; i < batch.num_columns(); ++i) {
    if (!IsFixed(*batch.column_data(i)->type)) ARROW_RETURN_NOT_OK(AddLogicalBytes(*batch.column(i), &sizes));
  }
  return sizes;
}

Result<int64_t> LogicalBytes(const arrow::RecordBatch& batch) {
  int64_t total = 0;
  for (int i = 0; i < batch.num_columns(); ++i) {
    const auto column = batch.column(i);
    if (const auto sum = FastSum(*column)) {
      total += *sum;
      continue;
    }
    ARROW_ASSIGN_OR_RAISE(const auto sizes, Sizes(*column));
    for (int64_t size : sizes) total += size;
  }
  return total;
}

LogicalCutter::LogicalCutter(int64_t max_rows, int64_t max_bytes)
    : max_rows_(max_rows > 0 ? max_rows : std::numeric_limits<int64_t>::max()),
      max_bytes_(max_bytes > 0 ? max_bytes : std::numeric_limits<int64_t>::max()) {}

// What rows hold is not asked.
void LogicalCutter::CutByRows(int64_t rows, Cuts* cuts) {
  while (rows > 0) {
    const int64_t length = std::min(rows, max_rows_ - rows_);
    cuts->lengths.push_back(length);
    rows -= length;
    rows_ = rows_ + length < max_rows_ ? rows_ + length : 0;
  }
  cuts->ends_with_cut = rows_ == 0;
}

Result<LogicalCutter::Cuts> LogicalCutter::Next(const arrow::RecordBatch& batch) {
  Cuts cuts;
  if (batch.num_rows() == 0) return cuts;
  if (max_bytes_ == std::numeric_limits<int64_t>::max()) {
    CutByRows(batch.num_rows(), &cuts);
    return cuts;
  }
  ARROW_ASSIGN_OR_RAISE(const auto sizes, RowLogicalBytes(batch));
  int64_t length = 0;  // rows of this batch in the open piece
  auto cut = [&] {
    cuts.lengths.push_back(length);
    length = rows_ = bytes_ = 0;
  };
  for (int64_t size : sizes) {
    if (rows_ > 0 && (bytes_ > max_bytes_ || size > max_bytes_ - bytes_)) cut();
    ++length;
    ++rows_;
    bytes_ += size;
    if (rows_ >= max_rows_) cut();
  }
  cuts.ends_with_cut = length == 0;
  if (length > 0) cuts.lengths.push_back(length);
  return cuts;
}

}  // namespace partita
