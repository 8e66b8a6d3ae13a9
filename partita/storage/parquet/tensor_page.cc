#include "partita/storage/parquet/tensor_page.h"

#include <arrow/buffer.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "partita/storage/parquet/chunk_stream.h"

namespace partita {
namespace {

static_assert(std::endian::native == std::endian::little, "Parquet lengths are read as they are");

constexpr int64_t kWindowBytes = 32 << 10;   // values go past it
constexpr int64_t kScratchBytes = 32 << 10;  // stays in the processor's cache
// Larger pages are decompressed as a stream, which is slower and needs no memory.
constexpr int64_t kMostWholeBytes = 8 << 20;

Status Grow(std::shared_ptr<arrow::ResizableBuffer>* buffer, int64_t bytes, arrow::MemoryPool* pool) {
  if (*buffer && (*buffer)->size() >= bytes) return Status::OK();
  return arrow::AllocateResizableBuffer(bytes, pool).Value(buffer);
}

Status Ends() { return Status::Invalid("a page ends before its values"); }

}  // namespace

TensorPages::TensorPages(std::shared_ptr<ColumnarFile> file, int row_group, int column, TensorForm form)
    : file_(std::move(file)), walk_(file_, row_group, column, kWindowBytes), form_(form) {}

void TensorPages::Close() {
  page_ = Page();
  walk_.Close();
  position_ = wanted_ = dictionary_size_ = 0;
  for (auto* buffer : {&repetition_, &definition_, &index_bytes_, &scratch_, &body_, &dictionary_})
    buffer->reset();
}

Status TensorPages::SkipTo(int64_t position) {
  wanted_ = position;
  while (position_ < wanted_) {
    if (page_.values == 0) {
      ARROW_RETURN_NOT_OK(NextPage());  // or past it, up to the wanted element
      continue;
    }
    ARROW_RETURN_NOT_OK(Grow(&scratch_, kScratchBytes, file_->pool));
    const int64_t most = kScratchBytes / std::max(form_.stored_width, form_.width);
    const int64_t some = std::min({wanted_ - position_, page_.values, most});
    if (page_.indexed) {
      ARROW_RETURN_NOT_OK(ReadIndexed(some, scratch_->mutable_data()));
    } else {
      const int64_t bytes = some * form_.stored_width;
      if (bytes > page_.bytes) return Ends();
      ARROW_RETURN_NOT_OK(page_.body->Read(scratch_->mutable_data(), bytes));
      page_.bytes -= bytes;
    }
    page_.values -= some;
    position_ += some;
  }
  return Status::OK();
}

Status TensorPages::Read(int64_t count, uint8_t* out) {
  wanted_ = position_;
  while (count > 0) {
    if (page_.values == 0) {
      ARROW_RETURN_NOT_OK(NextPage());
      continue;
    }
    const int64_t some = std::min(count, page_.values);
    ARROW_RETURN_NOT_OK(page_.indexed ? ReadIndexed(some, out) : ReadPlain(some, out));
    page_.values -= some;
    position_ += some;
    count -= some;
    out += some * form_.width;
  }
  return Status::OK();
}

// Opens a page, or goes past one that holds nothing that is wanted.
Status TensorPages::NextPage() {
  ARROW_ASSIGN_OR_RAISE(const auto header, walk_.Next());
  if (!header) return Status::Invalid("a column chunk ends at element ", position_);
  if (header->is(PageHeader::Type::kDictionary)) {
    ARROW_RETURN_NOT_OK(OpenDictionary(*header));
  } else if (header->is_data() && header->num_values > 0) {
    if (header->num_values <= wanted_ - position_) {
      position_ += header->num_values;
    } else {
      ARROW_RETURN_NOT_OK(OpenData(*header));
    }
  }
  walk_.Pass(*header);
  return Status::OK();
}

Status TensorPages::OpenBody(const PageHeader& header, int64_t size_bytes, bool compressed, Page* page) {
  const auto codec = compressed ? walk_.chunk().compression() : arrow::Compression::UNCOMPRESSED;
  if (header.uncompressed_bytes <= kMostWholeBytes && header.compressed_bytes <= kMostWholeBytes) {
    ARROW_ASSIGN_OR_RAISE(page->body,
                          OpenWholeInflater(codec, walk_.input(), size_bytes, &body_, file_->pool));
  } else {
    ARROW_ASSIGN_OR_RAISE(page->body, OpenInflater(codec, walk_.input(), size_bytes, file_->pool));
  }
  page->bytes = size_bytes;
  page->values = header.num_values;
  return Status::OK();
}

Status TensorPages::CheckLevels(std::string_view repetition, std::string_view definition,
                                int64_t count) const {
  const auto present = static_cast<uint32_t>(walk_.descr().max_definition_level());
  if (AreListStarts(repetition, count, position_, form_.length) &&
      IsConstant(definition, std::bit_width(present), count, present)) {
    return Status::OK();
  }
  return Status::Invalid("not all lists have ", form_.length, " values");
}

// Version 1: levels have their length before them, and are part of the compressed bytes.
Result<std::string_view> TensorPages::ReadLengthAndLevels(Page* page,
                                                          std::shared_ptr<arrow::ResizableBuffer>* levels) {
  uint32_t length = 0;
  if (page->bytes < int64_t{sizeof(length)}) return Ends();
  ARROW_RETURN_NOT_OK(page->body->Read(reinterpret_cast<uint8_t*>(&length), sizeof(length)));
  page->bytes -= int64_t{sizeof(length)};
  if (length > page->bytes) return Ends();
  ARROW_RETURN_NOT_OK(Grow(levels, length, file_->pool));
  ARROW_RETURN_NOT_OK(page->body->Read((*levels)->mutable_data(), length));
  page->bytes -= length;
  return std::string_view(reinterpret_cast<const char*>((*levels)->data()), length);
}

Status TensorPages::OpenData(const PageHeader& header) {
  Page page;
  std::string_view repetition, definition;
  if (header.is(PageHeader::Type::kDataV2)) {
    // Levels come first and are not compressed.
    const int64_t bytes = header.levels_bytes();
    ARROW_RETURN_NOT_OK(Grow(&repetition_, bytes, file_->pool));
    ARROW_RETURN_NOT_OK(walk_.input()->Read(repetition_->mutable_data(), bytes));
    const std::string_view levels(reinterpret_cast<const char*>(repetition_->data()),
                                  static_cast<size_t>(bytes));
    repetition = levels.substr(0, static_cast<size_t>(header.repetition_bytes));
    definition = levels.substr(static_cast<size_t>(header.repetition_bytes));
    ARROW_RETURN_NOT_OK(OpenBody(header, header.uncompressed_bytes - bytes,
                                 header.compressed || AlwaysCompressed(*file_->file->metadata), &page));
  } else {
    if (header.repetition_encoding != kRle || header.definition_encoding != kRle)
      return Status::NotImplemented("levels of the encoding ", header.repetition_encoding);
    ARROW_RETURN_NOT_OK(OpenBody(header, header.uncompressed_bytes, /*compressed=*/true, &page));
    ARROW_ASSIGN_OR_RAISE(repetition, ReadLengthAndLevels(&page, &repetition_));
    ARROW_ASSIGN_OR_RAISE(definition, ReadLengthAndLevels(&page, &definition_));
  }
  ARROW_RETURN_NOT_OK(CheckLevels(repetition, definition, header.num_values));
  if (header.is_indexed()) {
    ARROW_RETURN_NOT_OK(OpenIndices(&page));
  } else if (header.encoding != kPlain) {
    return Status::NotImplemented("values of the encoding ", header.encoding);
  }
  page_ = std::move(page);
  return Status::OK();
}

Status TensorPages::OpenIndices(Page* page) {
  if (dictionary_size_ == 0) return Status::Invalid("a page refers to a dictionary that is missing");
  if (page->bytes < 1) return Ends();
  ARROW_RETURN_NOT_OK(Grow(&index_bytes_, page->bytes, file_->pool));
  ARROW_RETURN_NOT_OK(page->body->Read(index_bytes_->mutable_data(), page->bytes));
  const std::string_view bytes(reinterpret_cast<const char*>(index_bytes_->data()),
                               static_cast<size_t>(page->bytes));
  page->bytes = 0;
  page->indexed = true;
  page->index_width = static_cast<uint8_t>(bytes[0]);
  if (page->index_width > kMostRunBits) return Status::Invalid("indices of ", page->index_width, " bits");
  if (page->index_width > 0) page->indices = RunReader(bytes.substr(1), page->index_width);
  return Status::OK();
}

Status TensorPages::OpenDictionary(const PageHeader& header) {
  Page page;
  const int64_t bytes = int64_t{header.num_values} * form_.stored_width;
  if (bytes > header.uncompressed_bytes) return Status::Invalid("a dictionary ends before its values");
  ARROW_RETURN_NOT_OK(OpenBody(header, header.uncompressed_bytes, /*compressed=*/true, &page));
  std::shared_ptr<arrow::ResizableBuffer> stored;
  ARROW_RETURN_NOT_OK(Grow(&stored, bytes, file_->pool));
  ARROW_RETURN_NOT_OK(Grow(&dictionary_, int64_t{header.num_values} * form_.width, file_->pool));
  ARROW_RETURN_NOT_OK(page.body->Read(stored->mutable_data(), bytes));
  Convert(form_.number(), stored->data(), header.num_values, dictionary_->mutable_data());
  dictionary_size_ = header.num_values;
  is_identity_ = form_.width == 1 && dictionary_size_ == 256;
  for (int i = 0; is_identity_ && i < 256; ++i) is_identity_ = dictionary_->data()[i] == i;
  return Status::OK();
}

Status TensorPages::ReadPlain(int64_t count, uint8_t* out) {
  if (count > page_.bytes / form_.stored_width) return Ends();
  page_.bytes -= count * form_.stored_width;
  if (form_.width == form_.stored_width) return page_.body->Read(out, count * form_.width);
  ARROW_RETURN_NOT_OK(Grow(&scratch_, kScratchBytes, file_->pool));
  while (count > 0) {
    const int64_t some = std::min(count, kScratchBytes / form_.stored_width);
    ARROW_RETURN_NOT_OK(page_.body->Read(scratch_->mutable_data(), some * form_.stored_width));
    Convert(form_.number(), scratch_->data(), some, out);
    count -= some;
    out += some * form_.width;
  }
  return Status::OK();
}

Status TensorPages::ReadIndexed(int64_t count, uint8_t* out) {
  const NumberDictionary dictionary = {dictionary_->data(), dictionary_size_, form_.width, is_identity_};
  return LookUp(dictionary, page_.index_width, &page_.indices, count, out);
}

}  // namespace partita
