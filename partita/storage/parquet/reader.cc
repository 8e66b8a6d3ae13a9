#include "partita/storage/parquet/reader.h"

#include <arrow/api.h>
#include <arrow/compute/cast.h>
#include <arrow/compute/exec.h>

#include <algorithm>
#include <limits>

#include "partita/block/logical_bytes.h"
#include "partita/block/schema.h"
#include "partita/memory/budget.h"
#include "partita/storage/parquet/cast.h"
#include "partita/storage/parquet/dictionary.h"
#include "partita/storage/parquet/fat.h"
#include "partita/storage/parquet/field.h"
#include "partita/storage/parquet/flat_field.h"
#include "partita/storage/parquet/prune.h"
#include "partita/storage/parquet/tensor.h"

namespace partita {
namespace {

constexpr int64_t kMaxBatchRows = 64 << 10;
// What a footer says of sizes is uncompressed but encoded: a dictionary may blow it up. The first batch of a
// row group is small.
constexpr int64_t kFirstBatchRows = 4 << 10;
constexpr int64_t kBatchGrowth = 4;
constexpr int64_t kRefusedShrink = 4;
constexpr int kRefusalsPerCall = 3;
constexpr int64_t kWindowBytes = 64 << 10;
constexpr int64_t kLeastWindowBytes = 16 << 10;
constexpr int64_t kAllWindowsBytes = 4 << 20;

// Rows [begin, end) of a row group, and the ordinal of the first of them in the fragment.
struct GroupRange {
  int group = 0;
  int64_t begin = 0, end = 0;
  int64_t first_row = 0;
};

class ParquetReader final : public FragmentReader {
 public:
  explicit ParquetReader(ReadRequest request) : request_(std::move(request)) {}

  Result<std::optional<ReadBatch>> Next() override {
    ARROW_RETURN_NOT_OK(request_.cancel.Check());
    if (!columnar_) ARROW_RETURN_NOT_OK(Open());
    for (int refusals = 0;;) {
      if (rows_left_ <= 0) return std::nullopt;
      if (!in_group_) {
        ARROW_ASSIGN_OR_RAISE(in_group_, NextGroup());
        if (!in_group_) return std::nullopt;
      }
      auto batch = ReadRows();
      if (batch.ok()) return Deliver(std::move(*batch));
      if (!batch.status().IsOutOfMemory()) return batch.status();
      most_held_bytes_ = 0;
      columnar_->file->input->Drop();
      const bool again = batch_rows_ > 1 && ++refusals < kRefusalsPerCall;
      batch_rows_ = std::max<int64_t>(1, batch_rows_ / kRefusedShrink);
      if (again) continue;
      // Whoever waits for memory holds none: the columns are opened again at their row. Inside of a page of
      // large values they stay, or each refusal would cost what was decoded of it.
      if (std::none_of(columns_.begin(), columns_.end(),
                       [](const Column& column) { return column.reader->inside_page(); })) {
        columns_.clear();
      }
      const int64_t first = request_.fragment.range == Fragment::Range::kRows ? request_.fragment.begin : 0;
      return WithContext(batch.status(), {.row = first + group_.first_row + row_ - group_.begin});
    }
  }

  int64_t bytes_read() const override { return columnar_ ? columnar_->file->input->bytes_read() : 0; }

 private:
  struct Column {
    std::unique_ptr<FieldReader> reader;
    std::shared_ptr<arrow::Array> pending;  // decoded rows that were not returned yet
  };

