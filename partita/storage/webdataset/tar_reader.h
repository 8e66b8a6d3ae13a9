// Streams through a tar archive: ustar, pax and GNU long names; regular files only. Internal to storage/.
//
// Written here, not taken from libarchive, because that converts names by the process's locale: the same
// archive would have other names (or none) on another host.
//
// Nothing in the archive is believed: header checksums, sizes and names are checked, extended headers are
// bounded (1 MiB), sparse members are refused. Directories, links, devices and vendor records are left out.
// An archive that ends without its end mark was cut: a data error.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "partita/base/error.h"
#include "partita/storage/byte_source.h"

namespace partita {

struct TarMember {
  std::string name;  // without a leading "./"
  int64_t size_bytes = 0;
  // Not OK: the name is hostile (absolute, "..", NUL, not UTF-8, too long). The member's bytes are skipped.
  Status bad_name;
};

class TarReader {
 public:
  explicit TarReader(std::unique_ptr<ByteSource> source) : source_(std::move(source)) {}

  // The next regular file, or nullopt at the end. What was not read of the member before is skipped. Data
  // errors are final. Every call may be repeated after an OutOfMemory.
  Result<std::optional<TarMember>> Next();
  // Up to `size` bytes of the current member; 0 at its end.
  Result<int64_t> Read(int64_t size, uint8_t* out);
  int64_t left_in_member_bytes() const { return member_left_; }
  int64_t position_bytes() const { return position_; }
  int64_t bytes_read() const { return source_->bytes_read(); }

 private:
  static constexpr size_t kBlockBytes = 512;

  Result<bool> ReadHeader();
  Status TakeHeader(std::optional<TarMember>* member);
  Status BeginRegular(std::optional<TarMember>* member);
  Status SkipLeft();
  Status CollectExtended();
  Status ParsePax();
  Status Damaged(const std::string& what);
  std::string HeaderName() const;

  std::unique_ptr<ByteSource> source_;
  char header_[kBlockBytes];
  size_t header_filled_ = 0;
  int64_t position_ = 0;
  int64_t member_left_ = 0, padding_left_ = 0;
  char extended_type_ = 0;  // 'x', 'g', 'L', 'K' while its data is collected
  int64_t extended_left_ = 0;
  std::string extended_;
  std::optional<std::string> next_name_;  // from pax or GNU records, for the next member
  std::optional<int64_t> next_size_;
  bool ended_ = false;
  Status failed_;
};

}  // namespace partita
