#include "partita/block/block.h"

#include <arrow/array.h>
#include <arrow/array/concatenate.h>
#include <arrow/array/util.h>
#include <arrow/buffer.h>
#include <arrow/builder.h>
#include <arrow/extension_type.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>
#include <arrow/util/bitmap_ops.h>
#include <arrow/util/byte_size.h>

#include <algorithm>
#include <unordered_set>
#include <utility>

#include "partita/block/logical_bytes.h"
#include "partita/memory/budget.h"

namespace partita {

RowOrdinals RowOrdinals::Range(int64_t first, int64_t count) {
  RowOrdinals result;
  result.first_ = first;
  result.count_ = count;
  return result;
}

RowOrdinals RowOrdinals::List(std::vector<int64_t> ordinals) {
  RowOrdinals result;
  result.count_ = static_cast<int64_t>(ordinals.size());
  // A list without gaps is a range: eight bytes a row less to carry.
  if (!ordinals.empty() && ordinals.back() - ordinals.front() + 1 == result.count_) {
    bool ascending = true;
    for (size_t i = 1; i < ordinals.size() && ascending; ++i) ascending = ordinals[i] == ordinals[i - 1] + 1;
    if (ascending) return Range(ordinals.front(), result.count_);
  }
  result.list_ = std::make_shared<const std::vector<int64_t>>(std::move(ordinals));
  return result;
}

RowOrdinals RowOrdinals::Slice(int64_t offset, int64_t count) const {
  RowOrdinals result = *this;
  offset = std::clamp<int64_t>(offset, 0, count_);
  result.count_ = std::clamp<int64_t>(count, 0, count_ - offset);
  if (list_) {
    result.offset_ += offset;
  } else {
    result.first_ += offset;
  }
  return result;
}

RowOrdinals RowOrdinals::Take(const std::vector<int64_t>& indices) const {
  std::vector<int64_t> taken;
  taken.reserve(indices.size());
  for (int64_t index : indices) taken.push_back(At(index));
  return List(std::move(taken));
}

int64_t Block::num_rows() const { return batch ? batch->num_rows() : 0; }

Block Block::Slice(int64_t offset, int64_t count) const {
  return {batch->Slice(offset, count), ordinals.Slice(offset, count)};
}

namespace {

void ForEachBuffer(const arrow::ArrayData& data, const auto& visit) {
  for (const auto& buffer : data.buffers) {
    if (buffer) visit(*buffer);
  }
  for (const auto& child : data.child_data) {
    if (child) ForEachBuffer(*child, visit);
  }
  if (data.dictionary) ForEachBuffer(*data.dictionary, visit);
}

// Buffers that a batch keeps alive, each counted once by where its memory starts. A buffer that is a slice of
// another one keeps all of its parent.
class BufferCounter {
 public:
  void Add(const arrow::ArrayData& data) {
    ForEachBuffer(data, [this](const arrow::Buffer& buffer) { AddRoot(buffer); });
  }
  int64_t bytes() const { return bytes_; }

 private:
  void AddRoot(const arrow::Buffer& buffer) {
    const arrow::Buffer* root = &buffer;
    while (root->parent()) root = root->parent().get();
    if (seen_.insert(root->address()).second) bytes_ += std::max(root->capacity(), root->size());
  }

