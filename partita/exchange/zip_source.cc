#include "partita/exchange/zip_source.h"

#include <arrow/api.h>

#include <algorithm>

#include "partita/pipeline/join.h"

namespace partita {
namespace {

// A side and what is left of its last block.
struct ZipSide {
  std::unique_ptr<Source> rows;
  std::shared_ptr<arrow::RecordBatch> batch = nullptr;
  int64_t taken = 0;

  // Makes some rows current; false: there are none.
  Result<bool> Load(const OperatorContext& ctx) {
    while (!batch || taken == batch->num_rows()) {
      batch.reset();
      ARROW_ASSIGN_OR_RAISE(auto block, rows->Next(ctx));
      if (!block) return false;
      batch = std::move(block->batch);
      taken = 0;
    }
    return true;
  }
  int64_t left() const { return batch->num_rows() - taken; }
};

struct ZipColumn {
  bool right = false;
  int index = 0;
};

class ZipSource final : public Source {
 public:
  ZipSource(ZipSide left, ZipSide right, std::vector<ZipColumn> columns,
            std::shared_ptr<arrow::Schema> schema)
      : left_(std::move(left)),
        right_(std::move(right)),
        columns_(std::move(columns)),
        schema_(std::move(schema)) {}

  Result<std::optional<Block>> Next(const OperatorContext& ctx) override {
    ARROW_RETURN_NOT_OK(ctx.cancel.Check());
    ARROW_ASSIGN_OR_RAISE(const bool any, left_.Load(ctx));
    ARROW_ASSIGN_OR_RAISE(const bool other, right_.Load(ctx));
    if (any != other) return BugError("the sides of a zip end at different rows");
    if (!any) return std::nullopt;
    const int64_t rows = std::min(left_.left(), right_.left());
    arrow::ArrayVector arrays;
    for (const auto& column : columns_) {
      const auto& side = column.right ? right_ : left_;
      arrays.push_back(side.batch->column(column.index)->Slice(side.taken, rows));
    }
    Block block;
    block.batch = arrow::RecordBatch::Make(schema_, rows, std::move(arrays));
    block.ordinals = RowOrdinals::Range(done_, rows);
    done_ += rows;
    left_.taken += rows;
    right_.taken += rows;
    return block;
  }

 private:
  ZipSide left_, right_;
  std::vector<ZipColumn> columns_;
  std::shared_ptr<arrow::Schema> schema_;
  int64_t done_ = 0;
};

}  // namespace

Result<std::unique_ptr<Source>> MakeZipSource(const PlanSource& source, const PlanExchange& left_exchange,
                                              const PlanExchange& right_exchange,
                                              std::unique_ptr<Source> left, std::unique_ptr<Source> right) {
  ARROW_ASSIGN_OR_RAISE(const Join zip, JoinFromJson(source.reduce));
  std::vector<ZipColumn> columns;
  for (const auto& column : zip.columns) {
    const bool is_right = column.side == JoinColumn::Side::kRight;
    const auto& schema = is_right ? *right_exchange.schema : *left_exchange.schema;
    columns.push_back({is_right, schema.GetFieldIndex(column.column)});
    if (columns.back().index < 0) return BugError("a column of a zip comes from nowhere");
  }
  return std::make_unique<ZipSource>(ZipSide{std::move(left)}, ZipSide{std::move(right)}, std::move(columns),
                                     source.schema);
}

}  // namespace partita
