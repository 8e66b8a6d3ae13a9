#include "python/src/arrow_capsules.h"

#include <arrow/api.h>
#include <arrow/c/bridge.h>

namespace partita::python {
namespace {

// A capsule's destructor: the consumer took the content (release is null), or it is released here.
template <typename T>
void Discard(void* pointer) noexcept {
  auto* value = static_cast<T*>(pointer);
  if (value->release != nullptr) value->release(value);
  delete value;
}

template <typename T>
nb::capsule MakeCapsule(std::unique_ptr<T> value, const char* name) {
  nb::capsule capsule(value.get(), name, &Discard<T>);
  value.release();
  return capsule;
}

template <typename T>
T* ContentOf(nb::handle object, const char* name) {
  auto* value = static_cast<T*>(PyCapsule_GetPointer(object.ptr(), name));
  if (value == nullptr) throw nb::python_error();
  if (value->release == nullptr) throw StatusError(UserError("this Arrow capsule was already consumed"));
  return value;
}

std::string TypeName(nb::handle object) {
  return nb::cast<std::string>(nb::str(nb::handle(object.type()).attr("__qualname__")));
}

std::pair<nb::object, nb::object> ArrayCapsules(nb::handle object) {
  nb::tuple pair = nb::cast<nb::tuple>(object.attr("__arrow_c_array__")());
  if (pair.size() != 2)
    throw StatusError(UserError("__arrow_c_array__ of " + TypeName(object) + " gave no pair of capsules"));
  return {pair[0], pair[1]};
}

Rows RowsFromStream(nb::handle object) {
  nb::object capsule = object.attr("__arrow_c_stream__")();
  auto* stream = ContentOf<ArrowArrayStream>(capsule, "arrow_array_stream");
  auto read = [stream]() -> Result<Rows> {
    ARROW_ASSIGN_OR_RAISE(auto reader, arrow::ImportRecordBatchReader(stream));
    ARROW_ASSIGN_OR_RAISE(auto batches, reader->ToRecordBatches());
    return Rows{reader->schema(), std::move(batches)};
  };
  nb::gil_scoped_release release;  // a Python producer takes it itself
  return ValueOrThrow(read());
}

Rows RowsFromArray(nb::handle object) {
  auto [schema, array] = ArrayCapsules(object);
  auto batch = ValueOrThrow(arrow::ImportRecordBatch(ContentOf<ArrowArray>(array, "arrow_array"),
                                                     ContentOf<ArrowSchema>(schema, "arrow_schema")));
  return {batch->schema(), {batch}};
}

}  // namespace

nb::capsule ToCapsule(const arrow::Schema& schema) {
  auto out = std::make_unique<ArrowSchema>();
  Check(arrow::ExportSchema(schema, out.get()));
  return MakeCapsule(std::move(out), "arrow_schema");
}

std::pair<nb::capsule, nb::capsule> ToCapsules(const arrow::RecordBatch& batch) {
  auto schema = std::make_unique<ArrowSchema>();
  Check(arrow::ExportSchema(*batch.schema(), schema.get()));
  nb::capsule schema_capsule = MakeCapsule(std::move(schema), "arrow_schema");
  auto array = std::make_unique<ArrowArray>();
  Check(arrow::ExportRecordBatch(batch, array.get()));
  return {std::move(schema_capsule), MakeCapsule(std::move(array), "arrow_array")};
}

nb::capsule ToCapsule(std::shared_ptr<arrow::RecordBatchReader> reader) {
  auto out = std::make_unique<ArrowArrayStream>();
  Check(arrow::ExportRecordBatchReader(std::move(reader), out.get()));
  return MakeCapsule(std::move(out), "arrow_array_stream");
}

Rows RowsFrom(nb::handle object) {
  if (nb::hasattr(object, "__arrow_c_stream__")) return RowsFromStream(object);
  if (nb::hasattr(object, "__arrow_c_array__")) return RowsFromArray(object);
  throw StatusError(
      UserError("an object of type " + TypeName(object) + " holds no Arrow data",
                "give a pyarrow Table, a Polars or pandas DataFrame, a DuckDB relation, or any object with "
                "__arrow_c_stream__"));
}

std::shared_ptr<arrow::Schema> SchemaFrom(nb::handle object) {
  nb::object capsule = object.attr("__arrow_c_schema__")();
  return ValueOrThrow(arrow::ImportSchema(ContentOf<ArrowSchema>(capsule, "arrow_schema")));
}

std::shared_ptr<arrow::DataType> TypeFrom(nb::handle object) {
  nb::object capsule = object.attr("__arrow_c_schema__")();
  return ValueOrThrow(arrow::ImportType(ContentOf<ArrowSchema>(capsule, "arrow_schema")));
}

std::shared_ptr<arrow::Array> ArrayFrom(nb::handle object) {
  auto [schema, array] = ArrayCapsules(object);
  return ValueOrThrow(arrow::ImportArray(ContentOf<ArrowArray>(array, "arrow_array"),
                                         ContentOf<ArrowSchema>(schema, "arrow_schema")));
}

}  // namespace partita::python
