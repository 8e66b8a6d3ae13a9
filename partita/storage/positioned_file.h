// The sequential half of a file whose reads name their position: a position, and reads from it on.
#pragma once

#include <arrow/buffer.h>
#include <arrow/io/interfaces.h>

#include <cstdint>
#include <memory>

#include "partita/base/error.h"

namespace partita {

// ReadAt may be called from any thread; the position is one thread's.
class PositionedFile : public arrow::io::RandomAccessFile {
 public:
  Result<int64_t> Tell() const override { return position_; }
  Status Seek(int64_t position) override {
    position_ = position;
    return Status::OK();
  }
  Result<int64_t> Read(int64_t nbytes, void* out) override {
    ARROW_ASSIGN_OR_RAISE(const int64_t got, ReadAt(position_, nbytes, out));
    position_ += got;
    return got;
  }
  Result<std::shared_ptr<arrow::Buffer>> Read(int64_t nbytes) override {
    ARROW_ASSIGN_OR_RAISE(auto buffer, ReadAt(position_, nbytes));
    position_ += buffer->size();
    return buffer;
  }

 protected:
  PositionedFile() { set_mode(arrow::io::FileMode::READ); }

 private:
  int64_t position_ = 0;
};

}  // namespace partita
