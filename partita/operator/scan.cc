#include "partita/operator/scan.h"

#include <arrow/api.h>
#include <arrow/compute/cast.h>

#include <algorithm>

#include "partita/block/schema.h"
#include "partita/storage/format.h"

namespace partita {
namespace {

// Hive columns are constant in a file.
Result<std::shared_ptr<arrow::Array>> ConstantColumn(const arrow::Field& field, const FileEntry& file,
                                                     int64_t rows, arrow::MemoryPool* pool) {
  for (const auto& [name, value] : file.partition_values) {
    if (name != field.name()) continue;
    if (value.empty()) return arrow::MakeArrayOfNull(field.type(), rows, pool);
    auto scalar = arrow::Scalar::Parse(field.type(), value);
    if (!scalar.ok()) {
      return WithContext(
          DataError("Hive column '" + name + "' of value '" + value + "' is no " + field.type()->ToString()),
          {.file = file.location});
    }
    return arrow::MakeArrayFromScalar(**scalar, rows, pool);
  }
  return WithContext(DataError("the path has no Hive column '" + field.name() + "'",
                               "put the file below a folder named " + field.name() + "=<value>"),
                     {.file = file.location});
}

class FileScan final : public Source {
 public:
  explicit FileScan(ScanInit init) : init_(std::move(init)) {}

  Status Init() {
    format_ = FindFormat(init_.source->format);
    if (format_ == nullptr) return BugError("unknown format '" + init_.source->format + "'");
    const auto& hive = init_.snapshot->partition_columns;
    arrow::FieldVector fields;
    for (const auto& field : init_.source->schema->fields()) {
      const bool constant = std::find(hive.begin(), hive.end(), field->name()) != hive.end();
      is_hive_.push_back(constant);
      if (!constant) fields.push_back(field);
    }
    file_schema_ = arrow::schema(std::move(fields));
    if (!init_.source->filter.is_null()) {
      ARROW_ASSIGN_OR_RAISE(filter_, Expression::FromJson(init_.source->filter));
    }
    if (init_.source->limit >= 0) remaining_ = init_.source->limit;
    return Status::OK();
  }

  Result<std::optional<Block>> Next(const OperatorContext& ctx) override {
    while (remaining_ > 0) {
      if (!reader_) {
        if (fragment_ == init_.partition.fragments.size()) return std::nullopt;
        ARROW_RETURN_NOT_OK(Located(Open(ctx)));
      }
      auto next = reader_->Next();
      if (!next.ok()) return Located(next.status());
      if (!next->has_value()) {
        bytes_read_ += reader_->bytes_read();
        reader_.reset();
        ++fragment_;
        continue;
      }
      return ToBlock(std::move(**next), ctx);
    }
    return std::nullopt;
  }

  int64_t bytes_read() const override { return bytes_read_ + (reader_ ? reader_->bytes_read() : 0); }

 private:
  Status Open(const OperatorContext& ctx) {
    ReadRequest request;
    request.fragment = init_.partition.fragments[fragment_];
    request.schema = file_schema_;
    request.filter = filter_;
    // Hive columns are put between those of the file, by the source's schema.
    if (file_schema_->num_fields() == init_.source->schema->num_fields())
      request.may_encode = init_.may_encode;
    request.args = &init_.source->args;
    request.env = ctx.env;
    request.pool = ctx.pool;
    request.cancel = ctx.cancel;
    request.target_block_bytes = ctx.target_block_bytes;
    request.max_rows = remaining_;
    ARROW_ASSIGN_OR_RAISE(reader_, format_->OpenReader(std::move(request)));
    return Status::OK();
  }

