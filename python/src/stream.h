// A run whose rows Python takes.
#pragma once

#include <memory>
#include <mutex>

#include "partita/session/session.h"
#include "python/src/poll.h"

namespace partita::python {

// Thread-safe; all calls without the GIL, but for what says otherwise.
class PyStream {
 public:
  PyStream(std::shared_ptr<Session> session, std::unique_ptr<RowStream> stream, CancelToken cancel, Poll poll)
      : session_(std::move(session)),
        schema_(stream->schema()),
        stream_(std::move(stream)),
        cancel_(std::move(cancel)),
        poll_(std::move(poll)) {}
  ~PyStream() { Close(); }

  const std::shared_ptr<arrow::Schema>& schema() const { return schema_; }
  const Poll& poll() const { return poll_; }
  // Null at the end, and after Close.
  Result<std::shared_ptr<arrow::RecordBatch>> Next();
  // Cancels what still runs.
  void Close();

 private:
  std::shared_ptr<Session> session_;
  std::shared_ptr<arrow::Schema> schema_;
  std::mutex mutex_;
  std::unique_ptr<RowStream> stream_;  // [mutex_]
  CancelToken cancel_;
  Poll poll_;
};

// What Python holds. nanobind destroys it with the GIL held, and the run's end must not wait for whoever else
// needs that.
struct StreamHandle {
  std::shared_ptr<PyStream> stream;
  explicit StreamHandle(std::shared_ptr<PyStream> rows) : stream(std::move(rows)) {}
  StreamHandle(const StreamHandle&) = delete;
  StreamHandle& operator=(const StreamHandle&) = delete;
  ~StreamHandle() {
    nb::gil_scoped_release release;
    stream.reset();
  }
};

}  // namespace partita::python
