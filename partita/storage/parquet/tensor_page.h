// The elements of a column chunk of lists of one length without nulls, without its levels. Internal to the
// room.
//
// Such levels say nothing that the schema does not: they are compared with what they must be, page by page,
// and values are read or decompressed straight to their place in the array.
#pragma once

#include <memory>

#include "partita/storage/parquet/numbers.h"
#include "partita/storage/parquet/page_walk.h"
#include "partita/storage/parquet/runs.h"

namespace partita {

struct TensorForm {
  int64_t length = 0;    // of each list, > 0
  int width = 0;         // of an element in the array: 1, 2, 4 or 8 bytes
  int stored_width = 0;  // in the file: the same, or 4 for what is narrower there

  NumberForm number() const { return {width, stored_width}; }
};

// After a failure it is of no use until it was closed. May throw what libparquet throws.
class TensorPages {
 public:
  TensorPages(std::shared_ptr<ColumnarFile> file, int row_group, int column, TensorForm form);

  int64_t position() const { return position_; }  // of the next element in the chunk
  // Goes to an element at or behind the position. Pages before it are not read: every list must be known to
  // have its length.
  Status SkipTo(int64_t position);
  // The next elements. Invalid where levels are not those of full lists, NotImplemented for other encodings.
  Status Read(int64_t count, uint8_t* out);
  // Begins anew, and lets go of memory.
  void Close();

 private:
  struct Page {
    int64_t values = 0;  // left
    int64_t bytes = 0;   // left, decoded
    std::unique_ptr<PageInflater> body;
    bool indexed = false;
    int index_width = 0;
    RunReader indices;
  };

  Status NextPage();
  Status OpenBody(const PageHeader& header, int64_t size_bytes, bool compressed, Page* page);
  Status OpenData(const PageHeader& header);
  Status OpenIndices(Page* page);
  Status OpenDictionary(const PageHeader& header);
  Status CheckLevels(std::string_view repetition, std::string_view definition, int64_t count) const;
  Result<std::string_view> ReadLengthAndLevels(Page* page, std::shared_ptr<arrow::ResizableBuffer>* levels);

  Status ReadPlain(int64_t count, uint8_t* out);
  Status ReadIndexed(int64_t count, uint8_t* out);

  std::shared_ptr<ColumnarFile> file_;
  PageWalk walk_;
  const TensorForm form_;
  int64_t position_ = 0;
  int64_t wanted_ = 0;
  Page page_;
  std::shared_ptr<arrow::ResizableBuffer> repetition_, definition_, index_bytes_, scratch_, body_;
  std::shared_ptr<arrow::ResizableBuffer> dictionary_;  // values of the array's width
  int64_t dictionary_size_ = 0;
  bool is_identity_ = false;  // 256 bytes, each standing for itself
};

}  // namespace partita
