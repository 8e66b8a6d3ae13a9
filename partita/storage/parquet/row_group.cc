#include "partita/storage/parquet/row_group.h"

#include <arrow/api.h>
#include <arrow/ipc/writer.h>
#include <arrow/util/base64.h>
#include <arrow/util/key_value_metadata.h>
#include <parquet/arrow/schema.h>
#include <parquet/file_writer.h>

#include <limits>

#include "partita/storage/parquet/chunk.h"
#include "partita/storage/parquet/file.h"

namespace partita {
namespace {

// Constant: the bytes of a file tell rows and arguments, not which build wrote them.
constexpr char kCreatedBy[] = "partita version 1.0.0";
constexpr char kArrowSchemaKey[] = "ARROW:schema";

class RowGroup final : public parquet::RowGroupWriter::Contents {
 public:
  RowGroup(const ChunkSettings* settings, parquet::RowGroupMetaDataBuilder* metadata) : metadata_(metadata) {
    for (int i = 0; i < metadata->num_columns(); ++i) {
      columns_.push_back(std::make_unique<ChunkWriter>(settings, metadata->NextColumnChunk()));
    }
  }

  int num_columns() const override { return static_cast<int>(columns_.size()); }
  int64_t num_rows() const override { return rows_; }
  parquet::ColumnWriter* NextColumn() override {
    throw parquet::ParquetException("columns are written in any order");
  }
  parquet::ColumnWriter* column(int i) override { return columns_.at(static_cast<size_t>(i)).get(); }
  int current_column() const override { return num_columns() - 1; }
  void Close() override {}  // WriteTo does it
  int64_t total_bytes_written() const override { return 0; }
  int64_t total_compressed_bytes() const override { return 0; }
  int64_t total_compressed_bytes_written() const override { return 0; }
  parquet::RowGroupWriter::BufferedStats EstimatedBufferedStats() const override { return {}; }
  bool buffered() const override { return true; }

  void AddRows(int64_t rows) { rows_ += rows; }

  int64_t memory_bytes() const {
    int64_t bytes = 0;
    for (const auto& column : columns_)
      bytes += column->pages()->memory_bytes() + column->fat_body()->memory_bytes();
    return bytes;
  }

  Status Stage(PageStage* stage) {
    for (const auto& column : columns_) {
      ARROW_RETURN_NOT_OK(column->pages()->Stage(stage));
      ARROW_RETURN_NOT_OK(column->fat_body()->Stage(stage));
    }
    return Status::OK();
  }

  // Every encoder is emptied before the first chunk is written: what is staged is read only from then on.
  Status WriteTo(arrow::io::OutputStream* stream, PageStage* stage, arrow::MemoryPool* pool) {
    for (const auto& column : columns_) column->Close();
    int64_t uncompressed = 0;
    for (const auto& column : columns_) {
      ARROW_ASSIGN_OR_RAISE(const int64_t offset, stream->Tell());
      column->Locate(offset);
      uncompressed += column->uncompressed_bytes();
      ARROW_RETURN_NOT_OK(column->pages()->MoveTo(stream, stage, pool));
    }
    metadata_->set_num_rows(rows_);
    metadata_->Finish(uncompressed);
    return Status::OK();
  }

 private:
  parquet::RowGroupMetaDataBuilder* metadata_;
  std::vector<std::unique_ptr<ChunkWriter>> columns_;
  int64_t rows_ = 0;
};

class FileContents final : public parquet::ParquetFileWriter::Contents {
 public:
  FileContents(std::shared_ptr<parquet::schema::GroupNode> schema, const ChunkSettings* settings,
               std::shared_ptr<const arrow::KeyValueMetadata> key_values)
      : parquet::ParquetFileWriter::Contents(std::move(schema), std::move(key_values)),
        settings_(settings),
        metadata_(parquet::FileMetaDataBuilder::Make(&schema_, settings->properties)) {}

  void Close() override {}
  parquet::RowGroupWriter* AppendRowGroup() override { return AppendBufferedRowGroup(); }

  parquet::RowGroupWriter* AppendBufferedRowGroup() override {
    ++num_row_groups_;
    auto group = std::make_unique<RowGroup>(settings_, metadata_->AppendRowGroup());
    open_ = group.get();
    writer_ = std::make_unique<parquet::RowGroupWriter>(std::move(group));
    return writer_.get();
  }

  int64_t num_rows() const override { return num_rows_; }
  int num_columns() const override { return schema_.num_columns(); }
  int num_row_groups() const override { return num_row_groups_; }
  const std::shared_ptr<parquet::WriterProperties>& properties() const override {
    return settings_->properties;
  }
  void AddKeyValueMetadata(const std::shared_ptr<const arrow::KeyValueMetadata>&) override {}

  RowGroup* open() { return open_; }

  Status EndRowGroup(arrow::io::OutputStream* stream, PageStage* stage, arrow::MemoryPool* pool) {
    ARROW_RETURN_NOT_OK(open_->WriteTo(stream, stage, pool));
    num_rows_ += open_->num_rows();
    open_ = nullptr;  // the writer lives on until the next one replaces it: libparquet closes it then
    return Status::OK();
  }

  void WriteFooter(arrow::io::OutputStream* stream) {
    file_metadata_ = metadata_->Finish(key_value_metadata_);
    parquet::WriteFileMetaData(*file_metadata_, stream);
  }

