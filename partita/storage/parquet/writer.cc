#include "partita/storage/parquet/writer.h"

#include <arrow/api.h>
#include <arrow/compute/cast.h>
#include <arrow/compute/exec.h>

#include <algorithm>

#include "partita/base/units.h"
#include "partita/block/block.h"
#include "partita/block/logical_bytes.h"
#include "partita/expression/expression.h"
#include "partita/memory/budget.h"
#include "partita/storage/parquet/cut.h"
#include "partita/storage/parquet/options.h"
#include "partita/storage/parquet/row_group.h"
#include "partita/storage/parquet/text_pages.h"

namespace partita {
namespace {

// What encoding needs beside the pages: claimed before rows are taken, so that a refusal comes while it can
// still be answered.
constexpr int64_t kLeastHeadroomBytes = 256 << 10;
constexpr int64_t kHeadroomUnitBytes = 2 << 20;
constexpr int64_t kHeadroomFactor = 2;
// Headroom is given back to the encoder in parts that no claim of another writer fits in.
constexpr int64_t kReliefBytes = kLeastHeadroomBytes / 2;
// Pages go to the spill folder when they hold more than this and more than what is still free.
constexpr int64_t kLeastStagedBytes = 4 << 20;
// Open rows come in slices of blocks: many small ones are joined.
constexpr size_t kMaxOpenSlices = 32;

// Dictionaries are encoded by libparquet only as long as they do not change from batch to batch: bytes would
// depend on batches.
std::shared_ptr<arrow::DataType> DenseType(const std::shared_ptr<arrow::DataType>& type) {
  if (type->id() == arrow::Type::DICTIONARY)
    return static_cast<const arrow::DictionaryType&>(*type).value_type();
  if (!arrow::is_nested(type->id())) return type;
  arrow::FieldVector fields;
  bool changed = false;
  for (const auto& field : type->fields()) {
    auto dense = DenseType(field->type());
    changed |= !dense->Equals(*field->type());
    fields.push_back(field->WithType(std::move(dense)));
  }
  if (!changed) return type;
  switch (type->id()) {
    case arrow::Type::LIST:
      return arrow::list(fields[0]);
    case arrow::Type::LARGE_LIST:
      return arrow::large_list(fields[0]);
    case arrow::Type::FIXED_SIZE_LIST:
      return arrow::fixed_size_list(fields[0],
                                    static_cast<const arrow::FixedSizeListType&>(*type).list_size());
    case arrow::Type::STRUCT:
      return arrow::struct_(std::move(fields));
    case arrow::Type::MAP:
      return std::make_shared<arrow::MapType>(fields[0]);
    default:
      return type;
  }
}

// Whether values of a declared type may come as `type`: as what they are, or as indices of a dictionary of
// them.
bool IsOf(const arrow::DataType& type, const arrow::DataType& declared) {
  if (type.Equals(declared)) return true;
  return type.id() == arrow::Type::DICTIONARY &&
         static_cast<const arrow::DictionaryType&>(type).value_type()->Equals(declared);
}

class ParquetWriter final : public FileWriter {
 public:
  ParquetWriter(std::shared_ptr<arrow::io::OutputStream> stream, WriteRequest request,
                const ParquetOptions& options)
      : stream_(std::move(stream)),
        request_(std::move(request)),
        cutter_(options.row_group_rows, options.row_group_bytes),
        stage_(request_.env, request_.spill_dir),
        pool_(request_.pool, [this](int attempt) { return Relieve(attempt); }) {}

  Status Init(const ParquetOptions& options) {
    ARROW_RETURN_NOT_OK(EnsureComputeKernels());
    arrow::FieldVector fields;
    for (const auto& field : request_.schema->fields())
      fields.push_back(field->WithType(DenseType(field->type())));
    dense_schema_ = arrow::schema(std::move(fields));
    return ParquetFileEncoder::Open(stream_.get(), *request_.schema, dense_schema_, options, &pool_, &stage_)
        .Value(&encoder_);
  }