  std::unordered_set<uintptr_t> seen_;
  int64_t bytes_ = 0;
};

int64_t ColumnBufferBytes(const arrow::Array& array) {
  BufferCounter counter;
  counter.Add(*array.data());
  return counter.bytes();
}

bool HasType(const arrow::DataType& type, const auto& matches) {
  if (matches(type.id())) return true;
  if (type.id() == arrow::Type::EXTENSION) {
    return HasType(*static_cast<const arrow::ExtensionType&>(type).storage_type(), matches);
  }
  if (type.id() == arrow::Type::DICTIONARY) {
    return HasType(*static_cast<const arrow::DictionaryType&>(type).value_type(), matches);
  }
  return std::any_of(type.fields().begin(), type.fields().end(),
                     [&](const auto& field) { return HasType(*field->type(), matches); });
}

bool HasViews(const arrow::DataType& type) {
  return HasType(type, [](arrow::Type::type id) {
    return id == arrow::Type::STRING_VIEW || id == arrow::Type::BINARY_VIEW || id == arrow::Type::LIST_VIEW ||
           id == arrow::Type::LARGE_LIST_VIEW;
  });
}

// Bytes the array would take alone. Arrow cannot tell which part of a view's buffers is used, nor size a
// union's slice; there the logical size and the 16 bytes of a view stand in.
Result<int64_t> NeededBytes(const arrow::Array& array) {
  if (!HasViews(*array.type())) {
    auto referenced = arrow::util::ReferencedBufferSize(array);
    if (referenced.ok()) return *referenced;
  }
  std::vector<int64_t> sizes(static_cast<size_t>(array.length()));
  ARROW_RETURN_NOT_OK(AddLogicalBytes(array, &sizes));
  int64_t total = 16 * array.length();
  for (int64_t size : sizes) total += size;
  return total;
}

bool IsOversized(int64_t held_bytes, int64_t needed_bytes) {
  return held_bytes > 2 * needed_bytes && held_bytes - needed_bytes > (64 << 10);
}

Result<std::shared_ptr<arrow::Array>> CopyArray(const std::shared_ptr<arrow::Array>& array,
                                                arrow::MemoryPool* pool);

// Shares a dictionary that is no larger than it must be: other blocks use it too.
Result<std::shared_ptr<arrow::Array>> CopyDictionaryArray(const arrow::DictionaryArray& array,
                                                          arrow::MemoryPool* pool) {
  ARROW_ASSIGN_OR_RAISE(auto indices, arrow::Concatenate({array.indices()}, pool));
  auto dictionary = array.dictionary();
  ARROW_ASSIGN_OR_RAISE(int64_t needed_bytes, NeededBytes(*dictionary));
  if (IsOversized(ColumnBufferBytes(*dictionary), needed_bytes)) {
    ARROW_ASSIGN_OR_RAISE(dictionary, CopyArray(dictionary, pool));
  }
  return arrow::DictionaryArray::FromArrays(array.type(), indices, dictionary);
}

// Field by field, so that each takes its own best way.
Result<std::shared_ptr<arrow::Array>> CopyStructArray(const arrow::StructArray& array,
                                                      arrow::MemoryPool* pool) {
  arrow::ArrayVector fields;
  for (int i = 0; i < array.num_fields(); ++i) {
    ARROW_ASSIGN_OR_RAISE(auto field, CopyArray(array.field(i), pool));
    fields.push_back(std::move(field));
  }
  std::shared_ptr<arrow::Buffer> validity;
  if (array.null_count() > 0) {
    ARROW_ASSIGN_OR_RAISE(validity, arrow::internal::CopyBitmap(pool, array.null_bitmap_data(),
                                                                array.offset(), array.length()));
  }
  return std::make_shared<arrow::StructArray>(array.type(), array.length(), std::move(fields),
                                              std::move(validity), array.null_count());
}

Result<std::shared_ptr<arrow::Array>> CopyArray(const std::shared_ptr<arrow::Array>& array,
                                                arrow::MemoryPool* pool) {
  const arrow::DataType& type = *array->type();
  if (type.id() == arrow::Type::STRUCT) {
    return CopyStructArray(static_cast<const arrow::StructArray&>(*array), pool);
  }
  if (type.id() == arrow::Type::EXTENSION) {
    const auto& extension = static_cast<const arrow::ExtensionArray&>(*array);
    ARROW_ASSIGN_OR_RAISE(auto storage, CopyArray(extension.storage(), pool));
    return arrow::ExtensionType::WrapArray(array->type(), storage);
  }
  if (type.id() == arrow::Type::DICTIONARY) {
    return CopyDictionaryArray(static_cast<const arrow::DictionaryArray&>(*array), pool);
  }
  const bool has_extension = HasType(type, [](arrow::Type::type id) { return id == arrow::Type::EXTENSION; });
  if (HasViews(type) && !has_extension) {
    // Concatenate shares the buffers that views point into; a builder copies what they show.
    std::unique_ptr<arrow::ArrayBuilder> builder;
    ARROW_RETURN_NOT_OK(arrow::MakeBuilderExactIndex(pool, array->type(), &builder));
    ARROW_RETURN_NOT_OK(builder->AppendArraySlice(arrow::ArraySpan(*array->data()), 0, array->length()));
    std::shared_ptr<arrow::Array> copy;
    ARROW_RETURN_NOT_OK(builder->Finish(&copy));
    return copy;
  }
  return arrow::Concatenate({array}, pool);
}

}  // namespace

int64_t BufferBytes(const arrow::RecordBatch& batch) {
  BufferCounter counter;
  for (int i = 0; i < batch.num_columns(); ++i) counter.Add(*batch.column_data(i));
  return counter.bytes();
}

void DetachToCaller(const arrow::RecordBatch& batch) {
  for (int i = 0; i < batch.num_columns(); ++i) ForEachBuffer(*batch.column_data(i), &Budget::DetachToCaller);
}

Result<std::shared_ptr<arrow::RecordBatch>> Compact(std::shared_ptr<arrow::RecordBatch> batch,
                                                    arrow::MemoryPool* pool) {
  const int64_t held_bytes = BufferBytes(*batch);
  if (held_bytes <= (64 << 10)) return batch;
  std::vector<int64_t> needed(static_cast<size_t>(batch->num_columns()));
  int64_t needed_bytes = 0;
  for (int i = 0; i < batch->num_columns(); ++i) {
    ARROW_ASSIGN_OR_RAISE(needed[i], NeededBytes(*batch->column(i)));
    needed_bytes += needed[i];
  }
  if (!IsOversized(held_bytes, needed_bytes)) return batch;
  auto columns = batch->columns();
  for (size_t i = 0; i < columns.size(); ++i) {
    if (ColumnBufferBytes(*columns[i]) <= 2 * needed[i]) continue;
    ARROW_ASSIGN_OR_RAISE(columns[i], CopyArray(columns[i], pool));
  }
  return arrow::RecordBatch::Make(batch->schema(), batch->num_rows(), std::move(columns));
}

}  // namespace partita
