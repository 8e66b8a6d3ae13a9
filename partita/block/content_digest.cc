#include "partita/block/content_digest.h"

#define XXH_INLINE_ALL
#include <arrow/array.h>
#include <arrow/ipc/writer.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>
#include <arrow/type_traits.h>
#include <arrow/util/bit_run_reader.h>
#include <xxhash.h>

#include <algorithm>

#include "partita/base/digest.h"

namespace partita {
namespace {

class Hash {
 public:
  Hash() { XXH3_128bits_reset(&state_); }
  void Add(const void* data, int64_t size) {
    if (size > 0) XXH3_128bits_update(&state_, data, static_cast<size_t>(size));
  }
  void Add(int64_t number) { Add(&number, sizeof number); }
  std::string Text() const {
    const XXH128_hash_t hash = XXH3_128bits_digest(&state_);
    return std::to_string(hash.high64) + ':' + std::to_string(hash.low64);
  }

 private:
  alignas(64) XXH3_state_t state_;
};

// The values of one column, or of one level of a nested one. What has another meaning goes to another hash,
// so that no hash sees where a batch ends.
class ColumnHash {
 public:
  Status Add(const arrow::Array& array);
  std::string Text() const {
    std::string text =
        std::to_string(rows_) + ' ' + nulls_.Text() + ' ' + lengths_.Text() + ' ' + bytes_.Text();
    for (const auto& child : children_) text += " (" + child->Text() + ')';
    return text;
  }

 private:
  ColumnHash& Child(size_t i) {
    while (children_.size() <= i) children_.push_back(std::make_unique<ColumnHash>());
    return *children_[i];
  }
  // Calls `visit(first, count)` for ranges of rows without nulls; Arrow's kernels know no shorter way.
  template <typename Visit>
  Status ForValid(const arrow::Array& array, Visit visit) {
    const uint8_t* bits = array.null_count() > 0 ? array.null_bitmap_data() : nullptr;
    if (bits == nullptr) return array.length() > 0 ? visit(0, array.length()) : Status::OK();
    return arrow::internal::VisitSetBitRuns(bits, array.offset(), array.length(), visit);
  }
  template <typename Offset>
  Status AddBinary(const arrow::Array& array);
  template <typename ListArray>
  Status AddLists(const ListArray& array);
  template <typename ListViewArray>
  Status AddListViews(const ListViewArray& array);
  Status AddFixedWidth(const arrow::Array& array);
  Status AddBooleans(const arrow::Array& array);
  template <typename ViewArray>
  Status AddViews(const ViewArray& array);
  Status AddDictionary(const arrow::DictionaryArray& array);
  Status AddUnion(const arrow::UnionArray& array);
  Status AddRuns(const arrow::RunEndEncodedArray& array);
  Status AddValues(const arrow::Array& array);

