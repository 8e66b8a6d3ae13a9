#include "partita/base/digest.h"

#include <openssl/evp.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace partita {
namespace {

std::string Hex(const EVP_MD* kind, std::string_view bytes) {
  static constexpr char kHex[] = "0123456789abcdef";
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  // Fails only where the OpenSSL of the process forbids the algorithm; then the result is empty.
  if (EVP_Digest(bytes.data(), bytes.size(), digest, &size, kind, nullptr) != 1) return "";
  std::string out;
  out.reserve(2 * size);
  for (unsigned int i = 0; i < size; ++i) {
    out += kHex[digest[i] >> 4];
    out += kHex[digest[i] & 15];
  }
  return out;
}

}  // namespace

std::string Sha256Hex(std::string_view bytes) { return Hex(EVP_sha256(), bytes); }

Result<std::string> DigestHex(std::string_view kind, std::string_view bytes) {
  const EVP_MD* algorithm = kind == "md5"      ? EVP_md5()
                            : kind == "sha256" ? EVP_sha256()
                            : kind == "sha512" ? EVP_sha512()
                                               : nullptr;
  if (algorithm == nullptr) {
    return UserError("unknown digest '" + std::string(kind) + "'", "use md5, sha256 or sha512");
  }
  std::string hex = Hex(algorithm, bytes);
  if (hex.empty()) {
    return EnvironmentError(
        "the OpenSSL of this machine does not allow the digest '" + std::string(kind) + "'", "use sha256",
        /*retriable=*/false);
  }
  return hex;
}

uint64_t Checksum64(const void* data, int64_t size_bytes, uint64_t seed) {
  return XXH3_64bits_withSeed(data, static_cast<size_t>(size_bytes), seed);
}

}  // namespace partita
