// What the fuzz programs share: the input as a stream, as a file, and the checks that each of them makes.
#pragma once

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "partita/base/error.h"
#include "partita/storage/byte_source.h"

namespace partita::fuzz {

// std::abort with the reason, so that a report says what was wrong.
#define FUZZ_CHECK(condition, what)                                                                       \
  do {                                                                                                    \
    if (!(condition)) {                                                                                   \
      std::fprintf(stderr, "%s:%d: %s: %s\n", __FILE__, __LINE__, #condition, std::string(what).c_str()); \
      std::abort();                                                                                       \
    }                                                                                                     \
  } while (false)

// Hostile bytes are the data's, the author's, or too much for the memory there is; never a bug of ours.
inline void CheckKind(const Status& status) {
  const ErrorKind kind = KindOf(status);
  FUZZ_CHECK(kind == ErrorKind::kData || kind == ErrorKind::kUser || kind == ErrorKind::kResource,
             RenderError(status));
}

inline std::string_view Text(const uint8_t* data, size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

class MemorySource final : public ByteSource {
 public:
  explicit MemorySource(std::string_view bytes) : bytes_(bytes) {}
  Result<int64_t> Read(int64_t size, uint8_t* out) override {
    const size_t got = std::min(static_cast<size_t>(size), bytes_.size());
    if (got > 0) std::memcpy(out, bytes_.data(), got);
    bytes_.remove_prefix(got);
    return static_cast<int64_t>(got);
  }
  int64_t bytes_read() const override { return 0; }

 private:
  std::string_view bytes_;
};

// A file of this process that each input overwrites.
class ScratchFile {
 public:
  explicit ScratchFile(const std::string& ending) {
    std::error_code error;
    const std::filesystem::path shared = "/dev/shm";
    const auto folder =
        std::filesystem::is_directory(shared, error) ? shared : std::filesystem::temp_directory_path();
    path_ = (folder / ("partita-fuzz-" + std::to_string(getpid()) + ending)).string();
  }
  ~ScratchFile() { unlink(path_.c_str()); }
  const std::string& Put(std::string_view bytes) const {
    std::ofstream stream(path_, std::ios::binary | std::ios::trunc);
    stream.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    return path_;
  }

 private:
  std::string path_;
};

}  // namespace partita::fuzz