  Status Open() {
    ARROW_ASSIGN_OR_RAISE(auto file, OpenParquetFile(request_.env, request_.fragment.file,
                                                     request_.pool.get(), request_.cancel));
    ARROW_RETURN_NOT_OK(MapColumns(*file));
    ARROW_RETURN_NOT_OK(PlanGroups(*file));
    const int64_t columns = std::max<int64_t>(1, static_cast<int64_t>(fields_.size()));
    // A request to a server takes as long as some megabytes: fewer and larger ones where there is memory.
    const bool remote = IsRemote(request_.fragment.file.location);
    if (remote) most_held_bytes_ = std::max(kAllWindowsBytes, 4 * request_.target_block_bytes);
    const int64_t window =
        std::clamp((remote ? most_held_bytes_ : kAllWindowsBytes) / columns, kLeastWindowBytes,
                   std::max(kWindowBytes, file->properties.buffer_size()));
    ARROW_ASSIGN_OR_RAISE(columnar_, OpenColumnar(std::move(file), window, request_.pool.get()));
    rows_left_ = request_.max_rows;
    return Status::OK();
  }

  Status MapColumns(const ParquetFile& file) {
    fields_.clear();
    for (const auto& wanted : request_.schema->fields()) {
      const auto found = file.schema->GetAllFieldIndices(wanted->name());
      if (found.size() == 1) {
        ARROW_RETURN_NOT_OK(
            BlameColumn(CheckCast(*file.schema->field(found[0])->type(), *wanted->type()), *wanted));
        fields_.push_back(found[0]);
        continue;
      }
      if (found.size() > 1) {
        return WithContext(DataError("the column name '" + wanted->name() + "' occurs " +
                                         std::to_string(found.size()) + " times in the file",
                                     "write the file with distinct column names"),
                           {.file = file.entry.location});
      }
      const auto names = file.schema->field_names();
      const std::string near = NearestName(wanted->name(), names);
      return WithContext(DataError("the file has no column '" + wanted->name() + "'" +
                                       (near.empty() ? "" : "; it has '" + near + "'"),
                                   "leave the column or the file out, or write the file with it"),
                         {.file = file.entry.location});
    }
    return Status::OK();
  }

  Status PlanGroups(const ParquetFile& file) {
    const auto& fragment = request_.fragment;
    const int num_groups = file.metadata->num_row_groups();
    int64_t begin = 0, end = std::numeric_limits<int64_t>::max();  // in rows of the file
    int64_t first_group = 0, last_group = num_groups;
    if (fragment.range == Fragment::Range::kUnits) {
      first_group = fragment.begin;
      last_group = fragment.end;
    } else if (fragment.range == Fragment::Range::kRows) {
      begin = fragment.begin;
      end = fragment.end;
    } else if (fragment.range != Fragment::Range::kWhole) {
      return BugError("a Parquet file is not read by byte range");
    }
    if (begin < 0 || end < begin || first_group < 0 || last_group < first_group || last_group > num_groups) {
      return WithContext(EnvironmentError("the file has " + std::to_string(num_groups) +
                                              " row groups and not the part that the plan reads",
                                          "compile again: the file has changed", /*retriable=*/false),
                         {.file = file.entry.location});
    }
    groups_.clear();
    int64_t row = 0, first_row = -1;
    for (int i = 0; i < num_groups; ++i) {
      const int64_t rows = file.metadata->RowGroup(i)->num_rows();
      const int64_t from = std::max(begin, row), to = std::min(end, row + rows);
      if (i >= first_group && i < last_group && from < to) {
        if (first_row < 0) first_row = fragment.range == Fragment::Range::kRows ? begin : row;
        groups_.push_back({i, from - row, to - row, from - first_row});
      }
      row += rows;
    }
    return Status::OK();
  }

  // The next row group that the filter does not rule out; false at the end.
  Result<bool> NextGroup() {
    const auto& file = *columnar_->file;
    for (; next_group_ < groups_.size(); ++next_group_) {
      const GroupRange& range = groups_[next_group_];
      bool keep = true;
      ARROW_RETURN_NOT_OK(CatchParquet(file.entry, range.group, [&]() -> Status {
        keep = !request_.filter.valid() || GroupMaySatisfy(file, range.group, request_.filter);
        return Status::OK();
      }));
      if (!keep) continue;
      group_ = range;
      row_ = range.begin;
      ++next_group_;
      columns_.clear();
      columnar_->file->input->Drop();
      return StartGroup();
    }
    return false;
  }

