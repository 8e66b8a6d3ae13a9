#include "python/src/stream.h"

#include <arrow/record_batch.h>

#include "python/src/arrow_capsules.h"

namespace partita::python {

Result<std::shared_ptr<arrow::RecordBatch>> PyStream::Next() {
  std::lock_guard lock(mutex_);
  if (!stream_) return nullptr;
  return stream_->Next();
}

void PyStream::Close() {
  cancel_.Cancel();
  std::lock_guard lock(mutex_);
  stream_.reset();
}

namespace {

// The stream as other libraries read it through the Arrow C interface.
class ExportedStream final : public arrow::RecordBatchReader {
 public:
  explicit ExportedStream(std::shared_ptr<PyStream> stream) : stream_(std::move(stream)) {}
  ~ExportedStream() override { stream_->Close(); }
  std::shared_ptr<arrow::Schema> schema() const override { return stream_->schema(); }
  Status ReadNext(std::shared_ptr<arrow::RecordBatch>* batch) override {
    return stream_->Next().Value(batch);
  }

 private:
  std::shared_ptr<PyStream> stream_;
};

// One batch on its way to pyarrow.record_batch().
struct PyBatch {
  std::shared_ptr<arrow::RecordBatch> batch;
};

std::optional<PyBatch> NextBatch(const StreamHandle& self) {
  Result<std::shared_ptr<arrow::RecordBatch>> next = nullptr;
  {
    nb::gil_scoped_release release;
    next = self.stream->Next();
  }
  self.stream->poll().Rethrow();
  auto batch = ValueOrThrow(std::move(next));
  if (!batch) return std::nullopt;
  return PyBatch{std::move(batch)};
}

nb::capsule Export(const StreamHandle& self, nb::handle) {
  self.stream->poll().Detach();
  return ToCapsule(std::make_shared<ExportedStream>(self.stream));
}

}  // namespace

void BindStream(nb::module_& m) {
  nb::class_<PyBatch>(m, "Batch", "A record batch for pyarrow.record_batch().")
      .def(
          "__arrow_c_array__", [](const PyBatch& self, nb::handle) { return ToCapsules(*self.batch); },
          nb::arg("requested_schema") = nb::none());
  nb::class_<StreamHandle>(m, "RowStream", "Rows of a run, in order.")
      .def("next_batch", &NextBatch, "The next rows, or None at the end.")
      .def(
          "close", [](const StreamHandle& self) { self.stream->Close(); },
          nb::call_guard<nb::gil_scoped_release>(), "Cancels what still runs.")
      .def("__arrow_c_schema__", [](const StreamHandle& self) { return ToCapsule(*self.stream->schema()); })
      .def("__arrow_c_stream__", &Export, nb::arg("requested_schema") = nb::none());
}

}  // namespace partita::python