  Result<std::optional<Block>> ToBlock(ReadBatch read, const OperatorContext& ctx) {
    auto batch = std::move(read.batch);
    if (batch->num_rows() > remaining_) batch = batch->Slice(0, remaining_);
    const int64_t rows = batch->num_rows();
    if (file_schema_->num_fields() != init_.source->schema->num_fields()) {
      std::vector<std::shared_ptr<arrow::Array>> columns;
      int file_column = 0;
      for (size_t i = 0; i < is_hive_.size(); ++i) {
        if (!is_hive_[i]) {
          columns.push_back(batch->column(file_column++));
          continue;
        }
        ARROW_ASSIGN_OR_RAISE(
            auto column, ConstantColumn(*init_.source->schema->field(static_cast<int>(i)),
                                        init_.partition.fragments[fragment_].file, rows, ctx.pool.get()));
        columns.push_back(std::move(column));
      }
      batch = arrow::RecordBatch::Make(init_.source->schema, rows, std::move(columns));
    }
    remaining_ -= rows;
    Block block;
    block.ordinals =
        RowOrdinals::Range((static_cast<int64_t>(fragment_) << kOrdinalFragmentShift) + read.first_row, rows);
    block.batch = std::move(batch);
    return block;
  }

  Status Located(Status status) const {
    if (status.ok() || fragment_ >= init_.partition.fragments.size()) return status;
    return WithContext(std::move(status), {.file = init_.partition.fragments[fragment_].file.location});
  }

  ScanInit init_;
  const Format* format_ = nullptr;
  std::shared_ptr<arrow::Schema> file_schema_;
  std::vector<bool> is_hive_;
  Expression filter_;
  std::unique_ptr<FragmentReader> reader_;
  size_t fragment_ = 0;
  int64_t remaining_ = INT64_MAX;
  int64_t bytes_read_ = 0;
};

class RangeScan final : public Source {
 public:
  explicit RangeScan(ScanInit init) : init_(std::move(init)) {
    if (init_.source->limit >= 0) init_.partition.rows = std::min(init_.partition.rows, init_.source->limit);
  }

  Result<std::optional<Block>> Next(const OperatorContext& ctx) override {
    const int64_t left = init_.partition.rows - done_;
    if (left <= 0) return std::nullopt;
    const int64_t rows = std::min<int64_t>(left, std::max<int64_t>(1, ctx.target_block_bytes / 8));
    std::vector<std::shared_ptr<arrow::Array>> columns;
    if (init_.source->schema->num_fields() > 0) {
      ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> buffer,
                            arrow::AllocateBuffer(rows * 8, ctx.pool.get()));
      auto* values = reinterpret_cast<int64_t*>(buffer->mutable_data());
      const int64_t first = init_.partition.first_row + done_;
      for (int64_t i = 0; i < rows; ++i) values[i] = first + i;
      columns.push_back(std::make_shared<arrow::Int64Array>(rows, std::move(buffer)));
    }
    Block block;
    block.batch = arrow::RecordBatch::Make(init_.source->schema, rows, std::move(columns));
    block.ordinals = RowOrdinals::Range(done_, rows);
    done_ += rows;
    return block;
  }

 private:
  ScanInit init_;
  int64_t done_ = 0;
};

class MemoryScan final : public Source {
 public:
  explicit MemoryScan(ScanInit init) : init_(std::move(init)) {
    if (init_.source->limit >= 0) init_.partition.rows = std::min(init_.partition.rows, init_.source->limit);
  }

  Status Init() {
    if (!init_.table) {
      return UserError("the rows of this plan were in the memory of the process that made it",
                       "write them to Parquet and read that");
    }
    for (const auto& field : init_.source->schema->fields()) {
      ARROW_ASSIGN_OR_RAISE(int index, FindColumn(*init_.table->schema, field->name()));
      columns_.push_back(index);
    }
    return Status::OK();
  }

