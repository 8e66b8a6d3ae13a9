#include "partita/storage/webdataset/tar_writer.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <string>

namespace partita {
namespace {

constexpr int64_t kBlockBytes = 512, kRecordBytes = 10240;
constexpr int64_t kMaxOctalBytes = int64_t{8} << 30;  // 11 octal digits
constexpr size_t kNameBytes = 100;

// "<length> <key>=<value>\n", where the length counts itself.
std::string PaxRecord(std::string_view key, std::string_view value) {
  const std::string body = " " + std::string(key) + "=" + std::string(value) + "\n";
  size_t length = body.size();
  for (size_t digits = std::to_string(length).size();; digits = std::to_string(length).size()) {
    length = body.size() + digits;
    if (std::to_string(length).size() == digits) break;
  }
  return std::to_string(length) + body;
}

}  // namespace

void TarWriter::Header(std::string_view name, int64_t size_bytes, char type) {
  char header[kBlockBytes] = {};
  std::memcpy(header, name.data(), std::min(name.size(), kNameBytes));
  const auto octal = [&](size_t at, int digits, int64_t value) {
    char text[24];
    std::snprintf(text, sizeof(text), "%0*llo", digits, static_cast<unsigned long long>(value));
    std::memcpy(header + at, text, static_cast<size_t>(digits));
  };
  octal(100, 7, 0644);
  octal(108, 7, 0);
  octal(116, 7, 0);
  octal(124, 11, size_bytes < kMaxOctalBytes ? size_bytes : 0);
  octal(136, 11, 0);
  header[156] = type;
  std::memcpy(header + 257,
              "ustar\0"
              "00",
              8);
  octal(329, 7, 0);
  octal(337, 7, 0);
  std::memset(header + 148, ' ', 8);
  int64_t sum = 0;
  for (const char c : header) sum += static_cast<unsigned char>(c);
  octal(148, 6, sum);
  header[154] = '\0';
  out_->Append(std::string_view(header, sizeof(header)));
  written_ += kBlockBytes;
}

void TarWriter::Pad(int64_t multiple) {
  static constexpr char kZeros[kBlockBytes] = {};
  for (int64_t left = (multiple - written_ % multiple) % multiple; left > 0;) {
    const int64_t size = std::min(left, kBlockBytes);
    out_->Append(std::string_view(kZeros, static_cast<size_t>(size)));
    written_ += size;
    left -= size;
  }
}

void TarWriter::Begin(std::string_view name, int64_t size_bytes) {
  std::string pax;
  if (name.size() > kNameBytes) pax += PaxRecord("path", name);
  if (size_bytes >= kMaxOctalBytes) pax += PaxRecord("size", std::to_string(size_bytes));
  if (!pax.empty()) {
    Header("PaxHeader/member", static_cast<int64_t>(pax.size()), 'x');
    out_->Append(pax);
    written_ += static_cast<int64_t>(pax.size());
    Pad(kBlockBytes);
  }
  Header(name, size_bytes, '0');
  member_bytes_ = size_bytes;
}

void TarWriter::End() {
  written_ += member_bytes_;
  Pad(kBlockBytes);
}

void TarWriter::Finish() {
  static constexpr char kZeros[2 * kBlockBytes] = {};
  out_->Append(std::string_view(kZeros, sizeof(kZeros)));
  written_ += 2 * kBlockBytes;
  Pad(kRecordBytes);
}

}  // namespace partita