  Result<bool> StartGroup() {
    const auto& file = *columnar_->file;
    ARROW_RETURN_NOT_OK(CatchParquet(file.entry, group_.group, [&]() -> Status {
      const auto metadata = file.metadata->RowGroup(group_.group);
      double bytes = 0;
      for (int field : fields_) {
        for (int leaf : LeavesOf(file.manifest.schema_fields[static_cast<size_t>(field)])) {
          bytes += static_cast<double>(
              std::max<int64_t>(0, metadata->ColumnChunk(leaf)->total_uncompressed_size()));
        }
      }
      const double row_bytes =
          std::max(1.0, bytes / static_cast<double>(std::max<int64_t>(1, metadata->num_rows())));
      const auto rows = static_cast<int64_t>(static_cast<double>(request_.target_block_bytes) / row_bytes);
      batch_rows_ = std::clamp<int64_t>(rows, 1, fields_.empty() ? kMaxBatchRows : kFirstBatchRows);
      return Status::OK();
    }));
    return true;
  }

  // Of a file on a server: the columns of a row group in one request, where little lies between them. A
  // refusal is no error: then each column is read by itself.
  Status HoldGroup() {
    const auto& file = *columnar_->file;
    const auto metadata = file.metadata->RowGroup(group_.group);
    const bool whole =
        group_.end - group_.begin == metadata->num_rows() && rows_left_ >= metadata->num_rows();
    if (most_held_bytes_ == 0 || fields_.empty() || !whole) return Status::OK();
    int64_t begin = INT64_MAX, end = 0, wanted = 0;
    for (int field : fields_) {
      for (int leaf : LeavesOf(file.manifest.schema_fields[static_cast<size_t>(field)])) {
        ARROW_ASSIGN_OR_RAISE(const auto range, ChunkRange(file, *metadata->ColumnChunk(leaf)));
        begin = std::min(begin, range.first);
        end = std::max(end, range.second);
        wanted += range.second - range.first;
      }
    }
    if (end - begin > most_held_bytes_ || wanted < (end - begin) / 4 * 3) return Status::OK();
    const Status held = file.input->Hold(begin, end);
    return held.IsOutOfMemory() ? Status::OK() : held;
  }

  Status OpenColumns() {
    const auto& entry = columnar_->file->entry;
    ARROW_RETURN_NOT_OK(CatchParquet(entry, group_.group, [&] { return HoldGroup(); }));
    std::vector<Column> columns(fields_.size());
    for (size_t i = 0; i < fields_.size(); ++i) {
      ARROW_RETURN_NOT_OK(CatchParquet(entry, group_.group, [&]() -> Status {
        columns[i].reader = MakeFatFieldReader(columnar_, group_.group, fields_[i], row_);
        if (!columns[i].reader)
          columns[i].reader = MakeTensorFieldReader(columnar_, group_.group, fields_[i], row_);
        if (!columns[i].reader && MayEncode(i))
          columns[i].reader = MakeDictionaryFieldReader(columnar_, group_.group, fields_[i], row_);
        if (!columns[i].reader)
          columns[i].reader = MakeFlatFieldReader(columnar_, group_.group, fields_[i], row_);
        if (!columns[i].reader)
          columns[i].reader = MakePageFieldReader(columnar_, group_.group, fields_[i], row_);
        return Status::OK();
      }));
    }
    columns_ = std::move(columns);
    return Status::OK();
  }