  Status Write(const std::shared_ptr<arrow::RecordBatch>& batch) override {
    ARROW_RETURN_NOT_OK(request_.cancel.Check());
    ARROW_RETURN_NOT_OK(broken_);
    if (batch->num_columns() != request_.schema->num_fields()) {
      return BugError("a batch has " + std::to_string(batch->num_columns()) + " columns, the Parquet file " +
                      std::to_string(request_.schema->num_fields()));
    }
    if (batch->num_rows() == 0) return Status::OK();
    // Up to the last claim nothing is taken: any of these may be refused.
    ARROW_ASSIGN_OR_RAISE(auto dense, Densify(batch));
    ARROW_ASSIGN_OR_RAISE(const auto sizes, RowLogicalBytes(*batch));
    UnitCutter cutter = cutter_;
    const auto units = cutter.Cut(sizes);
    Work work;
    ARROW_RETURN_NOT_OK(Prepare(*dense, units, &work));
    int64_t encoded_bytes = 0;
    for (const auto& unit : units) {
      if (unit.complete) encoded_bytes += std::min(unit.bytes, kUnitBytes);
    }
    ARROW_RETURN_NOT_OK(Claim(encoded_bytes));

    cutter_ = cutter;
    open_ = std::move(work.open);
    for (size_t i = 0; i < work.complete.size(); ++i) {
      broken_ = WriteUnitRows(work.complete[i], units[i].ends_group);
      if (!broken_.ok()) break;
      work.complete[i].reset();
    }
    headroom_.Release();
    if (broken_.ok()) broken_ = StageIfLarge();
    broken_ = NotRetriable(std::move(broken_));
    return broken_;
  }

  Status Finish() override {
    ARROW_RETURN_NOT_OK(broken_);
    // As in Write: up to the claim a refusal changes nothing, and this may be called again.
    std::shared_ptr<arrow::RecordBatch> last;
    int64_t last_bytes = 0;
    if (!open_.empty()) {
      ARROW_ASSIGN_OR_RAISE(last, Join(open_));
      open_ = {last};
      ARROW_ASSIGN_OR_RAISE(last_bytes, LogicalBytes(*last));
    }
    ARROW_RETURN_NOT_OK(Claim(std::min(last_bytes, kUnitBytes)));

    open_.clear();
    broken_ = WriteUnitRows(last, /*ends_group=*/true);
    last.reset();
    if (broken_.ok()) broken_ = encoder_->Finish();
    headroom_.Release();
    broken_ = NotRetriable(std::move(broken_));
    if (!broken_.ok()) return broken_;
    broken_ = BugError("the Parquet file is finished");
    return Status::OK();
  }

 private:
  struct Work {
    arrow::RecordBatchVector complete;  // one a complete unit; null where a cut comes before the first row
    arrow::RecordBatchVector open;
  };

  // Texts may stand as indices of a dictionary, whatever the declared type says; other dictionaries do not.
  Result<std::shared_ptr<arrow::RecordBatch>> Densify(const std::shared_ptr<arrow::RecordBatch>& batch) {
    arrow::ArrayVector columns;
    arrow::compute::ExecContext context(request_.pool.get());
    context.set_use_threads(false);
    for (int i = 0; i < batch->num_columns(); ++i) {
      auto column = batch->column(i);
      const auto& declared = *request_.schema->field(i);
      if (!IsOf(*column->type(), *declared.type())) {
        return BugError("column '" + declared.name() + "' of a batch is " + column->type()->ToString() +
                        ", of the Parquet file " + declared.type()->ToString());
      }
      const auto& type = dense_schema_->field(i)->type();
      if (!column->type()->Equals(*type) && !IsTextCodes(*column->type())) {
        ARROW_ASSIGN_OR_RAISE(
            column, arrow::compute::Cast(*column, type, arrow::compute::CastOptions::Safe(), &context));
      }
      columns.push_back(std::move(column));
    }
    return arrow::RecordBatch::Make(dense_schema_, batch->num_rows(), std::move(columns));
  }

  Result<std::shared_ptr<arrow::RecordBatch>> Join(const arrow::RecordBatchVector& slices) {
    if (slices.size() == 1) return slices[0];
    int64_t rows = 0;
    for (const auto& slice : slices) rows += slice->num_rows();
    arrow::ArrayVector columns;
    for (int i = 0; i < dense_schema_->num_fields(); ++i) {
      arrow::ArrayVector parts;
      for (const auto& slice : slices) parts.push_back(slice->column(i));
      ARROW_ASSIGN_OR_RAISE(auto column, JoinColumn(std::move(parts)));
      columns.push_back(std::move(column));
    }
    return arrow::RecordBatch::Make(dense_schema_, rows, std::move(columns));
  }

  // Indices of one dictionary stay what they are.
  Result<std::shared_ptr<arrow::Array>> JoinColumn(arrow::ArrayVector parts) {
    const auto& first = *parts[0]->data();
    const bool alike = std::all_of(parts.begin(), parts.end(), [&](const auto& part) {
      return part->data()->dictionary == first.dictionary && part->type()->Equals(*first.type);
    });
    const auto dictionary = first.dictionary;
    const auto type = first.type;
    for (auto& part : parts) {
      if (alike && dictionary) {
        part = static_cast<const arrow::DictionaryArray&>(*part).indices();
      } else {
        ARROW_ASSIGN_OR_RAISE(part, ValuesOf(std::move(part), request_.pool.get()));
      }
    }
    ARROW_ASSIGN_OR_RAISE(auto joined, arrow::Concatenate(parts, request_.pool.get()));
    if (!alike || !dictionary) return joined;
    auto data = joined->data()->Copy();
    data->type = type;
    data->dictionary = dictionary;
    return arrow::MakeArray(std::move(data));
  }

