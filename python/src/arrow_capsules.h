// The Arrow PyCapsule interface, both ways. No buffer is copied: what crosses keeps its memory alive until
// both sides let go.
#pragma once

#include <memory>
#include <vector>

#include "python/src/bindings.h"

namespace arrow {
class Array;
class DataType;
class RecordBatch;
class RecordBatchReader;
class Schema;
}  // namespace arrow

namespace partita::python {

nb::capsule ToCapsule(const arrow::Schema& schema);
// (schema, array), as __arrow_c_array__ returns them.
std::pair<nb::capsule, nb::capsule> ToCapsules(const arrow::RecordBatch& batch);
nb::capsule ToCapsule(std::shared_ptr<arrow::RecordBatchReader> reader);

struct Rows {
  std::shared_ptr<arrow::Schema> schema;
  std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
};
// Any object with __arrow_c_stream__ or __arrow_c_array__ that holds rows.
Rows RowsFrom(nb::handle object);
// Any object with __arrow_c_schema__ that is a schema.
std::shared_ptr<arrow::Schema> SchemaFrom(nb::handle object);
// Any object with __arrow_c_schema__ that is a type.
std::shared_ptr<arrow::DataType> TypeFrom(nb::handle object);
// Any object with __arrow_c_array__.
std::shared_ptr<arrow::Array> ArrayFrom(nb::handle object);

}  // namespace partita::python
