#include "partita/storage/webdataset/tar_reader.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "partita/base/env.h"
#include "partita/base/utf8.h"

namespace partita {
namespace {

constexpr int64_t kMaxExtendedBytes = 1 << 20;
constexpr size_t kMaxNameBytes = 4096;

// Offsets and lengths of header fields (POSIX.1-1988).
constexpr size_t kNameAt = 0, kNameSize = 100, kSizeAt = 124, kSizeSize = 12, kChecksumAt = 148,
                 kChecksumSize = 8, kTypeAt = 156, kMagicAt = 257, kPrefixAt = 345, kPrefixSize = 155;

// Octal digits, or GNU's base 256 (first bit set). False when it is neither, or negative.
bool ParseNumber(std::string_view field, int64_t* out) {
  const auto byte = [&](size_t i) { return static_cast<unsigned char>(field[i]); };
  if ((byte(0) & 0x80) != 0) {
    if (byte(0) != 0x80) return false;  // negative, or beyond what 12 bytes may say
    uint64_t value = 0;
    for (size_t i = 1; i < field.size(); ++i) {
      if (value >> 55 != 0) return false;
      value = value << 8 | byte(i);
    }
    *out = static_cast<int64_t>(value);
    return true;
  }
  size_t i = 0;
  while (i < field.size() && field[i] == ' ') ++i;
  uint64_t value = 0;
  size_t digits = 0;
  for (; i < field.size() && field[i] >= '0' && field[i] <= '7'; ++i, ++digits)
    value = value * 8 + static_cast<uint64_t>(field[i] - '0');
  if (i < field.size() && field[i] != ' ' && field[i] != '\0') return false;
  if (digits == 0 && field.find_first_not_of(std::string_view(" \0", 2)) != std::string_view::npos)
    return false;
  *out = static_cast<int64_t>(value);
  return true;
}

std::string_view UntilNul(const char* text, size_t size) {
  return {text, static_cast<size_t>(std::find(text, text + size, '\0') - text)};
}

Status CheckName(std::string_view name) {
  if (name.size() > kMaxNameBytes) return DataError("a member's name is longer than 4096 bytes");
  if (!IsUtf8(name)) return DataError("a member's name is not valid UTF-8");
  if (!IsSafeRelativePath(name)) {
    return DataError("the member name '" + std::string(name.substr(0, 100)) +
                     "' is unsafe: absolute, empty, or with '..'");
  }
  return Status::OK();
}

}  // namespace

Status TarReader::Damaged(const std::string& what) {
  failed_ = DataError(what + " at byte " + std::to_string(position_) + " of the archive",
                      "get the file again from its source, or check that it is a tar archive");
  return failed_;
}

Result<int64_t> TarReader::Read(int64_t size, uint8_t* out) {
  ARROW_RETURN_NOT_OK(failed_);
  const int64_t ask = std::min(size, member_left_);
  if (ask == 0) return 0;
  ARROW_ASSIGN_OR_RAISE(const int64_t got, source_->Read(ask, out));
  if (got == 0) return Damaged("the archive ends inside a member,");
  position_ += got;
  member_left_ -= got;
  return got;
}

Status TarReader::SkipLeft() {
  while (member_left_ + padding_left_ > 0) {
    ARROW_ASSIGN_OR_RAISE(const int64_t got, source_->Skip(member_left_ + padding_left_));
    if (got == 0) return Damaged("the archive ends inside a member,");
    position_ += got;
    const int64_t of_member = std::min(got, member_left_);
    member_left_ -= of_member;
    padding_left_ -= got - of_member;
  }
  return Status::OK();
}

// Fills header_; false at the archive's end.
Result<bool> TarReader::ReadHeader() {
  while (header_filled_ < kBlockBytes) {
    ARROW_ASSIGN_OR_RAISE(const int64_t got,
                          source_->Read(static_cast<int64_t>(kBlockBytes - header_filled_),
                                        reinterpret_cast<uint8_t*>(header_) + header_filled_));
    if (got == 0) {
      if (position_ == 0) return false;  // an empty file
      return Damaged("the archive ends without its end mark,");
    }
    header_filled_ += static_cast<size_t>(got);
    position_ += got;
  }
  header_filled_ = 0;
  const bool zeros = std::all_of(header_, header_ + kBlockBytes, [](char c) { return c == 0; });
  if (zeros) return false;
  // The sum of all bytes, with spaces for the checksum itself; some old writers summed signed bytes.
  int64_t stated = 0, plain = 0, with_sign = 0;
  for (size_t i = 0; i < kBlockBytes; ++i) {
    const bool blank = i >= kChecksumAt && i < kChecksumAt + kChecksumSize;
    plain += blank ? ' ' : static_cast<unsigned char>(header_[i]);
    with_sign += blank ? ' ' : static_cast<signed char>(header_[i]);
  }
  if (!ParseNumber({header_ + kChecksumAt, kChecksumSize}, &stated) ||
      (stated != plain && stated != with_sign)) {
    return Damaged("no tar header is found");
  }
  return true;
}

std::string TarReader::HeaderName() const {
  std::string name(UntilNul(header_ + kNameAt, kNameSize));
  // GNU's variant ("ustar " with a space) has other fields where POSIX has the prefix.
  if (std::memcmp(header_ + kMagicAt, "ustar\0", 6) == 0) {
    const std::string_view prefix = UntilNul(header_ + kPrefixAt, kPrefixSize);
    if (!prefix.empty()) return std::string(prefix) + "/" + name;
  }
  return name;
}

Status TarReader::ParsePax() {
  std::string_view rest = extended_;
  while (!rest.empty()) {
    // "<length> <key>=<value>\n", the length counts itself.
    size_t length = 0;
    const auto [after, error] = std::from_chars(rest.data(), rest.data() + rest.size(), length);
    const auto digits = static_cast<size_t>(after - rest.data());
    if (error != std::errc() || length > rest.size() || length < digits + 3 || *after != ' ' ||
        rest[length - 1] != '\n') {
      return Damaged("an extended header is damaged");
    }
    const std::string_view record = rest.substr(digits + 1, length - digits - 2);
    rest.remove_prefix(length);
    const size_t equals = record.find('=');
    if (equals == std::string_view::npos) return Damaged("an extended header is damaged");
    const std::string_view key = record.substr(0, equals), value = record.substr(equals + 1);
    if (key.substr(0, 11) == "GNU.sparse.") return Damaged("a sparse member, which cannot be read,");
    if (extended_type_ == 'g') continue;  // a global name or size would be nonsense
    if (key == "path") {
      next_name_ = std::string(value);
    } else if (key == "size") {
      int64_t size = 0;
      const auto result = std::from_chars(value.data(), value.data() + value.size(), size);
      if (result.ec != std::errc() || result.ptr != value.data() + value.size() || size < 0) {
        return Damaged("an extended header has a bad size");
      }
      next_size_ = size;
    }
  }
  return Status::OK();
}

Status TarReader::CollectExtended() {
  while (extended_left_ > 0) {
    char window[4096];
    ARROW_ASSIGN_OR_RAISE(const int64_t got, source_->Read(std::min<int64_t>(extended_left_, sizeof(window)),
                                                           reinterpret_cast<uint8_t*>(window)));
    if (got == 0) return Damaged("the archive ends inside an extended header,");
    extended_.append(window, static_cast<size_t>(got));
    position_ += got;
    extended_left_ -= got;
  }
  if (extended_type_ == 'x' || extended_type_ == 'g') {
    ARROW_RETURN_NOT_OK(ParsePax());
  } else if (extended_type_ == 'L') {
    next_name_ = extended_.substr(0, extended_.find('\0'));
  }
  extended_type_ = 0;
  extended_.clear();
  return Status::OK();
}

// Makes the regular file that the header describes the current member.
Status TarReader::BeginRegular(std::optional<TarMember>* member) {
  TarMember found;
  found.name = next_name_ ? std::move(*next_name_) : HeaderName();
  found.size_bytes = member_left_;
  next_name_.reset();
  next_size_.reset();
  if (found.name.ends_with('/')) return Status::OK();  // how old archives write a folder
  while (found.name.starts_with("./")) found.name.erase(0, 2);
  found.bad_name = CheckName(found.name);
  *member = std::move(found);
  return Status::OK();
}

Status TarReader::TakeHeader(std::optional<TarMember>* member) {
  int64_t size = 0;
  if (!ParseNumber({header_ + kSizeAt, kSizeSize}, &size)) return Damaged("a header has a bad size");
  const char type = header_[kTypeAt];
  const bool extended = type == 'x' || type == 'g' || type == 'L' || type == 'K';
  if (!extended && next_size_) size = *next_size_;
  if (size > INT64_MAX - position_ - static_cast<int64_t>(kBlockBytes))
    return Damaged("a header has a bad size");
  if (type >= '1' && type <= '6')
    size = 0;  // links, devices, folders: whatever the size says, no data follows
  if (type == 'S') return Damaged("a sparse member, which cannot be read,");
  padding_left_ = (static_cast<int64_t>(kBlockBytes) - size % static_cast<int64_t>(kBlockBytes)) %
                  static_cast<int64_t>(kBlockBytes);
  if (extended) {
    if (size > kMaxExtendedBytes) return Damaged("an extended header is larger than 1 MiB");
    extended_type_ = type;
    extended_left_ = size;
    return Status::OK();
  }
  member_left_ = size;
  if (type == '0' || type == '\0' || type == '7') return BeginRegular(member);
  next_name_.reset();
  next_size_.reset();
  return Status::OK();
}

Result<std::optional<TarMember>> TarReader::Next() {
  ARROW_RETURN_NOT_OK(failed_);
  while (!ended_) {
    if (extended_type_ != 0) ARROW_RETURN_NOT_OK(CollectExtended());
    ARROW_RETURN_NOT_OK(SkipLeft());
    ARROW_ASSIGN_OR_RAISE(const bool more, ReadHeader());
    if (!more) {
      ended_ = true;
      break;
    }
    std::optional<TarMember> member;
    ARROW_RETURN_NOT_OK(TakeHeader(&member));
    if (member) return member;
  }
  return std::nullopt;
}

}  // namespace partita
