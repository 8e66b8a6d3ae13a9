// Writes one column chunk: libparquet's encoder for ordinary values, and pages of our own for fat ones,
// for lists of one length and for flat columns of texts and numbers. Internal to the room.
//
// libparquet holds a value in an encoder that doubles, in a page buffer and in a compressed buffer at once. A
// fat page, [levels] [4-byte length][bytes] in data page version 2, is compressed as a stream in pieces, or
// refers to the value's own bytes where they do not compress: nothing but the value and its compressed form
// is ever in memory.
#pragma once

#include <arrow/util/compression.h>
#include <parquet/column_writer.h>
#include <parquet/metadata.h>
#include <parquet/properties.h>

#include <map>
#include <memory>

#include "partita/storage/parquet/flat_pages.h"
#include "partita/storage/parquet/pages.h"
#include "partita/storage/parquet/tensor_chunk.h"

namespace partita {

// From this size on a value has a page of its own. Part of the format of our files: changing it changes their
// bytes.
inline constexpr int64_t kFatValueBytes = 1 << 20;

// What column chunks of a file share.
struct ChunkSettings {
  std::shared_ptr<parquet::WriterProperties> properties;
  std::shared_ptr<parquet::WriterProperties> plain_properties;  // the same without dictionaries
  arrow::MemoryPool* pool = nullptr;
  bool statistics = true;
};

// Appends the compressed form of `head` + `value` to `out`; false (and `out` empty) where it would not be
// smaller by a tenth. What it decides depends on the bytes alone.
Result<bool> CompressFat(arrow::Compression::type codec, int level, std::string_view head,
                         const arrow::Buffer& value, arrow::MemoryPool* pool, PageBytes* out);

// The same of a page in one piece. Smaller samples tell.
Result<bool> CompressPage(arrow::Compression::type codec, int level, const arrow::Buffer& page,
                          arrow::MemoryPool* pool, PageBytes* out);

class ChunkWriter final : public parquet::ColumnWriter {
 public:
  ChunkWriter(const ChunkSettings* settings, parquet::ColumnChunkMetaDataBuilder* metadata);
  ~ChunkWriter() override;

  ::arrow::Status WriteArrow(const int16_t* def_levels, const int16_t* rep_levels, int64_t num_levels,
                             const ::arrow::Array& leaf_array, parquet::ArrowWriteContext* ctx,
                             bool leaf_field_nullable) override;
  // Full lists, as their elements. Not once rows came through Arrow: the row group's others do, too.
  bool takes_lists() const { return !by_arrow_; }
  Status WriteLists(const TensorLayout& layout, const arrow::Array& elements);
  // Rows of a flat column of texts (also as indices of a dictionary) or plain numbers. False: one of the
  // texts is fat, and none was taken; they and all that follow come by WriteArrow, as values.
  Result<bool> WriteFlat(const arrow::Array& rows);
  // Encodes what is buffered. Pages are complete afterwards. May throw.
  int64_t Close() override;
  // After Close: the chunk lies at `file_offset`.
  void Locate(int64_t file_offset);

  PageBytes* pages() { return &pages_; }
  PageBytes* own_body() { return &own_body_; }  // of the page that is being built
  int64_t uncompressed_bytes() const { return totals_.uncompressed_bytes; }

  parquet::Type::type type() const override { return descr()->physical_type(); }
  const parquet::ColumnDescriptor* descr() const override { return metadata_->descr(); }
  int64_t rows_written() const override { return 0; }  // the row group counts
  int64_t total_compressed_bytes() const override { return 0; }
  int64_t total_bytes_written() const override { return totals_.uncompressed_bytes; }
  int64_t total_compressed_bytes_written() const override { return pages_.size(); }
  int64_t estimated_buffered_value_bytes() const override { return 0; }
  int64_t estimated_buffered_def_level_bytes() const override { return 0; }
  int64_t estimated_buffered_rep_level_bytes() const override { return 0; }
  int64_t estimated_buffered_dict_bytes() const override { return 0; }
  const parquet::WriterProperties* properties() override { return settings_->properties.get(); }
  void AddKeyValueMetadata(const std::shared_ptr<const ::arrow::KeyValueMetadata>&) override {}
  void ResetKeyValueMetadata() override {}

 private:
  friend class PageSink;
  struct Totals {
    int64_t values = 0;
    int64_t nulls = 0;
    int64_t uncompressed_bytes = 0;
    int64_t dictionary_offset = -1, data_offset = -1;
    bool has_dictionary = false, fallback = false;
    bool own_pages = false;  // some were not made by the encoder
    std::map<parquet::Encoding::type, int32_t> dictionary_pages, data_pages;
  };

  std::unique_ptr<parquet::PageWriter> OpenPages();
  parquet::ColumnWriter* Encoder();
  void CloseEncoder();
  Status WriteMixed(const int16_t* def_levels, int64_t num_levels, const arrow::Array& leaf,
                    parquet::ArrowWriteContext* ctx, bool leaf_nullable);
  Status WriteFat(std::shared_ptr<arrow::Buffer> value);
  Status WriteListPage();
  std::unique_ptr<FlatPages> NewFlatPages();
  Status EndFlat();
  // What own_body_ holds, behind its levels: those of repetition, then those of definition.
  struct OwnPage {
    std::string levels;
    int32_t repetition_bytes = 0, definition_bytes = 0;
    int64_t values = 1, rows = 1;
    int64_t plain_bytes = 0;  // of the values
    bool compressed = false;
    parquet::Encoding::type encoding = parquet::Encoding::PLAIN;
  };
  void WriteOwnPage(OwnPage page);

  const ChunkSettings* settings_;
  parquet::ColumnChunkMetaDataBuilder* metadata_;
  PageBytes pages_;
  PageBytes own_body_;
  Totals totals_;
  std::shared_ptr<parquet::ColumnWriter> encoder_;
  std::unique_ptr<parquet::PageWriter> own_pages_;
  std::unique_ptr<TensorPage> list_page_;
  std::unique_ptr<FlatPages> flat_;
  bool flat_is_over_ = false;
  bool by_arrow_ = false;
  bool may_repeat_ = true;  // as the first unit of rows tells
};

}  // namespace partita
