#include "partita/operator/aggregate/doubles.h"

#include <arrow/array.h>
#include <arrow/util/float16.h>

namespace partita {
namespace {

template <typename T, typename To>
void Read(const arrow::Array& column, GroupVector<To>* out) {
  const T* values = column.data()->GetValues<T>(1);
  To* to = out->begin();
  const size_t rows = out->size();
  for (size_t i = 0; i < rows; ++i) to[i] = static_cast<To>(values[i]);
}

// Of integers of up to 32 bits; false for other types.
template <typename To>
bool ReadSmallIntegers(const arrow::Array& column, GroupVector<To>* out) {
  switch (column.type_id()) {
    case arrow::Type::INT8:
      Read<int8_t>(column, out);
      return true;
    case arrow::Type::UINT8:
      Read<uint8_t>(column, out);
      return true;
    case arrow::Type::INT16:
      Read<int16_t>(column, out);
      return true;
    case arrow::Type::UINT16:
      Read<uint16_t>(column, out);
      return true;
    case arrow::Type::INT32:
      Read<int32_t>(column, out);
      return true;
    case arrow::Type::UINT32:
      Read<uint32_t>(column, out);
      return true;
    default:
      return false;
  }
}

}  // namespace

Status ReadDoubles(const arrow::Array& column, GroupVector<double>* out) {
  ARROW_RETURN_NOT_OK(out->Reserve(static_cast<size_t>(column.length())));
  out->SetSize(static_cast<size_t>(column.length()));
  if (ReadSmallIntegers(column, out)) return Status::OK();
  switch (column.type_id()) {
    case arrow::Type::INT64:
      Read<int64_t>(column, out);
      return Status::OK();
    case arrow::Type::UINT64:
      Read<uint64_t>(column, out);
      return Status::OK();
    case arrow::Type::FLOAT:
      Read<float>(column, out);
      return Status::OK();
    case arrow::Type::DOUBLE:
      Read<double>(column, out);
      return Status::OK();
    case arrow::Type::HALF_FLOAT: {
      const auto* bits = column.data()->GetValues<uint16_t>(1);
      for (size_t i = 0; i < out->size(); ++i) (*out)[i] = arrow::util::Float16::FromBits(bits[i]).ToDouble();
      return Status::OK();
    }
    default:
      return BugError("no number");
  }
}

Status ReadIntegers(const arrow::Array& column, GroupVector<int64_t>* out) {
  ARROW_RETURN_NOT_OK(out->Reserve(static_cast<size_t>(column.length())));
  out->SetSize(static_cast<size_t>(column.length()));
  return ReadSmallIntegers(column, out) ? Status::OK() : BugError("no integer of up to 32 bits");
}

}  // namespace partita
