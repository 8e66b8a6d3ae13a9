#include "partita/storage/parquet/flat_page_reader.h"

#include <arrow/buffer.h>
#include <arrow/util/bit_util.h>
#include <arrow/util/bitmap_ops.h>

#include <algorithm>
#include <cstring>

#include "partita/storage/parquet/chunk_stream.h"

namespace partita {
namespace {

constexpr int kLevelBits = 1;

Status Ends() { return Status::Invalid("a page ends before its values"); }

uint32_t LoadLength(std::string_view bytes) {
  uint32_t length = 0;
  std::memcpy(&length, bytes.data(), sizeof(length));
  return length;
}

Status Grow(std::shared_ptr<arrow::ResizableBuffer>* buffer, int64_t bytes, arrow::MemoryPool* pool) {
  if (*buffer && (*buffer)->size() >= bytes) return Status::OK();
  buffer->reset();
  return arrow::AllocateResizableBuffer(bytes, pool).Value(buffer);
}

}  // namespace

Status Presence::MakeBits() {
  ARROW_ASSIGN_OR_RAISE(bits_, arrow::AllocateEmptyBitmap(rows_, pool_));
  arrow::bit_util::SetBitsTo(bits_->mutable_data(), 0, done_, true);
  return Status::OK();
}

Status Presence::AddAll(int64_t rows) {
  if (bits_) arrow::bit_util::SetBitsTo(bits_->mutable_data(), done_, rows, true);
  done_ += rows;
  return Status::OK();
}

Status Presence::Add(RunReader* levels, int64_t rows) {
  while (rows > 0) {
    ARROW_ASSIGN_OR_RAISE(const Run run, levels->Take(rows));
    if (run.packed == nullptr) {
      if (run.value > 1)
        return Status::Invalid("a level ", run.value, " of a column that has levels 0 and 1");
      if (run.value == 0) {
        if (!bits_) ARROW_RETURN_NOT_OK(MakeBits());
        nulls_ += run.count;
      } else if (bits_) {
        arrow::bit_util::SetBitsTo(bits_->mutable_data(), done_, run.count, true);
      }
    } else {
      if (!bits_) ARROW_RETURN_NOT_OK(MakeBits());
      arrow::internal::CopyBitmap(run.packed, run.first, run.count, bits_->mutable_data(), done_);
      nulls_ += run.count - arrow::internal::CountSetBits(bits_->data(), done_, run.count);
    }
    done_ += run.count;
    rows -= run.count;
  }
  return Status::OK();
}

FlatPageReader::FlatPageReader(std::shared_ptr<ColumnarFile> file, int row_group, int column, NumberForm form)
    : file_(std::move(file)), walk_(file_, row_group, column, file_->window_bytes), form_(form) {}

void FlatPageReader::Close() {
  page_ = Page();
  walk_.Close();
  row_ = wanted_ = dictionary_size_ = longest_text_ = 0;
  has_dictionary_ = false;
  levels_.reset();
  body_.reset();
  dictionary_values_.reset();
  dictionary_offsets_.reset();
}

Status FlatPageReader::SkipTo(int64_t row) {
  wanted_ = row;
  while (row_ < wanted_) {
    if (page_.rows == 0) {
      ARROW_RETURN_NOT_OK(NextPage());  // or past it, up to the wanted row
      continue;
    }
    const int64_t rows = std::min(wanted_ - row_, page_.rows);
    Presence presence(rows, file_->pool);
    ARROW_ASSIGN_OR_RAISE(const int64_t count, Take(rows, &presence));
    ARROW_RETURN_NOT_OK(SkipValues(count));
  }
  return Status::OK();
}

Status FlatPageReader::Open() {
  wanted_ = row_;
  while (page_.rows == 0) ARROW_RETURN_NOT_OK(NextPage());
  return Status::OK();
}

// Opens a page, or goes past one that holds nothing that is wanted.
Status FlatPageReader::NextPage() {
  ARROW_ASSIGN_OR_RAISE(const auto header, walk_.Next());
  if (!header) return Status::Invalid("a column chunk ends at row ", row_);
  if (header->is(PageHeader::Type::kDictionary)) {
    ARROW_RETURN_NOT_OK(OpenDictionary(*header));
  } else if (header->is_data() && header->num_values > 0) {
    if (header->num_values <= wanted_ - row_) {
      row_ += header->num_values;
    } else {
      ARROW_RETURN_NOT_OK(OpenData(*header));
    }
  }
  walk_.Pass(*header);
  return Status::OK();
}

// The rest of the page, decompressed. It is there until the next page is opened.
Result<std::string_view> FlatPageReader::ReadBody(int64_t size_bytes, bool compressed) {
  if (size_bytes == 0) return std::string_view();
  const auto codec = compressed ? walk_.chunk().compression() : arrow::Compression::UNCOMPRESSED;
  // It reads all of the page at once, and so needs no scratch.
  std::shared_ptr<arrow::ResizableBuffer> scratch;
  ARROW_ASSIGN_OR_RAISE(const auto inflater,
                        OpenWholeInflater(codec, walk_.input(), size_bytes, &scratch, file_->pool));
  ARROW_RETURN_NOT_OK(Grow(&body_, size_bytes, file_->pool));
  ARROW_RETURN_NOT_OK(inflater->Read(body_->mutable_data(), size_bytes));
  return std::string_view(reinterpret_cast<const char*>(body_->data()), static_cast<size_t>(size_bytes));
}

Status FlatPageReader::OpenData(const PageHeader& header) {
  Page page;
  std::string_view levels;
  const bool nullable = walk_.descr().max_definition_level() > 0;
  if (header.is(PageHeader::Type::kDataV2)) {
    // Levels come first and are not compressed. There are none of repetition.
    if (header.repetition_bytes > 0)
      return Status::Invalid("a column without lists has levels of repetition");
    const int64_t bytes = header.levels_bytes();
    ARROW_RETURN_NOT_OK(Grow(&levels_, bytes, file_->pool));
    ARROW_RETURN_NOT_OK(walk_.input()->Read(levels_->mutable_data(), bytes));
    levels = {reinterpret_cast<const char*>(levels_->data()), static_cast<size_t>(bytes)};
    ARROW_ASSIGN_OR_RAISE(page.values,
                          ReadBody(header.uncompressed_bytes - bytes,
                                   header.compressed || AlwaysCompressed(*file_->file->metadata)));
  } else {
    ARROW_ASSIGN_OR_RAISE(page.values, ReadBody(header.uncompressed_bytes, /*compressed=*/true));
    if (nullable) {
      if (header.definition_encoding != kRle)
        return Status::NotImplemented("levels of the encoding ", header.definition_encoding);
      if (page.values.size() < sizeof(uint32_t)) return Ends();
      const uint32_t length = LoadLength(page.values);
      page.values.remove_prefix(sizeof(length));
      if (length > page.values.size()) return Ends();
      levels = page.values.substr(0, length);
      page.values.remove_prefix(length);
    }
  }
  page.rows = header.num_values;
  page.whole = !nullable || IsConstant(levels, kLevelBits, header.num_values, 1);
  if (!page.whole) page.levels = RunReader(levels, kLevelBits);
  if (header.is_indexed()) {
    ARROW_RETURN_NOT_OK(OpenIndices(&page));
  } else if (header.encoding != kPlain) {
    return Status::NotImplemented("values of the encoding ", header.encoding);
  }
  page_ = page;
  return Status::OK();
}

Status FlatPageReader::OpenIndices(Page* page) {
  if (!has_dictionary_) return Status::Invalid("a page refers to a dictionary that is missing");
  page->indexed = true;
  page->index_width = kMostRunBits;  // of a page without any value
  if (!page->values.empty()) page->index_width = static_cast<uint8_t>(page->values[0]);
  if (page->index_width > kMostRunBits) return Status::Invalid("indices of ", page->index_width, " bits");
  if (page->index_width > 0) {
    page->indices =
        RunReader(page->values.substr(std::min<size_t>(1, page->values.size())), page->index_width);
  }
  return Status::OK();
}

Status FlatPageReader::OpenDictionary(const PageHeader& header) {
  if (has_dictionary_) return Status::Invalid("a column chunk has two dictionaries");
  if (header.encoding != kPlain && header.encoding != kPlainDictionary)
    return Status::NotImplemented("a dictionary of the encoding ", header.encoding);
  ARROW_ASSIGN_OR_RAISE(const auto values, ReadBody(header.uncompressed_bytes, /*compressed=*/true));
  const int64_t least = is_text() ? int64_t{sizeof(uint32_t)} : form_.stored_width;
  if (header.num_values > static_cast<int64_t>(values.size()) / least)
    return Status::Invalid("a dictionary ends before its values");
  if (is_text()) {
    ARROW_RETURN_NOT_OK(OpenTextDictionary(values, header.num_values));
  } else {
    ARROW_ASSIGN_OR_RAISE(dictionary_values_,
                          arrow::AllocateBuffer(int64_t{header.num_values} * form_.width, file_->pool));
    Convert(form_, reinterpret_cast<const uint8_t*>(values.data()), header.num_values,
            dictionary_values_->mutable_data());
  }
  dictionary_size_ = header.num_values;
  has_dictionary_ = true;
  return Status::OK();
}

Status FlatPageReader::OpenTextDictionary(std::string_view values, int64_t count) {
  ARROW_ASSIGN_OR_RAISE(dictionary_offsets_, arrow::AllocateBuffer((count + 1) * 4, file_->pool));
  ARROW_ASSIGN_OR_RAISE(dictionary_values_,
                        arrow::AllocateBuffer(static_cast<int64_t>(values.size()) - count * 4, file_->pool));
  auto* offsets = reinterpret_cast<int32_t*>(dictionary_offsets_->mutable_data());
  uint8_t* text = dictionary_values_->mutable_data();
  int32_t at = 0;  // a page has less than 2 GiB
  for (int64_t i = 0; i < count; ++i) {
    offsets[i] = at;
    if (values.size() < sizeof(uint32_t)) return Ends();
    const uint32_t length = LoadLength(values);
    values.remove_prefix(sizeof(length));
    if (length > values.size()) return Ends();
    // The lengths of those to come take their room too: what is claimed is not too little.
    if (values.size() - length < static_cast<size_t>(count - i - 1) * sizeof(length)) return Ends();
    if (length > 0) std::memcpy(text + at, values.data(), length);
    values.remove_prefix(length);
    at += static_cast<int32_t>(length);
    longest_text_ = std::max<int64_t>(longest_text_, length);
  }
  offsets[count] = at;
  return Status::OK();
}

Result<int64_t> FlatPageReader::Take(int64_t rows, Presence* presence) {
  const int64_t nulls = presence->nulls();
  if (page_.whole) {
    ARROW_RETURN_NOT_OK(presence->AddAll(rows));
  } else {
    ARROW_RETURN_NOT_OK(presence->Add(&page_.levels, rows));
  }
  page_.rows -= rows;
  row_ += rows;
  return rows - (presence->nulls() - nulls);
}

Status FlatPageReader::ReadNumbers(int64_t count, uint8_t* out) {
  if (count == 0) return Status::OK();
  if (page_.indexed) {
    return LookUp({dictionary_values_->data(), dictionary_size_, form_.width, /*is_identity=*/false},
                  page_.index_width, &page_.indices, count, out);
  }
  if (count > static_cast<int64_t>(page_.values.size()) / form_.stored_width) return Ends();
  Convert(form_, reinterpret_cast<const uint8_t*>(page_.values.data()), count, out);
  page_.values.remove_prefix(static_cast<size_t>(count * form_.stored_width));
  return Status::OK();
}

Status FlatPageReader::ReadIndices(int64_t count, uint32_t* out) {
  return partita::ReadIndices(dictionary_size_, page_.index_width, &page_.indices, count, out);
}

Status FlatPageReader::SkipValues(int64_t count) {
  if (page_.indexed) {
    while (page_.index_width > 0 && count > 0) {
      ARROW_ASSIGN_OR_RAISE(const Run run, page_.indices.Take(count));
      count -= run.count;
    }
    return Status::OK();
  }
  if (!is_text()) {
    if (count > static_cast<int64_t>(page_.values.size()) / form_.stored_width) return Ends();
    page_.values.remove_prefix(static_cast<size_t>(count * form_.stored_width));
    return Status::OK();
  }
  for (; count > 0; --count) {
    if (page_.values.size() < sizeof(uint32_t)) return Ends();
    const uint32_t length = LoadLength(page_.values);
    page_.values.remove_prefix(sizeof(length));
    if (length > page_.values.size()) return Ends();
    page_.values.remove_prefix(length);
  }
  return Status::OK();
}

}  // namespace partita
