#include "partita/block/select_rows.h"

#include <arrow/array.h>
#include <arrow/builder.h>
#include <arrow/compute/api_vector.h>
#include <arrow/compute/exec.h>
#include <arrow/extension_type.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>

#include <algorithm>
#include <functional>
#include <utility>

#include "partita/block/block.h"

namespace partita {
namespace {

using DataPtr = std::shared_ptr<arrow::ArrayData>;
using Selection = std::function<Result<DataPtr>(const DataPtr&)>;

bool IsView(arrow::Type::type id) { return id == arrow::Type::STRING_VIEW || id == arrow::Type::BINARY_VIEW; }

const arrow::DataType& StorageOf(const arrow::DataType& type) {
  if (type.id() != arrow::Type::EXTENSION) return type;
  return StorageOf(*static_cast<const arrow::ExtensionType&>(type).storage_type());
}

// Dictionaries go through selections as they are, whatever their values.
bool NeedsDisguise(const arrow::DataType& type) {
  const auto& storage = StorageOf(type);
  if (IsView(storage.id()) || storage.id() == arrow::Type::RUN_END_ENCODED) return true;
  return std::any_of(storage.fields().begin(), storage.fields().end(),
                     [](const auto& field) { return NeedsDisguise(*field->type()); });
}

std::shared_ptr<arrow::DataType> WithFields(const arrow::DataType& type, arrow::FieldVector fields) {
  switch (type.id()) {
    case arrow::Type::LIST:
    case arrow::Type::MAP:  // the same layout
      return arrow::list(fields[0]);
    case arrow::Type::LARGE_LIST:
      return arrow::large_list(fields[0]);
    case arrow::Type::LIST_VIEW:
      return arrow::list_view(fields[0]);
    case arrow::Type::LARGE_LIST_VIEW:
      return arrow::large_list_view(fields[0]);
    case arrow::Type::FIXED_SIZE_LIST:
      return arrow::fixed_size_list(fields[0],
                                    static_cast<const arrow::FixedSizeListType&>(type).list_size());
    case arrow::Type::DENSE_UNION:
      return arrow::dense_union(std::move(fields), static_cast<const arrow::UnionType&>(type).type_codes());
    case arrow::Type::SPARSE_UNION:
      return arrow::sparse_union(std::move(fields), static_cast<const arrow::UnionType&>(type).type_codes());
    default:
      return arrow::struct_(std::move(fields));
  }
}

Result<DataPtr> Positions(int64_t length, arrow::MemoryPool* pool) {
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> buffer,
                        arrow::AllocateBuffer(length * static_cast<int64_t>(sizeof(int64_t)), pool));
  auto* values = reinterpret_cast<int64_t*>(buffer->mutable_data());
  for (int64_t i = 0; i < length; ++i) values[i] = i;
  return arrow::ArrayData::Make(arrow::int64(), length, {nullptr, std::move(buffer)}, 0);
}

Result<DataPtr> Disguise(const DataPtr& data, arrow::MemoryPool* pool) {
  if (!NeedsDisguise(*data->type)) return data;
  const auto& type = StorageOf(*data->type);
  if (type.id() == arrow::Type::RUN_END_ENCODED) return Positions(data->length, pool);
  auto result = data->Copy();
  if (IsView(type.id())) {
    result->type = arrow::fixed_size_binary(16);
    result->buffers.resize(2);
    return result;
  }
  arrow::FieldVector fields;
  for (size_t i = 0; i < data->child_data.size(); ++i) {
    ARROW_ASSIGN_OR_RAISE(result->child_data[i], Disguise(data->child_data[i], pool));
    fields.push_back(type.field(static_cast<int>(i))->WithType(result->child_data[i]->type));
  }
  result->type = WithFields(type, std::move(fields));
  return result;
}

Result<DataPtr> Select(const DataPtr& data, const Selection& selection, arrow::MemoryPool* pool);

// Finds the run of a row. Rows are mostly asked for in order.
class Runs {
 public:
  explicit Runs(const arrow::ArrayData& ree) : data_(ree), ends_(*ree.child_data[0]) {}

  int64_t Find(int64_t row) {
    const int64_t at = data_.offset + row;
    for (int tries = 0; tries < 2 && run_ < ends_.length; ++tries, ++run_) {
      if (at < End(run_) && (run_ == 0 || at >= End(run_ - 1))) return run_;
    }
    int64_t low = 0, high = ends_.length;
    while (low < high) {
      const int64_t middle = low + (high - low) / 2;
      if (End(middle) <= at) {
        low = middle + 1;
      } else {
        high = middle;
      }
    }
    return run_ = low;
  }

 private:
  int64_t End(int64_t i) const {
    switch (ends_.type->id()) {
      case arrow::Type::INT16:
        return ends_.GetValues<int16_t>(1)[i];
      case arrow::Type::INT32:
        return ends_.GetValues<int32_t>(1)[i];
      default:
        return ends_.GetValues<int64_t>(1)[i];
    }
  }

