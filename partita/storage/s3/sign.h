// AWS Signature Version 4 in headers, as S3 wants it. Pure.
// https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace partita {

struct S3Credentials {
  std::string access_key_id, secret_access_key, session_token;
  bool anonymous() const { return access_key_id.empty(); }
};

// Percent-encodes all but letters, digits and "-._~"; keeps "/" where it separates the parts of a key.
std::string EncodeUri(std::string_view text, bool keep_slash);
// "a=1&b=" of names and values, encoded and in the order in which they are signed.
std::string EncodeQuery(std::vector<std::pair<std::string, std::string>> query);

struct UnsignedRequest {
  std::string method, host;
  std::string path;                                          // "/bucket/key", encoded
  std::string query;                                         // of EncodeQuery
  std::vector<std::pair<std::string, std::string>> headers;  // beside host; names in lower case
  std::string payload_sha256;                                // of the body, in hex
};
// The header lines to send (without Host): those of `request`, and what signing adds.
std::vector<std::string> SignedHeaders(const UnsignedRequest& request, const S3Credentials& credentials,
                                       std::string_view region, int64_t unix_seconds);

// SHA-256 of what is sent in pieces.
class PayloadDigest {
 public:
  PayloadDigest();
  void Update(const void* data, int64_t size_bytes);
  std::string Hex();  // and begins anew

 private:
  alignas(16) unsigned char state_[256];
};

}  // namespace partita
