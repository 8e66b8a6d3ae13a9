#include "partita/storage/parquet/row_group.h"

#include <arrow/api.h>
#include <arrow/ipc/writer.h>
#include <arrow/util/base64.h>
#include <arrow/util/key_value_metadata.h>
#include <parquet/arrow/schema.h>
#include <parquet/arrow/writer.h>
#include <parquet/file_writer.h>

#include <limits>
#include <optional>

#include "partita/storage/parquet/chunk.h"
#include "partita/storage/parquet/file.h"
#include "partita/storage/parquet/lane.h"
#include "partita/storage/parquet/number_pages.h"
#include "partita/storage/parquet/text_pages.h"

namespace partita {
namespace {

// Constant: the bytes of a file tell rows and arguments, not which build wrote them.
constexpr char kCreatedBy[] = "partita version 1.0.0";
constexpr char kArrowSchemaKey[] = "ARROW:schema";

// The chunks of the open row group.
class RowGroup {
 public:
  RowGroup(const ChunkSettings* settings, parquet::RowGroupMetaDataBuilder* metadata) : metadata_(metadata) {
    for (int i = 0; i < metadata->num_columns(); ++i) {
      chunks_.push_back(std::make_unique<ChunkWriter>(settings, metadata->NextColumnChunk()));
    }
  }

  ChunkWriter* chunk(int leaf) { return chunks_.at(static_cast<size_t>(leaf)).get(); }
  void AddRows(int64_t rows) { rows_ += rows; }

  int64_t memory_bytes() const {
    int64_t bytes = 0;
    for (const auto& chunk : chunks_)
      bytes += chunk->pages()->memory_bytes() + chunk->own_body()->memory_bytes();
    return bytes;
  }

  Status Stage(PageStage* stage) {
    for (const auto& chunk : chunks_) {
      ARROW_RETURN_NOT_OK(chunk->pages()->Stage(stage));
      ARROW_RETURN_NOT_OK(chunk->own_body()->Stage(stage));
    }
    return Status::OK();
  }

  // Every encoder is emptied before the first chunk is written: what is staged is read only from then on.
  Status WriteTo(arrow::io::OutputStream* stream, PageStage* stage, arrow::MemoryPool* pool) {
    for (const auto& chunk : chunks_) chunk->Close();
    int64_t uncompressed = 0;
    for (const auto& chunk : chunks_) {
      ARROW_ASSIGN_OR_RAISE(const int64_t offset, stream->Tell());
      chunk->Locate(offset);
      uncompressed += chunk->uncompressed_bytes();
      ARROW_RETURN_NOT_OK(chunk->pages()->MoveTo(stream, stage, pool));
    }
    metadata_->set_num_rows(rows_);
    metadata_->Finish(uncompressed);
    return Status::OK();
  }

 private:
  parquet::RowGroupMetaDataBuilder* metadata_;
  std::vector<std::unique_ptr<ChunkWriter>> chunks_;
  int64_t rows_ = 0;
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
    dense_schema_ = std::move(dense_schema);
    auto arrow_properties = parquet::ArrowWriterProperties::Builder().build();
    Status converted = parquet::arrow::ToParquetSchema(dense_schema_.get(), *settings_.properties,
                                                       *arrow_properties, &descriptor_);
    if (!converted.ok()) {
      return UserError("Parquet cannot hold these columns: " + converted.message(),
                       "cast or drop the column that Parquet has no type for");
    }
    ARROW_ASSIGN_OR_RAISE(key_values_, ArrowSchema(schema, pool_));
    ARROW_ASSIGN_OR_RAISE(const int64_t position, stream_->Tell());
    if (position != 0)
      return BugError("a Parquet file begins at byte " + std::to_string(position) + " of its stream");
    ARROW_RETURN_NOT_OK(stream_->Write("PAR1", 4));
    metadata_ = parquet::FileMetaDataBuilder::Make(descriptor_.get(), settings_.properties);
    MapColumns(options.dictionary);
    return Status::OK();
  }

  Status WriteUnit(const arrow::RecordBatch& rows) override {
    return Catch([&]() -> Status {
      if (!group_) group_ = std::make_unique<RowGroup>(&settings_, metadata_->AppendRowGroup());
      for (auto& part : parts_) ARROW_RETURN_NOT_OK(WritePart(rows, &part));
      group_->AddRows(rows.num_rows());
      return Status::OK();
    });
  }