  const arrow::ArrayData& data_;
  const arrow::ArrayData& ends_;
  int64_t run_ = 0;
};

template <typename T>
Result<DataPtr> RunEnds(const std::shared_ptr<arrow::DataType>& type, const std::vector<int64_t>& ends,
                        arrow::MemoryPool* pool) {
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> buffer,
                        arrow::AllocateBuffer(static_cast<int64_t>(ends.size() * sizeof(T)), pool));
  std::transform(ends.begin(), ends.end(), reinterpret_cast<T*>(buffer->mutable_data()),
                 [](int64_t end) { return static_cast<T>(end); });
  return arrow::ArrayData::Make(type, static_cast<int64_t>(ends.size()), {nullptr, std::move(buffer)}, 0);
}

// The rows `positions` of a run-end encoded array. A null position (below the null of a fixed-size list) is a
// null value.
Result<DataPtr> SelectRuns(const DataPtr& ree, const arrow::Int64Array& positions, arrow::MemoryPool* pool) {
  Runs runs(*ree);
  std::vector<int64_t> ends;
  arrow::Int64Builder values(pool);
  int64_t last = -2;
  for (int64_t i = 0; i < positions.length(); ++i) {
    const int64_t run = positions.IsNull(i) ? -1 : runs.Find(positions.Value(i));
    if (run != last) {
      ends.push_back(i);
      ARROW_RETURN_NOT_OK(run < 0 ? values.AppendNull() : values.Append(run));
      last = run;
    }
    ends.back() = i + 1;
  }
  ARROW_ASSIGN_OR_RAISE(auto indices, values.Finish());
  auto result = ree->Copy();
  result->length = positions.length();
  result->offset = 0;
  const auto& end_type = ree->child_data[0]->type;
  auto make_ends = end_type->id() == arrow::Type::INT16   ? &RunEnds<int16_t>
                   : end_type->id() == arrow::Type::INT32 ? &RunEnds<int32_t>
                                                          : &RunEnds<int64_t>;
  ARROW_ASSIGN_OR_RAISE(result->child_data[0], make_ends(end_type, ends, pool));
  const Selection take = [&](const DataPtr& data) -> Result<DataPtr> {
    arrow::compute::ExecContext exec(pool);
    ARROW_ASSIGN_OR_RAISE(
        auto taken, arrow::compute::Take(data, indices, arrow::compute::TakeOptions::NoBoundsCheck(), &exec));
    return taken.array();
  };
  ARROW_ASSIGN_OR_RAISE(result->child_data[1], Select(ree->child_data[1], take, pool));
  return result;
}

// `selected` as what `original` is.
Result<DataPtr> Restore(const DataPtr& original, const DataPtr& selected, arrow::MemoryPool* pool) {
  if (!NeedsDisguise(*original->type)) return selected;
  const auto& type = StorageOf(*original->type);
  if (type.id() == arrow::Type::RUN_END_ENCODED)
    return SelectRuns(original, arrow::Int64Array(selected), pool);
  auto result = selected->Copy();
  result->type = original->type;
  if (IsView(type.id())) {
    result->buffers.insert(result->buffers.end(), original->buffers.begin() + 2, original->buffers.end());
    return result;
  }
  for (size_t i = 0; i < result->child_data.size(); ++i) {
    ARROW_ASSIGN_OR_RAISE(result->child_data[i],
                          Restore(original->child_data[i], selected->child_data[i], pool));
  }
  return result;
}

Result<DataPtr> Select(const DataPtr& data, const Selection& selection, arrow::MemoryPool* pool) {
  ARROW_ASSIGN_OR_RAISE(auto disguised, Disguise(data, pool));
  ARROW_ASSIGN_OR_RAISE(auto selected, selection(disguised));
  return Restore(data, selected, pool);
}

}  // namespace

Result<std::shared_ptr<arrow::RecordBatch>> SelectRows(const arrow::RecordBatch& batch,
                                                       const std::shared_ptr<arrow::BooleanArray>& mask,
                                                       arrow::MemoryPool* pool) {
  // All columns at once: Arrow turns the mask into positions only once.
  arrow::ArrayVector columns;
  arrow::FieldVector fields;
  bool disguised = false;
  for (int i = 0; i < batch.num_columns(); ++i) {
    disguised = disguised || NeedsDisguise(*batch.column(i)->type());
    ARROW_ASSIGN_OR_RAISE(auto data, Disguise(batch.column_data(i), pool));
    columns.push_back(arrow::MakeArray(data));
    fields.push_back(arrow::field("", data->type));
  }
  arrow::compute::ExecContext exec(pool);
  exec.set_use_threads(false);
  const arrow::compute::FilterOptions options(arrow::compute::FilterOptions::DROP);
  const auto whole = arrow::RecordBatch::Make(arrow::schema(fields), batch.num_rows(), columns);
  ARROW_ASSIGN_OR_RAISE(auto filtered, arrow::compute::Filter(whole, mask, options, &exec));
  const auto& selected = *filtered.record_batch();
  for (size_t i = 0; i < columns.size(); ++i) {
    const int column = static_cast<int>(i);
    ARROW_ASSIGN_OR_RAISE(auto data, Restore(batch.column_data(column), selected.column_data(column), pool));
    columns[i] = arrow::MakeArray(data);
  }
  auto result = arrow::RecordBatch::Make(batch.schema(), selected.num_rows(), std::move(columns));
  return disguised ? Compact(std::move(result), pool) : result;
}

}  // namespace partita
