// URLs as a downloader sees them, and which addresses it must not talk to. Pure functions; thread-safe.
#pragma once

#include <string>
#include <string_view>

#include "partita/base/error.h"

struct sockaddr;

namespace partita {

struct HttpUrl {
  std::string text;    // normalised, without fragment
  std::string host;    // lower case, without a final dot; IPv6 in brackets
  std::string origin;  // "https://host:443"
  std::string path;    // with the query; starts with "/"
  bool https = false;
};

// Data errors "invalid url" and "unsupported scheme": the messages carry nothing of the URL. Spaces and bytes
// beyond ASCII are escaped, as browsers do.
Result<HttpUrl> ParseHttpUrl(std::string_view url);

// The URL for people: user name and password replaced by "***", cut to 200 bytes.
std::string RedactUrl(std::string_view url);

// True unless the address is one of the public internet: loopback, private, shared (CGNAT), link-local,
// multicast, reserved, documentation, and IPv6 forms that stand for such an IPv4 address (mapped, compatible,
// 6to4, NAT64, Teredo).
bool IsPrivateAddress(const sockaddr& address);
// The same for a host that is a literal address; false for a name.
bool IsPrivateLiteral(std::string_view host);

}  // namespace partita
