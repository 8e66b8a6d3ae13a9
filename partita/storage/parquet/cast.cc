#include "partita/storage/parquet/cast.h"

#include <arrow/api.h>
#include <arrow/compute/cast.h>
#include <arrow/compute/exec.h>

#include "partita/expression/expression.h"

namespace partita {
namespace {

const arrow::DataType& ValueType(const arrow::DataType& type) {
  if (type.id() == arrow::Type::DICTIONARY)
    return *static_cast<const arrow::DictionaryType&>(type).value_type();
  return type;
}

bool IsBinaryLike(const arrow::DataType& type) {
  return arrow::is_base_binary_like(type.id()) || arrow::is_binary_view_like(type.id()) ||
         type.id() == arrow::Type::FIXED_SIZE_BINARY;
}

bool IsList(const arrow::DataType& type) {
  return arrow::is_var_length_list_like(type.id()) || type.id() == arrow::Type::FIXED_SIZE_LIST;
}

bool SameKind(const arrow::DataType& from, const arrow::DataType& to) {
  const auto a = from.id(), b = to.id();
  if (from.Equals(to) || a == arrow::Type::NA) return true;
  if (arrow::is_integer(a)) return arrow::is_integer(b);
  if (arrow::is_floating(a)) return arrow::is_floating(b);
  if (arrow::is_decimal(a)) return arrow::is_decimal(b);
  if (IsBinaryLike(from)) return IsBinaryLike(to);
  if (arrow::is_date(a)) return arrow::is_date(b);
  if (arrow::is_time(a)) return arrow::is_time(b);
  if (a == arrow::Type::TIMESTAMP || a == arrow::Type::DURATION) return a == b;
  if (IsList(from) && IsList(to)) {
    return SameKind(ValueType(*from.field(0)->type()), ValueType(*to.field(0)->type()));
  }
  if (a != b || from.num_fields() != to.num_fields() || from.num_fields() == 0) return false;
  for (int i = 0; i < from.num_fields(); ++i) {
    if (from.field(i)->name() != to.field(i)->name() && a == arrow::Type::STRUCT) return false;
    if (!SameKind(ValueType(*from.field(i)->type()), ValueType(*to.field(i)->type()))) return false;
  }
  return true;
}

}  // namespace

Status CheckCast(const arrow::DataType& from, const arrow::DataType& to) {
  if (from.Equals(to)) return Status::OK();
  if (SameKind(ValueType(from), ValueType(to)) && arrow::compute::CanCast(from, to)) return Status::OK();
  return Status::Invalid("the file has it as ", from.ToString(), ", the dataset as ", to.ToString());
}

Result<std::shared_ptr<arrow::Array>> CastColumn(std::shared_ptr<arrow::Array> array,
                                                 const std::shared_ptr<arrow::DataType>& type,
                                                 arrow::MemoryPool* pool) {
  if (array->type()->Equals(*type)) return array;
  ARROW_RETURN_NOT_OK(EnsureComputeKernels());
  arrow::compute::ExecContext context(pool);
  context.set_use_threads(false);
  auto cast = arrow::compute::Cast(*array, type, arrow::compute::CastOptions::Safe(), &context);
  if (cast.ok() || cast.status().IsOutOfMemory()) return cast;
  return Status::Invalid("the file has it as ", array->type()->ToString(), ", the dataset as ",
                         type->ToString(), ": ", cast.status().message());
}

}  // namespace partita
