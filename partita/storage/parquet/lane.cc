#include "partita/storage/parquet/lane.h"

#include <arrow/type.h>
#include <parquet/arrow/schema.h>
#include <parquet/exception.h>
#include <parquet/file_writer.h>

namespace partita {
namespace {

class LaneGroup final : public parquet::RowGroupWriter::Contents {
 public:
  explicit LaneGroup(std::vector<parquet::ColumnWriter*> chunks) : chunks_(std::move(chunks)) {}

  int num_columns() const override { return static_cast<int>(chunks_.size()); }
  int64_t num_rows() const override { return 0; }  // the row group counts
  parquet::ColumnWriter* NextColumn() override {
    throw parquet::ParquetException("columns are written in any order");
  }
  parquet::ColumnWriter* column(int i) override { return chunks_.at(static_cast<size_t>(i)); }
  int current_column() const override { return num_columns() - 1; }
  void Close() override {}
  int64_t total_bytes_written() const override { return 0; }
  int64_t total_compressed_bytes() const override { return 0; }
  int64_t total_compressed_bytes_written() const override { return 0; }
  parquet::RowGroupWriter::BufferedStats EstimatedBufferedStats() const override { return {}; }
  bool buffered() const override { return true; }

 private:
  std::vector<parquet::ColumnWriter*> chunks_;
};

}  // namespace

class ArrowLane::File final : public parquet::ParquetFileWriter::Contents {
 public:
  File(std::shared_ptr<parquet::schema::GroupNode> schema,
       std::shared_ptr<parquet::WriterProperties> properties)
      : parquet::ParquetFileWriter::Contents(std::move(schema), nullptr),
        properties_(std::move(properties)) {}

  void Close() override {}
  parquet::RowGroupWriter* AppendRowGroup() override { return AppendBufferedRowGroup(); }
  parquet::RowGroupWriter* AppendBufferedRowGroup() override {
    group_ = std::make_unique<parquet::RowGroupWriter>(std::make_unique<LaneGroup>(chunks));
    return group_.get();
  }
  int64_t num_rows() const override { return 0; }
  int num_columns() const override { return schema_.num_columns(); }
  int num_row_groups() const override { return 0; }
  const std::shared_ptr<parquet::WriterProperties>& properties() const override { return properties_; }
  void AddKeyValueMetadata(const std::shared_ptr<const arrow::KeyValueMetadata>&) override {}

  std::vector<parquet::ColumnWriter*> chunks;  // of the next row group

 private:
  std::shared_ptr<parquet::WriterProperties> properties_;
  std::unique_ptr<parquet::RowGroupWriter> group_;
};

ArrowLane::~ArrowLane() = default;

Result<std::unique_ptr<ArrowLane>> ArrowLane::Open(std::shared_ptr<arrow::Schema> schema,
                                                   std::shared_ptr<parquet::WriterProperties> properties,
                                                   arrow::MemoryPool* pool) {
  auto arrow_properties = parquet::ArrowWriterProperties::Builder().build();
  std::shared_ptr<parquet::SchemaDescriptor> descriptor;
  ARROW_RETURN_NOT_OK(
      parquet::arrow::ToParquetSchema(schema.get(), *properties, *arrow_properties, &descriptor));
  auto file = std::make_unique<File>(
      std::static_pointer_cast<parquet::schema::GroupNode>(descriptor->schema_root()), std::move(properties));
  std::unique_ptr<ArrowLane> lane(new ArrowLane());
  lane->file_ = file.get();
  lane->schema_ = schema;
  auto writer = std::make_unique<parquet::ParquetFileWriter>();
  writer->Open(std::move(file));
  ARROW_RETURN_NOT_OK(parquet::arrow::FileWriter::Make(pool, std::move(writer), std::move(schema),
                                                       std::move(arrow_properties), &lane->writer_));
  return lane;
}

Status ArrowLane::StartGroup(std::vector<parquet::ColumnWriter*> chunks) {
  file_->chunks = std::move(chunks);
  return writer_->NewBufferedRowGroup();
}

}  // namespace partita
