#include "components/image/download_url.h"

#include <arpa/inet.h>
#include <netinet/in.h>

#include <algorithm>
#include <cctype>
#include <cstdint>
#include <cstring>
#include <memory>

#include "partita/storage/http/libcurl.h"

namespace partita {
namespace {

constexpr size_t kMaxUrlBytes = 16 << 10;

struct UrlDeleter {
  void operator()(CURLU* url) const { Curl().url_cleanup(url); }
};
using UrlHandle = std::unique_ptr<CURLU, UrlDeleter>;

Result<std::string> Part(CURLU* url, CURLUPart part, unsigned flags = 0) {
  char* text = nullptr;
  const CURLUcode code = Curl().url_get(url, part, &text, flags);
  if (code != CURLUE_OK) return Status::KeyError("no such part");
  std::string out(text);
  Curl().free(text);
  return out;
}

Status InvalidUrl() { return DataError("invalid url"); }

struct Network4 {
  uint32_t address;
  int prefix;
};
// IANA special-purpose registry: everything that is not globally reachable.
constexpr Network4 kPrivate4[] = {
    {0x00000000, 8},  {0x0A000000, 8},  {0x64400000, 10}, {0x7F000000, 8},  {0xA9FE0000, 16},
    {0xAC100000, 12}, {0xC0000000, 24}, {0xC0000200, 24}, {0xC0586300, 24}, {0xC0A80000, 16},
    {0xC6120000, 15}, {0xC6336400, 24}, {0xCB007100, 24}, {0xE0000000, 4},  {0xF0000000, 4},
};

bool IsPrivate4(uint32_t address) {
  for (const Network4& network : kPrivate4) {
    if ((address >> (32 - network.prefix)) == (network.address >> (32 - network.prefix))) return true;
  }
  return false;
}

uint32_t Read32(const uint8_t* bytes) {
  return uint32_t{bytes[0]} << 24 | uint32_t{bytes[1]} << 16 | uint32_t{bytes[2]} << 8 | bytes[3];
}

bool IsPrivate6(const uint8_t* a) {
  static constexpr uint8_t kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF};
  static constexpr uint8_t kNat64[12] = {0, 0x64, 0xFF, 0x9B};
  if (std::memcmp(a, kMapped, 12) == 0 || std::memcmp(a, kNat64, 12) == 0) return IsPrivate4(Read32(a + 12));
  if ((a[0] & 0xE0) != 0x20) return true;                              // only 2000::/3 is global unicast
  if (a[0] == 0x20 && a[1] == 0x02) return IsPrivate4(Read32(a + 2));  // 6to4
  if (a[0] == 0x20 && a[1] == 0x01) {
    if (a[2] == 0x0D && a[3] == 0xB8) return true;  // documentation
    if (a[2] < 0x02) return true;                   // 2001::/23: Teredo, ORCHID, benchmarking
  }
  return a[0] == 0x3F && a[1] == 0xFF && a[2] < 0x10;  // 3fff::/20, documentation
}

}  // namespace

Result<HttpUrl> ParseHttpUrl(std::string_view url) {
  while (!url.empty() && std::isspace(static_cast<unsigned char>(url.front()))) url.remove_prefix(1);
  while (!url.empty() && std::isspace(static_cast<unsigned char>(url.back()))) url.remove_suffix(1);
  if (url.empty() || url.size() > kMaxUrlBytes || url.find('\0') != std::string_view::npos)
    return InvalidUrl();
  ARROW_RETURN_NOT_OK(LoadCurl());
  UrlHandle handle(Curl().url());
  if (!handle) return Status::OutOfMemory("no memory for a URL");
  const std::string text(url);
  if (Curl().url_set(handle.get(), CURLUPART_URL, text.c_str(), CURLU_NON_SUPPORT_SCHEME | CURLU_URLENCODE) !=
      CURLUE_OK) {
    return InvalidUrl();
  }
  Curl().url_set(handle.get(), CURLUPART_FRAGMENT, nullptr, 0);
  auto scheme = Part(handle.get(), CURLUPART_SCHEME);
  if (!scheme.ok()) return InvalidUrl();
  HttpUrl out;
  out.https = *scheme == "https";
  if (!out.https && *scheme != "http") return DataError("unsupported scheme");
  auto host = Part(handle.get(), CURLUPART_HOST);
  auto port = Part(handle.get(), CURLUPART_PORT, CURLU_DEFAULT_PORT);
  auto path = Part(handle.get(), CURLUPART_PATH);
  auto whole = Part(handle.get(), CURLUPART_URL);
  if (!host.ok() || !port.ok() || !path.ok() || !whole.ok() || host->empty()) return InvalidUrl();
  for (char c : *host) {
    if (c == 0x7F) return InvalidUrl();  // "%7f": libcurl decodes it, and would not read it again
    out.host += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  }
  if (out.host.size() > 1 && out.host.back() == '.') out.host.pop_back();
  out.text = std::move(*whole);
  out.origin = *scheme + "://" + out.host + ":" + *port;
  out.path = std::move(*path);
  if (auto query = Part(handle.get(), CURLUPART_QUERY); query.ok()) out.path += "?" + *query;
  return out;
}

std::string RedactUrl(std::string_view url) {
  std::string out(url.substr(0, kMaxUrlBytes));
  const size_t scheme = out.find("://");
  const size_t start = scheme == std::string::npos ? 0 : scheme + 3;
  const size_t end = std::min(out.find_first_of("/?#", start), out.size());
  const size_t at = out.rfind('@', end == 0 ? 0 : end - 1);
  if (at != std::string::npos && at >= start && at < end) {
    out.erase(start, at - start);
    out.insert(start, "***");
  }
  for (char& c : out) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) c = '?';
  }
  if (out.size() > 200) {
    out.resize(197);
    out.append("...");
  }
  return out;
}

bool IsPrivateAddress(const sockaddr& address) {
  if (address.sa_family == AF_INET) {
    sockaddr_in in;
    std::memcpy(&in, &address, sizeof in);
    return IsPrivate4(ntohl(in.sin_addr.s_addr));
  }
  if (address.sa_family == AF_INET6) {
    sockaddr_in6 in;
    std::memcpy(&in, &address, sizeof in);
    return IsPrivate6(in.sin6_addr.s6_addr);
  }
  return true;
}

bool IsPrivateLiteral(std::string_view host) {
  const std::string text(host.size() > 1 && host.front() == '[' ? host.substr(1, host.size() - 2) : host);
  in_addr v4;
  if (inet_pton(AF_INET, text.c_str(), &v4) == 1) return IsPrivate4(ntohl(v4.s_addr));
  in6_addr v6;
  if (inet_pton(AF_INET6, text.substr(0, text.find('%')).c_str(), &v6) == 1) return IsPrivate6(v6.s6_addr);
  return false;
}

}  // namespace partita