 private:
  const ChunkSettings* settings_;
  std::unique_ptr<parquet::FileMetaDataBuilder> metadata_;
  std::unique_ptr<parquet::RowGroupWriter> writer_;
  RowGroup* open_ = nullptr;
  int64_t num_rows_ = 0;
  int num_row_groups_ = 0;
};

std::shared_ptr<parquet::WriterProperties> Properties(const ParquetOptions& options, bool dictionary,
                                                      arrow::MemoryPool* pool) {
  parquet::WriterProperties::Builder builder;
  builder.memory_pool(pool)
      ->created_by(kCreatedBy)
      ->compression(options.compression)
      ->data_pagesize(options.data_page_bytes)
      ->max_row_group_length(std::numeric_limits<int64_t>::max())
      ->disable_write_page_index()
      ->set_size_statistics_level(parquet::SizeStatisticsLevel::None);
  if (options.compression_level) builder.compression_level(*options.compression_level);
  if (!dictionary) builder.disable_dictionary();
  if (!options.statistics) builder.disable_statistics();
  return builder.build();
}

// The Arrow types that Parquet has no words for are restored from here by readers of Arrow.
Result<std::shared_ptr<arrow::KeyValueMetadata>> ArrowSchema(const arrow::Schema& schema,
                                                             arrow::MemoryPool* pool) {
  auto plain = schema.RemoveMetadata();
  ARROW_ASSIGN_OR_RAISE(auto serialized, arrow::ipc::SerializeSchema(*plain, pool));
  return arrow::key_value_metadata({kArrowSchemaKey},
                                   {arrow::util::base64_encode(std::string_view(*serialized))});
}

class Encoder final : public ParquetFileEncoder {
 public:
  Encoder(arrow::io::OutputStream* stream, arrow::MemoryPool* pool, PageStage* stage)
      : stream_(stream), pool_(pool), stage_(stage) {}

  Status Init(const arrow::Schema& schema, std::shared_ptr<arrow::Schema> dense_schema,
              const ParquetOptions& options) {
    settings_.properties = Properties(options, options.dictionary, pool_);
    settings_.plain_properties = Properties(options, false, pool_);
    settings_.pool = pool_;
    settings_.statistics = options.statistics;
    auto arrow_properties = parquet::ArrowWriterProperties::Builder().build();
    std::shared_ptr<parquet::SchemaDescriptor> descriptor;
    Status converted = parquet::arrow::ToParquetSchema(dense_schema.get(), *settings_.properties,
                                                       *arrow_properties, &descriptor);
    if (!converted.ok()) {
      return UserError("Parquet cannot hold these columns: " + converted.message(),
                       "cast or drop the column that Parquet has no type for");
    }
    ARROW_ASSIGN_OR_RAISE(auto key_values, ArrowSchema(schema, pool_));
    ARROW_ASSIGN_OR_RAISE(const int64_t position, stream_->Tell());
    if (position != 0)
      return BugError("a Parquet file begins at byte " + std::to_string(position) + " of its stream");
    ARROW_RETURN_NOT_OK(stream_->Write("PAR1", 4));
    auto contents = std::make_unique<FileContents>(
        std::static_pointer_cast<parquet::schema::GroupNode>(descriptor->schema_root()), &settings_,
        std::move(key_values));
    contents_ = contents.get();
    auto writer = std::make_unique<parquet::ParquetFileWriter>();
    writer->Open(std::move(contents));
    return parquet::arrow::FileWriter::Make(pool_, std::move(writer), std::move(dense_schema),
                                            std::move(arrow_properties), &writer_);
  }

  Status WriteUnit(const arrow::RecordBatch& rows) override {
    return Catch([&]() -> Status {
      if (contents_->open() == nullptr) ARROW_RETURN_NOT_OK(writer_->NewBufferedRowGroup());
      ARROW_RETURN_NOT_OK(writer_->WriteRecordBatch(rows));
      contents_->open()->AddRows(rows.num_rows());
      return Status::OK();
    });
  }

  Status EndRowGroup() override {
    if (contents_->open() == nullptr) return Status::OK();
    ARROW_RETURN_NOT_OK(Catch([&] { return contents_->EndRowGroup(stream_, stage_, pool_); }));
    stage_->Reset();
    return Status::OK();
  }

  Status Finish() override {
    return Catch([&] {
      contents_->WriteFooter(stream_);
      return Status::OK();
    });
  }

  int64_t memory_bytes() const override { return contents_->open() ? contents_->open()->memory_bytes() : 0; }
  Status Stage() override { return contents_->open() ? contents_->open()->Stage(stage_) : Status::OK(); }

 private:
  template <typename Body>
  static Status Catch(Body&& body) {
    try {
      return body();
    } catch (const parquet::ParquetStatusException& e) {
      return e.status();
    } catch (const std::bad_alloc&) {
      return OutOfMemoryError("the machine has no memory to encode Parquet pages");
    } catch (const std::exception& e) {
      return DataError(std::string("rows cannot be written as Parquet: ") + e.what());
    }
  }

  arrow::io::OutputStream* stream_;
  arrow::MemoryPool* pool_;
  PageStage* stage_;
  ChunkSettings settings_;
  FileContents* contents_ = nullptr;  // owned by writer_
  std::unique_ptr<parquet::arrow::FileWriter> writer_;
};

}  // namespace

Result<std::unique_ptr<ParquetFileEncoder>> ParquetFileEncoder::Open(
    arrow::io::OutputStream* stream, const arrow::Schema& schema, std::shared_ptr<arrow::Schema> dense_schema,
    const ParquetOptions& options, arrow::MemoryPool* pool, PageStage* stage) {
  auto encoder = std::make_unique<Encoder>(stream, pool, stage);
  ARROW_RETURN_NOT_OK(encoder->Init(schema, std::move(dense_schema), options));
  return encoder;
}

}  // namespace partita
