#include "partita/base/digest.h"

#include <nettle/md5.h>
#include <nettle/nettle-meta.h>
#include <nettle/sha2.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>

#define XXH_INLINE_ALL
#include <xxhash.h>

namespace partita {
namespace {

constexpr size_t kMaxContextBytes = std::max({sizeof(md5_ctx), sizeof(sha256_ctx), sizeof(sha512_ctx)});

std::string Hex(const nettle_hash& kind, std::string_view bytes) {
  static constexpr char kHex[] = "0123456789abcdef";
  alignas(std::max_align_t) std::array<unsigned char, kMaxContextBytes> context;
  std::array<uint8_t, SHA512_DIGEST_SIZE> digest;
  kind.init(context.data());
  kind.update(context.data(), bytes.size(), reinterpret_cast<const uint8_t*>(bytes.data()));
  kind.digest(context.data(), kind.digest_size, digest.data());
  std::string out;
  out.reserve(2 * kind.digest_size);
  for (unsigned i = 0; i < kind.digest_size; ++i) {
    out += kHex[digest[i] >> 4];
    out += kHex[digest[i] & 15];
  }
  return out;
}

}  // namespace

std::string Sha256Hex(std::string_view bytes) { return Hex(nettle_sha256, bytes); }

Result<std::string> DigestHex(std::string_view kind, std::string_view bytes) {
  for (const nettle_hash* known : {&nettle_md5, &nettle_sha256, &nettle_sha512}) {
    if (kind == known->name) return Hex(*known, bytes);
  }
  return UserError("unknown digest '" + std::string(kind) + "'", "use md5, sha256 or sha512");
}

uint64_t SeedKey(std::string_view purpose) {
  const std::string digest = Sha256Hex(purpose);
  uint64_t key = 0;
  std::from_chars(digest.data(), digest.data() + 16, key, 16);
  return key;
}

uint64_t Checksum64(const void* data, int64_t size_bytes, uint64_t seed) {
  return XXH3_64bits_withSeed(data, static_cast<size_t>(size_bytes), seed);
}

struct Checksummer::State {
  XXH3_state_t xxh3;
};

Checksummer::Checksummer() : state_(std::make_unique<State>()) { Reset(); }
Checksummer::~Checksummer() = default;

void Checksummer::Reset() { XXH3_64bits_reset(&state_->xxh3); }

void Checksummer::Update(const void* data, int64_t size_bytes) {
  XXH3_64bits_update(&state_->xxh3, data, static_cast<size_t>(size_bytes));
}

uint64_t Checksummer::Value() const { return XXH3_64bits_digest(&state_->xxh3); }

}  // namespace partita