  int64_t rows_ = 0;
  Hash nulls_;    // positions
  Hash lengths_;  // of lists and texts; type codes; ends of runs
  Hash bytes_;
  std::vector<std::unique_ptr<ColumnHash>> children_;
  std::shared_ptr<arrow::Array> dictionary_;  // the last one
};

Status ColumnHash::Add(const arrow::Array& array) {
  if (array.type_id() == arrow::Type::EXTENSION)
    return Add(*static_cast<const arrow::ExtensionArray&>(array).storage());
  if (array.null_bitmap_data() != nullptr && array.null_count() > 0) {
    for (int64_t i = 0; i < array.length(); ++i) {
      if (array.IsNull(i)) nulls_.Add(rows_ + i);
    }
  }
  ARROW_RETURN_NOT_OK(AddValues(array));
  rows_ += array.length();
  return Status::OK();
}

template <typename Offset>
Status ColumnHash::AddBinary(const arrow::Array& array) {
  const auto* offsets = array.data()->GetValues<Offset>(1);
  const auto& bytes = array.data()->buffers[2];
  return ForValid(array, [&](int64_t first, int64_t count) {
    for (int64_t i = first; i < first + count; ++i)
      lengths_.Add(static_cast<int64_t>(offsets[i + 1] - offsets[i]));
    if (bytes != nullptr) bytes_.Add(bytes->data() + offsets[first], offsets[first + count] - offsets[first]);
    return Status::OK();
  });
}

template <typename ViewArray>
Status ColumnHash::AddViews(const ViewArray& array) {
  for (int64_t i = 0; i < array.length(); ++i) {
    if (array.IsNull(i)) continue;
    const std::string_view value = array.GetView(i);
    lengths_.Add(static_cast<int64_t>(value.size()));
    bytes_.Add(value.data(), static_cast<int64_t>(value.size()));
  }
  return Status::OK();
}

template <typename ListArray>
Status ColumnHash::AddLists(const ListArray& array) {
  return ForValid(array, [&](int64_t first, int64_t count) {
    for (int64_t i = first; i < first + count; ++i) lengths_.Add(static_cast<int64_t>(array.value_length(i)));
    const int64_t from = array.value_offset(first);
    return Child(0).Add(*array.values()->Slice(from, array.value_offset(first + count) - from));
  });
}

template <typename ListViewArray>
Status ColumnHash::AddListViews(const ListViewArray& array) {
  for (int64_t i = 0; i < array.length(); ++i) {
    if (array.IsNull(i)) continue;
    lengths_.Add(static_cast<int64_t>(array.value_length(i)));
    ARROW_RETURN_NOT_OK(Child(0).Add(*array.value_slice(i)));
  }
  return Status::OK();
}

Status ColumnHash::AddFixedWidth(const arrow::Array& array) {
  const int64_t width = static_cast<const arrow::FixedWidthType&>(*array.type()).bit_width() / 8;
  const auto& buffer = array.data()->buffers[1];
  if (buffer == nullptr) return Status::OK();
  return ForValid(array, [&](int64_t first, int64_t count) {
    bytes_.Add(buffer->data() + (array.offset() + first) * width, count * width);
    return Status::OK();
  });
}

Status ColumnHash::AddBooleans(const arrow::Array& array) {
  const auto& booleans = static_cast<const arrow::BooleanArray&>(array);
  uint8_t unpacked[1024];
  int64_t count = 0;
  for (int64_t i = 0; i < array.length(); ++i) {
    unpacked[count++] = booleans.IsValid(i) && booleans.Value(i);
    if (count < static_cast<int64_t>(sizeof unpacked)) continue;
    bytes_.Add(unpacked, count);
    count = 0;
  }
  bytes_.Add(unpacked, count);
  return Status::OK();
}

Status ColumnHash::AddDictionary(const arrow::DictionaryArray& array) {
  const auto dictionary = array.dictionary();
  if (dictionary_ == nullptr || (dictionary != dictionary_ && !dictionary->Equals(*dictionary_))) {
    lengths_.Add(rows_);
    ARROW_RETURN_NOT_OK(Child(0).Add(*dictionary));
    dictionary_ = dictionary;
  }
  return AddFixedWidth(*array.indices());
}

Status ColumnHash::AddUnion(const arrow::UnionArray& array) {
  for (int64_t i = 0; i < array.length(); ++i) {
    const int child = array.child_id(i);
    lengths_.Add(static_cast<int64_t>(child));
    const int64_t at = array.mode() == arrow::UnionMode::DENSE
                           ? static_cast<const arrow::DenseUnionArray&>(array).value_offset(i)
                           : i;
    ARROW_RETURN_NOT_OK(Child(static_cast<size_t>(child)).Add(*array.field(child)->Slice(at, 1)));
  }
  return Status::OK();
}

Status ColumnHash::AddRuns(const arrow::RunEndEncodedArray& array) {
  ARROW_ASSIGN_OR_RAISE(auto ends, array.LogicalRunEnds(arrow::default_memory_pool()));
  ARROW_RETURN_NOT_OK(Child(0).Add(*ends));
  return Child(1).Add(*array.LogicalValues());
}

Status ColumnHash::AddValues(const arrow::Array& array) {
  switch (array.type_id()) {
    case arrow::Type::NA:
      return Status::OK();
    case arrow::Type::BOOL:
      return AddBooleans(array);
    case arrow::Type::STRING:
    case arrow::Type::BINARY:
      return AddBinary<int32_t>(array);
    case arrow::Type::LARGE_STRING:
    case arrow::Type::LARGE_BINARY:
      return AddBinary<int64_t>(array);
    case arrow::Type::STRING_VIEW:
    case arrow::Type::BINARY_VIEW:
      return AddViews(static_cast<const arrow::BinaryViewArray&>(array));
    case arrow::Type::LIST:
    case arrow::Type::MAP:
      return AddLists(static_cast<const arrow::ListArray&>(array));
    case arrow::Type::LARGE_LIST:
      return AddLists(static_cast<const arrow::LargeListArray&>(array));
    case arrow::Type::LIST_VIEW:
      return AddListViews(static_cast<const arrow::ListViewArray&>(array));
    case arrow::Type::LARGE_LIST_VIEW:
      return AddListViews(static_cast<const arrow::LargeListViewArray&>(array));
    case arrow::Type::FIXED_SIZE_LIST:
      return AddLists(static_cast<const arrow::FixedSizeListArray&>(array));
    case arrow::Type::STRUCT: {
      const auto& rows = static_cast<const arrow::StructArray&>(array);
      return ForValid(array, [&](int64_t first, int64_t count) {
        for (int i = 0; i < rows.num_fields(); ++i)
          ARROW_RETURN_NOT_OK(Child(static_cast<size_t>(i)).Add(*rows.field(i)->Slice(first, count)));
        return Status::OK();
      });
    }
    case arrow::Type::DICTIONARY:
      return AddDictionary(static_cast<const arrow::DictionaryArray&>(array));
    case arrow::Type::SPARSE_UNION:
    case arrow::Type::DENSE_UNION:
      return AddUnion(static_cast<const arrow::UnionArray&>(array));
    case arrow::Type::RUN_END_ENCODED:
      return AddRuns(static_cast<const arrow::RunEndEncodedArray&>(array));
    default:
      if (!arrow::is_fixed_width(array.type_id()))
        return BugError("no digest of type " + array.type()->ToString());
      return AddFixedWidth(array);
  }
}

}  // namespace

Result<std::string> ContentDigest(const arrow::Schema& schema,
                                  const std::vector<std::shared_ptr<arrow::RecordBatch>>& batches) {
  std::vector<ColumnHash> columns(static_cast<size_t>(schema.num_fields()));
  int64_t rows = 0;
  for (const auto& batch : batches) {
    rows += batch->num_rows();
    for (size_t i = 0; i < columns.size(); ++i)
      ARROW_RETURN_NOT_OK(columns[i].Add(*batch->column(static_cast<int>(i))));
  }
  ARROW_ASSIGN_OR_RAISE(auto types, arrow::ipc::SerializeSchema(schema));
  std::string text = types->ToString() + '\n' + std::to_string(rows);
  for (const auto& column : columns) text += '\n' + column.Text();
  return Sha256Hex(text);
}

}  // namespace partita
