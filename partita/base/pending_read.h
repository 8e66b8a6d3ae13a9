// A read on its way from the disk while its thread does something else.
#pragma once

#include <cstdint>
#include <memory>

#include "partita/base/error.h"

namespace arrow::io {
class RandomAccessFile;
}

namespace partita {

// One thread at a time. Of a file that is read around the page cache the kernel itself goes on (native AIO):
// no other thread has to be woken, who would have to wait for a processor before the disk hears of the read.
// Of any other file, a pool of threads that wait for disks reads.
class PendingRead {
 public:
  // What `file->ReadAt(position, nbytes, out)` would give. `out` stays where it is until Wait or the end.
  static PendingRead Begin(std::shared_ptr<arrow::io::RandomAccessFile> file, int64_t position,
                           int64_t nbytes, uint8_t* out);
  PendingRead();
  PendingRead(PendingRead&&) noexcept;
  PendingRead& operator=(PendingRead&&) noexcept;  // waits for the old one
  ~PendingRead();                                  // waits

  // Once; of one that was begun.
  Result<int64_t> Wait();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace partita
