// Reads ahead around the page cache (O_DIRECT), for large files that are read once and were not in it. Taking
// pages for such files, dropping them behind the reader and reclaiming others for them costs the kernel more
// than the copy. Private to this room.
#pragma once

#include <cstdint>
#include <deque>
#include <future>
#include <memory>
#include <mutex>
#include <string>

namespace arrow {
class Buffer;
class MemoryPool;
}  // namespace arrow

namespace partita {

// A reader that goes forward at a few places of the file at once (the columns of a row group) has what comes
// next at each of them on its way. Windows begin small, and grow while they are read through; all are of the
// pool, and where it refuses, the page cache serves. Thread-safe; threads that meet do not wait for each
// other.
class AheadReader {
 public:
  // Null: the file system is not known to do this well. `pool` outlives the reader.
  static std::unique_ptr<AheadReader> Make(int fd, const std::string& path, arrow::MemoryPool* pool);
  ~AheadReader();

  // The bytes got, from `position` on; 0: read it elsewhere.
  int64_t ReadAt(int64_t position, int64_t nbytes, uint8_t* out);

 private:
  struct Window {
    int64_t begin = 0, size_bytes = 0;
    std::shared_ptr<arrow::Buffer> memory;
    std::future<int64_t> got;  // until `size_bytes` is what was read
    int64_t end() const { return begin + size_bytes; }
  };
  struct Place {
    std::deque<Window> windows;  // one behind the other
    int64_t next_bytes = 0;      // of the next window
    int64_t used = 0;            // when
    bool was_followed = false;
  };

  AheadReader(int fd, arrow::MemoryPool* pool) : fd_(fd), pool_(pool) {}
  int64_t ReadWindow(int64_t position, int64_t nbytes, uint8_t* out);
  Place* Find(int64_t position);
  Place* Begin(int64_t position, int64_t nbytes);
  bool Add(Place* place, int64_t begin, int64_t size_bytes, bool ahead);
  bool AddNext(Place* place, bool ahead);
  static void Drop(Place* place);

  const int fd_;
  arrow::MemoryPool* const pool_;
  std::mutex mutex_;
  std::deque<Place> places_;
  int64_t uses_ = 0;
  int missed_ = 0;  // places that were left before anybody read on there
};

}  // namespace partita
