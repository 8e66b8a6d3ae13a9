// The pages of a chunk of texts (flat_pages.h). Internal to the room.
//
// Texts come as values or as indices of any dictionary, and whether they do changes no byte: codes are given
// in the order in which texts come, so that of an index it is enough to remember which code its text has.
// Nothing is hashed but texts that are seen for the first time in a dictionary.
#pragma once

#include <memory>
#include <optional>
#include <string>

#include "partita/storage/parquet/flat_pages.h"
#include "partita/storage/parquet/text_codes.h"

namespace partita {

// Texts as they may stand in an array: values, or indices of a dictionary of them.
bool IsText(const arrow::DataType& type);
bool IsTextCodes(const arrow::DataType& type);
// What indices stand for; other arrays as they are.
Result<std::shared_ptr<arrow::Array>> ValuesOf(std::shared_ptr<arrow::Array> array, arrow::MemoryPool* pool);

// The least and the greatest of texts, by their bytes.
class TextRange {
 public:
  // `prefix`: its first eight bytes as a number, the first leading, zeros behind its end.
  void Add(std::string_view text, uint64_t prefix) {
    if (any_ && prefix > least_prefix_ && prefix < greatest_prefix_) return;
    Compare(text, prefix);
  }
  void Add(std::string_view text);
  bool any() const { return any_; }
  const std::string& least() const { return least_; }
  const std::string& greatest() const { return greatest_; }

 private:
  void Compare(std::string_view text, uint64_t prefix);

  bool any_ = false;
  uint64_t least_prefix_ = 0, greatest_prefix_ = 0;
  std::string least_, greatest_;
};

class TextPages final : public FlatPages {
 public:
  // As PageMaker.
  TextPages(const parquet::ColumnDescriptor* descr, const parquet::WriterProperties* properties,
            parquet::PageWriter* pager, arrow::MemoryPool* pool);

  // Rows of a type above.
  Status Add(const arrow::Array& texts) override;
  Status EndDictionary() override;
  Status Finish() override { return codes_ ? EndDictionary() : EndPage(); }
  int64_t nulls() const override { return pages_.nulls(); }
  void SetRange(parquet::EncodedStatistics* statistics) const override {
    if (range_.any()) statistics->set_min(range_.least()).set_max(range_.greatest());
  }

 private:
  template <typename Rows>
  Status AddRows(const Rows& rows);
  template <typename Texts>
  Status AddIndices(const arrow::DictionaryArray& texts);
  template <typename Rows>
  Status AddCodes(const Rows& rows, int64_t begin, int64_t end);
  template <typename Rows>
  Status AddPlain(const Rows& rows, int64_t begin, int64_t end);
  template <typename Rows>
  Status CodeOf(const Rows& rows, int64_t row, uint32_t* code);
  Status Know(const std::shared_ptr<arrow::ArrayData>& dictionary);
  bool PageIsFull() const;
  Status EndPage();

  const parquet::ColumnDescriptor* descr_;
  PageMaker pages_;
  std::optional<TextCodes> codes_;  // none: what comes is plain
  // Of the dictionary that rows come with: the code of each entry that was met.
  std::shared_ptr<arrow::ArrayData> known_;
  arrow::TypedBufferBuilder<uint32_t> code_of_;
  // The open page.
  arrow::TypedBufferBuilder<uint32_t> present_;
  arrow::BufferBuilder plain_;
  TextRange range_;
};

}  // namespace partita