  // Nothing is consumed before everything is there: a failure leaves what is decoded in `pending`.
  Result<std::shared_ptr<arrow::RecordBatch>> ReadRows() {
    if (columns_.empty() && !fields_.empty()) ARROW_RETURN_NOT_OK(OpenColumns());
    int64_t rows = std::min({batch_rows_, group_.end - row_, rows_left_});
    for (const auto& column : columns_) {
      if (column.pending) rows = std::min(rows, column.pending->length());
    }
    for (auto& column : columns_) {
      if (!column.pending) {
        ARROW_ASSIGN_OR_RAISE(column.pending, column.reader->Read(rows));
      }
      rows = std::min(rows, column.pending->length());
    }
    arrow::ArrayVector arrays(columns_.size());
    arrow::FieldVector encoded;  // the fields, where any comes as a dictionary
    for (size_t i = 0; i < columns_.size(); ++i) {
      const auto& field = request_.schema->field(static_cast<int>(i));
      arrays[i] = columns_[i].pending->Slice(0, rows);
      if (MayEncode(i) && arrays[i]->type_id() == arrow::Type::DICTIONARY) {
        if (encoded.empty()) encoded = request_.schema->fields();
        encoded[i] = field->WithType(arrays[i]->type());
        continue;
      }
      auto cast = CastColumn(std::move(arrays[i]), field->type(), request_.pool.get());
      if (!cast.ok()) return BlameColumn(cast.status(), *field);
      arrays[i] = std::move(*cast);
    }
    for (auto& column : columns_) {
      column.pending = rows < column.pending->length() ? column.pending->Slice(rows) : nullptr;
    }
    const auto schema = encoded.empty() ? request_.schema : arrow::schema(std::move(encoded));
    return arrow::RecordBatch::Make(schema, rows, std::move(arrays));
  }

  // Only what needs no cast.
  bool MayEncode(size_t i) const {
    const auto& field = *request_.schema->field(static_cast<int>(i));
    const auto& names = request_.may_encode;
    return std::find(names.begin(), names.end(), field.name()) != names.end() &&
           columnar_->file->schema->field(fields_[i])->type()->Equals(*field.type());
  }

  Result<std::optional<ReadBatch>> Deliver(std::shared_ptr<arrow::RecordBatch> batch) {
    const int64_t rows = batch->num_rows();
    ReadBatch out{batch, group_.first_row + (row_ - group_.begin)};
    row_ += rows;
    rows_left_ -= rows;
    if (row_ >= group_.end) {
      in_group_ = false;
      columns_.clear();
    }
    if (!fields_.empty()) {
      ARROW_ASSIGN_OR_RAISE(const int64_t bytes, LogicalBytes(*batch));
      const int64_t row_bytes = std::max<int64_t>(1, bytes / rows);
      const int64_t fitting = std::clamp<int64_t>(request_.target_block_bytes / row_bytes, 1, kMaxBatchRows);
      batch_rows_ = std::min(fitting, batch_rows_ * kBatchGrowth);
    }
    return std::optional<ReadBatch>(std::move(out));
  }

  Status BlameColumn(Status status, const arrow::Field& field) const {
    if (status.ok() || status.IsOutOfMemory()) return status;
    return WithContext(
        DataError("column '" + field.name() + "': " + status.message(),
                  "declare the column with the file's type, or cast it where the file is written"),
        {.file = request_.fragment.file.location});
  }

  ReadRequest request_;
  std::shared_ptr<ColumnarFile> columnar_;
  std::vector<int> fields_;  // top-level columns of the file, in the order of request_.schema
  std::vector<GroupRange> groups_;
  size_t next_group_ = 0;
  bool in_group_ = false;
  GroupRange group_;
  int64_t row_ = 0;  // the next row of group_
  int64_t rows_left_ = 0;
  int64_t batch_rows_ = 1;
  std::vector<Column> columns_;  // empty: to be opened at row_
  int64_t most_held_bytes_ = 0;  // of a row group's columns at once; 0: none
};

}  // namespace

Result<std::unique_ptr<FragmentReader>> OpenParquetReader(ReadRequest request) {
  if (!request.schema || !request.env || !request.pool)
    return BugError("a read request lacks schema, env or pool");
  return std::make_unique<ParquetReader>(std::move(request));
}

}  // namespace partita