  Result<std::optional<Block>> Next(const OperatorContext& ctx) override {
    const int64_t left = init_.partition.rows - done_;
    if (left <= 0) return std::nullopt;
    const int64_t row = init_.partition.first_row + done_;
    if (init_.table->fetch) ARROW_RETURN_NOT_OK(Fetch(row, ctx));
    const auto& rows_here = init_.table->fetch ? fetched_ : *init_.table;
    const size_t index = IndexOf(rows_here.first_rows, row);
    const auto& whole = rows_here.batches[index];
    const int64_t offset = row - rows_here.first_rows[index];
    const int64_t rows = std::min(left, whole->num_rows() - offset);
    std::vector<std::shared_ptr<arrow::Array>> arrays;
    for (int column : columns_) arrays.push_back(whole->column(column)->Slice(offset, rows));
    Block block;
    block.batch = arrow::RecordBatch::Make(init_.source->schema, rows, std::move(arrays));
    block.ordinals = RowOrdinals::Range(done_, rows);
    done_ += rows;
    return block;
  }

 private:
  static size_t IndexOf(const std::vector<int64_t>& firsts, int64_t row) {
    return static_cast<size_t>(std::upper_bound(firsts.begin(), firsts.end(), row) - firsts.begin()) - 1;
  }

  // The block that `row` is in, unless it is the one at hand.
  Status Fetch(int64_t row, const OperatorContext& ctx) {
    const MemoryTable& table = *init_.table;
    const size_t block = IndexOf(table.first_rows, row);
    if (fetched_.schema && fetched_block_ == block) return Status::OK();
    fetched_ = {};
    claim_.Release();
    const auto [rows, size_bytes] = table.blocks[block];
    if (table.fetch_copies) {
      ARROW_ASSIGN_OR_RAISE(claim_, ctx.pool->Reserve(size_bytes));
    }
    ARROW_ASSIGN_OR_RAISE(auto batches, table.fetch(static_cast<int64_t>(block)));
    MemoryTable found;
    found.schema = table.schema;
    for (auto& batch : batches) {
      if (!batch->schema()->Equals(*table.schema, /*check_metadata=*/false))
        return OtherRows(block, "columns " + batch->schema()->ToString());
      if (batch->num_rows() == 0) continue;
      found.first_rows.push_back(table.first_rows[block] + found.num_rows);
      found.num_rows += batch->num_rows();
      found.batches.push_back(std::move(batch));
    }
    if (found.num_rows != rows) return OtherRows(block, std::to_string(found.num_rows) + " rows");
    fetched_ = std::move(found);
    fetched_block_ = block;
    return Status::OK();
  }

  static Status OtherRows(size_t block, const std::string& what) {
    return EnvironmentError(
        "block " + std::to_string(block) + " turns out to have other rows than were counted: " + what,
        "make the dataset again", /*retriable=*/false);
  }

  ScanInit init_;
  std::vector<int> columns_;
  int64_t done_ = 0;
  MemoryTable fetched_;  // one block of a table with `fetch`
  size_t fetched_block_ = 0;
  Reservation claim_;
};

}  // namespace

Result<std::unique_ptr<Source>> MakeScan(ScanInit init) {
  if (init.source->format == "range") return std::unique_ptr<Source>(new RangeScan(std::move(init)));
  if (init.source->format == "memory") {
    auto scan = std::make_unique<MemoryScan>(std::move(init));
    ARROW_RETURN_NOT_OK(scan->Init());
    return std::unique_ptr<Source>(std::move(scan));
  }
  auto scan = std::make_unique<FileScan>(std::move(init));
  ARROW_RETURN_NOT_OK(scan->Init());
  return std::unique_ptr<Source>(std::move(scan));
}

SourceCoordinate CoordinateOf(const Partition& partition, int64_t ordinal) {
  if (partition.fragments.empty()) return {"", partition.first_row + ordinal};
  const auto fragment = static_cast<size_t>(ordinal >> kOrdinalFragmentShift);
  if (fragment >= partition.fragments.size()) return {};
  const auto& f = partition.fragments[fragment];
  int64_t row = ordinal & ((int64_t{1} << kOrdinalFragmentShift) - 1);
  if (f.range == Fragment::Range::kRows) row += f.begin;
  return {f.file.location, row};
}

}  // namespace partita