  Status Prepare(const arrow::RecordBatch& batch, const std::vector<WriteUnit>& units, Work* work) {
    arrow::RecordBatchVector open = open_;
    int64_t offset = 0;
    for (const auto& unit : units) {
      if (unit.rows > 0) open.push_back(batch.Slice(offset, unit.rows));
      offset += unit.rows;
      if (!unit.complete) break;
      std::shared_ptr<arrow::RecordBatch> rows;
      if (!open.empty()) {
        ARROW_ASSIGN_OR_RAISE(rows, Join(open));
      }
      work->complete.push_back(std::move(rows));
      open.clear();
    }
    const bool last_is_new = !units.empty() && !units.back().complete;
    if (last_is_new) {
      ARROW_ASSIGN_OR_RAISE(open.back(), Compact(open.back(), request_.pool.get()));
    }
    if (open.size() >= kMaxOpenSlices) {
      ARROW_ASSIGN_OR_RAISE(auto joined, Join(open));
      open = {std::move(joined)};
    }
    work->open = std::move(open);
    return Status::OK();
  }

  // For rows that are about to be encoded.
  Status Claim(int64_t encoded_bytes) {
    const int64_t bytes = kLeastHeadroomBytes + kHeadroomFactor * std::min(encoded_bytes, kHeadroomUnitBytes);
    auto claim = request_.pool->Reserve(bytes);
    if (!claim.ok() && claim.status().IsOutOfMemory() && stage_.usable() && encoder_->memory_bytes() > 0) {
      Status staged = encoder_->Stage();
      if (!staged.ok()) return broken_ = NotRetriable(std::move(staged));
      claim = request_.pool->Reserve(bytes);
    }
    ARROW_ASSIGN_OR_RAISE(headroom_, std::move(claim));
    return Status::OK();
  }

  Status WriteUnitRows(const std::shared_ptr<arrow::RecordBatch>& rows, bool ends_group) {
    if (rows) ARROW_RETURN_NOT_OK(encoder_->WriteUnit(*rows));
    return ends_group ? encoder_->EndRowGroup() : Status::OK();
  }

  Status StageIfLarge() {
    const int64_t free_bytes = request_.pool->budget()->available_bytes();
    if (!stage_.usable() || encoder_->memory_bytes() <= std::max(kLeastStagedBytes, free_bytes)) {
      return Status::OK();
    }
    return encoder_->Stage();
  }

  // Called by the pool when the budget refuses the encoder.
  bool Relieve(int attempt) {
    if (headroom_.bytes() > kReliefBytes) return headroom_.Resize(headroom_.bytes() - kReliefBytes).ok();
    if (headroom_.bytes() > 0 || attempt == 0) {
      headroom_.Release();
      return true;
    }
    const int64_t before = encoder_ ? encoder_->memory_bytes() : 0;
    if (before == 0 || !stage_.usable()) return false;
    return encoder_->Stage().ok() && encoder_->memory_bytes() < before;
  }

  // Once rows are in the encoder, asking again would write them twice.
  static Status NotRetriable(Status status) {
    if (!status.IsOutOfMemory()) return status;
    return ResourceError("memory ran out inside a Parquet row group: " + MessageOf(status),
                         "give the run more memory, or set a smaller row_group_bytes");
  }

  std::shared_ptr<arrow::io::OutputStream> stream_;
  WriteRequest request_;
  std::shared_ptr<arrow::Schema> dense_schema_;
  UnitCutter cutter_;
  arrow::RecordBatchVector open_;  // rows of the incomplete unit
  Status broken_;
  Reservation headroom_;
  PageStage stage_;
  ReliefPool pool_;  // before what allocates from it
  std::unique_ptr<ParquetFileEncoder> encoder_;
};

}  // namespace

Result<std::unique_ptr<FileWriter>> OpenParquetWriter(std::shared_ptr<arrow::io::OutputStream> stream,
                                                      WriteRequest request) {
  if (!request.schema || !request.pool) return BugError("a write request lacks schema or pool");
  ARROW_ASSIGN_OR_RAISE(const ParquetOptions options, ParquetOptions::FromArgs(request.args));
  auto writer = std::make_unique<ParquetWriter>(std::move(stream), std::move(request), options);
  ARROW_RETURN_NOT_OK(writer->Init(options));
  return writer;
}

}  // namespace partita
