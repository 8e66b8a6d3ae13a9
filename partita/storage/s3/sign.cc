#include "partita/storage/s3/sign.h"

#include <nettle/hmac.h>
#include <nettle/sha2.h>

#include <algorithm>
#include <ctime>

#include "partita/base/digest.h"

namespace partita {
namespace {

constexpr char kHex[] = "0123456789abcdef";
constexpr char kUpperHex[] = "0123456789ABCDEF";

std::string Hmac(std::string_view key, std::string_view message) {
  hmac_sha256_ctx context;
  hmac_sha256_set_key(&context, key.size(), reinterpret_cast<const uint8_t*>(key.data()));
  hmac_sha256_update(&context, message.size(), reinterpret_cast<const uint8_t*>(message.data()));
  std::string digest(SHA256_DIGEST_SIZE, '\0');
  hmac_sha256_digest(&context, digest.size(), reinterpret_cast<uint8_t*>(digest.data()));
  return digest;
}

std::string Hex(std::string_view bytes) {
  std::string out;
  for (const unsigned char byte : bytes) {
    out += kHex[byte >> 4];
    out += kHex[byte & 15];
  }
  return out;
}

std::string TimeText(int64_t unix_seconds) {
  const auto seconds = static_cast<std::time_t>(unix_seconds);
  std::tm utc{};
  gmtime_r(&seconds, &utc);
  char text[32];
  std::strftime(text, sizeof text, "%Y%m%dT%H%M%SZ", &utc);
  return text;
}

}  // namespace

std::string EncodeUri(std::string_view text, bool keep_slash) {
  std::string out;
  out.reserve(text.size());
  for (const unsigned char c : text) {
    const bool plain = (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
                       c == '-' || c == '.' || c == '_' || c == '~' || (c == '/' && keep_slash);
    if (plain) {
      out += static_cast<char>(c);
    } else {
      out += '%';
      out += kUpperHex[c >> 4];
      out += kUpperHex[c & 15];
    }
  }
  return out;
}

std::string EncodeQuery(std::vector<std::pair<std::string, std::string>> query) {
  for (auto& [name, value] : query) {
    name = EncodeUri(name, false);
    value = EncodeUri(value, false);
  }
  std::sort(query.begin(), query.end());
  std::string out;
  for (const auto& [name, value] : query) out += (out.empty() ? "" : "&") + name + "=" + value;
  return out;
}

std::vector<std::string> SignedHeaders(const UnsignedRequest& request, const S3Credentials& credentials,
                                       std::string_view region, int64_t unix_seconds) {
  auto headers = request.headers;
  std::vector<std::string> lines;
  if (credentials.anonymous()) {
    for (const auto& [name, value] : headers) lines.push_back(name + ": " + value);
    return lines;
  }
  const std::string time = TimeText(unix_seconds);
  const std::string date = time.substr(0, 8);
  headers.emplace_back("x-amz-content-sha256", request.payload_sha256);
  headers.emplace_back("x-amz-date", time);
  if (!credentials.session_token.empty())
    headers.emplace_back("x-amz-security-token", credentials.session_token);
  for (const auto& [name, value] : headers) lines.push_back(name + ": " + value);
  headers.emplace_back("host", request.host);
  std::sort(headers.begin(), headers.end());
  std::string names, canonical_headers;
  for (const auto& [name, value] : headers) {
    names += (names.empty() ? "" : ";") + name;
    canonical_headers += name + ":" + value + "\n";
  }
  const std::string canonical = request.method + "\n" + request.path + "\n" + request.query + "\n" +
                                canonical_headers + "\n" + names + "\n" + request.payload_sha256;
  const std::string scope = date + "/" + std::string(region) + "/s3/aws4_request";
  const std::string to_sign = "AWS4-HMAC-SHA256\n" + time + "\n" + scope + "\n" + Sha256Hex(canonical);
  const std::string date_key = Hmac("AWS4" + credentials.secret_access_key, date);
  const std::string key = Hmac(Hmac(Hmac(date_key, region), "s3"), "aws4_request");
  lines.push_back("Authorization: AWS4-HMAC-SHA256 Credential=" + credentials.access_key_id + "/" + scope +
                  ",SignedHeaders=" + names + ",Signature=" + Hex(Hmac(key, to_sign)));
  return lines;
}

static_assert(sizeof(sha256_ctx) <= 256);

PayloadDigest::PayloadDigest() { sha256_init(reinterpret_cast<sha256_ctx*>(state_)); }

void PayloadDigest::Update(const void* data, int64_t size_bytes) {
  sha256_update(reinterpret_cast<sha256_ctx*>(state_), static_cast<size_t>(size_bytes),
                static_cast<const uint8_t*>(data));
}

std::string PayloadDigest::Hex() {
  std::string digest(SHA256_DIGEST_SIZE, '\0');
  sha256_digest(reinterpret_cast<sha256_ctx*>(state_), digest.size(),
                reinterpret_cast<uint8_t*>(digest.data()));
  return partita::Hex(digest);
}

}  // namespace partita
