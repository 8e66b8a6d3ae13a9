#include "partita/storage/parquet/tensor_chunk.h"

#include <arrow/api.h>

#include <algorithm>
#include <cstring>

#include "partita/storage/parquet/runs.h"

namespace partita {
namespace {

constexpr int kIndexBits = 8;
// Before the indices of a page: their width, and the length of their one run in at most five bytes.
constexpr int64_t kIndexHeadBytes = 6;
constexpr int64_t kLeastBufferBytes = 4 << 10;
constexpr int64_t kMostPageBytes = 1 << 30;

const arrow::DataType& StorageType(const arrow::DataType& type) {
  if (type.id() != arrow::Type::EXTENSION) return type;
  return *static_cast<const arrow::ExtensionType&>(type).storage_type();
}

template <typename From>
void Widen(const uint8_t* from, int64_t count, uint8_t* to) {
  for (int64_t i = 0; i < count; ++i) {
    From element;
    std::memcpy(&element, from + i * static_cast<int64_t>(sizeof(From)), sizeof(From));
    const auto stored = static_cast<int32_t>(element);
    std::memcpy(to + i * 4, &stored, sizeof(stored));
  }
}

void Store(const TensorLayout& layout, const uint8_t* from, int64_t count, uint8_t* to) {
  if (layout.width == layout.stored_width) {
    std::memcpy(to, from, static_cast<size_t>(count * layout.width));
  } else if (layout.width == 1) {
    layout.is_signed ? Widen<int8_t>(from, count, to) : Widen<uint8_t>(from, count, to);
  } else {
    layout.is_signed ? Widen<int16_t>(from, count, to) : Widen<uint16_t>(from, count, to);
  }
}

}  // namespace

std::optional<TensorLayout> TensorLayoutOf(const arrow::DataType& type, bool dictionary) {
  const auto& storage = StorageType(type);
  if (storage.id() != arrow::Type::FIXED_SIZE_LIST) return std::nullopt;
  const auto& lists = static_cast<const arrow::FixedSizeListType&>(storage);
  const auto& element = *lists.value_type();
  const auto id = element.id();
  if (lists.list_size() <= 0 || !(arrow::is_integer(id) || arrow::is_floating(id))) return std::nullopt;
  TensorLayout layout{.length = lists.list_size(), .width = element.byte_width()};
  layout.is_signed = arrow::is_signed_integer(id);
  layout.stored_width = layout.width;
  if (arrow::is_integer(id)) {
    layout.indexed = dictionary && layout.width == 1;
    if (dictionary && !layout.indexed) return std::nullopt;
    if (!layout.indexed) layout.stored_width = std::max(layout.width, 4);
  }
  if (layout.list_bytes() > kMostPageBytes) return std::nullopt;
  return layout;
}

std::shared_ptr<arrow::Array> FullElements(const arrow::Array& rows) {
  if (rows.type_id() == arrow::Type::EXTENSION)
    return FullElements(*static_cast<const arrow::ExtensionArray&>(rows).storage());
  if (rows.null_count() > 0) return nullptr;
  const auto& lists = static_cast<const arrow::FixedSizeListArray&>(rows);
  const int64_t length = lists.list_type()->list_size();
  auto elements = lists.values()->Slice(lists.value_offset(0), lists.length() * length);
  return elements->null_count() > 0 ? nullptr : elements;
}

Result<std::shared_ptr<arrow::Buffer>> ByteDictionary(bool is_signed, arrow::MemoryPool* pool) {
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> buffer, arrow::AllocateBuffer(256 * 4, pool));
  for (int i = 0; i < 256; ++i) {
    const int32_t value = is_signed ? static_cast<int8_t>(i) : i;
    std::memcpy(buffer->mutable_data() + i * 4, &value, sizeof(value));
  }
  return buffer;
}

TensorPage::TensorPage(const TensorLayout& layout, int64_t page_bytes, int16_t definition,
                       arrow::MemoryPool* pool)
    : layout_(layout), definition_(definition), pool_(pool) {
  const int64_t bytes = layout.list_bytes();
  most_lists_ = std::max<int64_t>(1, (std::min(page_bytes, kMostPageBytes - bytes) + bytes - 1) / bytes);
}

Status TensorPage::Grow(int64_t bytes) {
  const int64_t room = buffer_ ? buffer_->size() : 0;
  if (bytes <= room) return Status::OK();
  const int64_t most = kIndexHeadBytes + (most_lists_ * layout_.list_bytes() + 7) / 8 * 8;
  const bool is_first_page = starts_lists_ < 0;
  bytes = is_first_page ? std::min(most, std::max({bytes, 2 * room, kLeastBufferBytes})) : most;
  if (buffer_) return buffer_->Resize(bytes, /*shrink_to_fit=*/false);
  return arrow::AllocateResizableBuffer(bytes, pool_).Value(&buffer_);
}

Result<int64_t> TensorPage::Add(const uint8_t* elements, int64_t lists) {
  lists = std::min(lists, most_lists_ - lists_);
  const int64_t before = kIndexHeadBytes + lists_ * layout_.list_bytes();
  // Up to seven bytes fill the last group.
  ARROW_RETURN_NOT_OK(Grow(kIndexHeadBytes + ((lists_ + lists) * layout_.list_bytes() + 7) / 8 * 8));
  Store(layout_, elements, lists * layout_.length, buffer_->mutable_data() + before);
  lists_ += lists;
  return lists;
}

std::string TensorPage::Levels(int32_t* repetition_bytes, int32_t* definition_bytes) {
  if (starts_lists_ != lists_) {
    starts_ = ListStarts(lists_, layout_.length);
    starts_lists_ = lists_;
  }
  const std::string present = ConstantRun(values(), static_cast<uint8_t>(definition_));
  *repetition_bytes = static_cast<int32_t>(starts_.size());
  *definition_bytes = static_cast<int32_t>(present.size());
  return starts_ + present;
}

Result<std::shared_ptr<arrow::Buffer>> TensorPage::Take() {
  int64_t begin = kIndexHeadBytes;
  int64_t bytes = lists_ * layout_.list_bytes();
  if (layout_.indexed) {
    const int64_t groups = (bytes + 7) / 8;
    std::memset(buffer_->mutable_data() + begin + bytes, 0, static_cast<size_t>(groups * 8 - bytes));
    const std::string head = static_cast<char>(kIndexBits) + PackedHead(groups);
    begin -= static_cast<int64_t>(head.size());
    std::memcpy(buffer_->mutable_data() + begin, head.data(), head.size());
    bytes = static_cast<int64_t>(head.size()) + groups * 8;
  }
  lists_ = 0;
  return arrow::SliceBuffer(std::exchange(buffer_, nullptr), begin, bytes);
}

}  // namespace partita