  Status EndRowGroup() override {
    if (!group_) return Status::OK();
    ARROW_RETURN_NOT_OK(Catch([&] { return group_->WriteTo(stream_, stage_, pool_); }));
    group_.reset();
    for (auto& part : parts_) part.lane_is_open = false;
    stage_->Reset();
    return Status::OK();
  }

  Status Finish() override {
    return Catch([&] {
      const auto metadata = metadata_->Finish(key_values_);
      parquet::WriteFileMetaData(*metadata, stream_);
      return Status::OK();
    });
  }

  int64_t memory_bytes() const override { return group_ ? group_->memory_bytes() : 0; }
  Status Stage() override { return group_ ? group_->Stage(stage_) : Status::OK(); }

 private:
  // Columns that are written together: one of lists of one length, a flat one, or all others.
  struct Part {
    std::vector<int> columns;
    std::vector<int> leaves;
    std::optional<TensorLayout> lists;
    bool flat = false;                // ChunkWriter::WriteFlat
    std::unique_ptr<ArrowLane> lane;  // once it is needed
    bool lane_is_open = false;        // in this row group
  };

  void MapColumns(bool dictionary) {
    Part others;
    std::vector<Part*> part_of(static_cast<size_t>(dense_schema_->num_fields()), &others);
    parts_.reserve(part_of.size() + 1);
    for (int i = 0; i < dense_schema_->num_fields(); ++i) {
      const auto& type = *dense_schema_->field(i)->type();
      const auto lists = TensorLayoutOf(type, dictionary);
      const bool flat = IsText(type) || IsPlainNumber(type);
      if (lists || flat) {
        parts_.push_back({.lists = lists, .flat = flat});
        part_of[static_cast<size_t>(i)] = &parts_.back();
      }
      part_of[static_cast<size_t>(i)]->columns.push_back(i);
    }
    for (int leaf = 0; leaf < descriptor_->num_columns(); ++leaf) {
      const int column = descriptor_->group_node()->FieldIndex(*descriptor_->GetColumnRoot(leaf));
      part_of.at(static_cast<size_t>(column))->leaves.push_back(leaf);
    }
    if (!others.columns.empty()) parts_.push_back(std::move(others));
  }

  Status WritePart(const arrow::RecordBatch& rows, Part* part) {
    if (part->lists && group_->chunk(part->leaves[0])->takes_lists()) {
      const auto elements = FullElements(*rows.column(part->columns[0]));
      if (elements) return group_->chunk(part->leaves[0])->WriteLists(*part->lists, *elements);
    }
    if (part->flat) return WriteFlat(rows, part);
    if (static_cast<int>(part->columns.size()) == rows.num_columns()) return WriteByArrow(rows, part);
    ARROW_ASSIGN_OR_RAISE(const auto columns, rows.SelectColumns(part->columns));
    return WriteByArrow(*columns, part);
  }

  Status WriteFlat(const arrow::RecordBatch& rows, Part* part) {
    auto values = rows.column(part->columns[0]);
    ARROW_ASSIGN_OR_RAISE(const bool taken, group_->chunk(part->leaves[0])->WriteFlat(*values));
    if (taken) return Status::OK();
    const auto schema = arrow::schema({dense_schema_->field(part->columns[0])});
    ARROW_ASSIGN_OR_RAISE(values, ValuesOf(std::move(values), pool_));
    return WriteByArrow(*arrow::RecordBatch::Make(schema, rows.num_rows(), {std::move(values)}), part);
  }

  Status WriteByArrow(const arrow::RecordBatch& columns, Part* part) {
    if (!part->lane) {
      ARROW_ASSIGN_OR_RAISE(part->lane, ArrowLane::Open(columns.schema(), settings_.properties, pool_));
    }
    if (!part->lane_is_open) {
      std::vector<parquet::ColumnWriter*> chunks;
      for (const int leaf : part->leaves) chunks.push_back(group_->chunk(leaf));
      ARROW_RETURN_NOT_OK(part->lane->StartGroup(std::move(chunks)));
      part->lane_is_open = true;
    }
    return part->lane->Write(columns);
  }

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
  std::shared_ptr<arrow::Schema> dense_schema_;
  std::shared_ptr<parquet::SchemaDescriptor> descriptor_;
  std::shared_ptr<const arrow::KeyValueMetadata> key_values_;
  std::unique_ptr<parquet::FileMetaDataBuilder> metadata_;
  std::vector<Part> parts_;
  std::unique_ptr<RowGroup> group_;  // the open one
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
