// Input and output around the page cache (O_DIRECT), for files that do not fit what a run leaves to the
// kernel: pages that are reclaimed before anybody reads them cost more processor time than the copy. Private
// to this room.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "partita/base/error.h"

namespace partita {

// Is the file on a file system that is known to do this well? Network file systems are left to their caches.
bool IsOnLocalDisk(int fd);

// Everything behind `offset` of a file that is written in order. Bytes are copied to one of two buffers;
// while one fills, the other is on its way to disk. One thread at a time. The file descriptor is the
// caller's, who does not use it meanwhile.
class DirectWriter {
 public:
  static constexpr int kMaxWriters = 16;
  // Null: the file system refuses, or kMaxWriters are there already: their buffers are in no budget. `offset`
  // is a multiple of kDirectAlignment.
  static std::unique_ptr<DirectWriter> Make(int fd, const std::string& path, int64_t offset);
  // Waits for what is under way; what was not finished is lost.
  ~DirectWriter();

  // The first error sticks.
  Status Write(const uint8_t* bytes, int64_t nbytes);
  // Writes the rest, and reports every error so far.
  Status Finish();

 private:
  struct Unmap {
    void operator()(uint8_t* memory) const;
  };
  using Memory = std::unique_ptr<uint8_t, Unmap>;

  DirectWriter(int fd, std::string path, int64_t offset);
  static Memory NewBuffer();
  Status Submit();
  Status Wait();
  Status WriteAll(const uint8_t* bytes, int64_t nbytes, int64_t offset);
  void Run();

  const int fd_;
  const std::string path_;
  Memory filling_, leaving_;
  int64_t filled_bytes_ = 0;
  int64_t offset_;  // of `filling_` in the file

  std::mutex mutex_;
  std::condition_variable changed_;
  bool busy_ = false, stop_ = false;  // `leaving_` is being written
  int64_t leaving_offset_ = 0;
  Status status_;
  std::thread thread_;  // from the second buffer on
};

}  // namespace partita
