// Digests. SHA-256 names things (plans, snapshots, components, files); XXH3 guards bytes against corruption
// (spill, log).
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "partita/base/error.h"

namespace partita {

std::string Sha256Hex(std::string_view bytes);
// kind: "md5", "sha256", "sha512". Lower-case hex. Unknown kinds are user errors.
Result<std::string> DigestHex(std::string_view kind, std::string_view bytes);
// A number that a purpose and its seed stand for, like "sample/7": purposes with the same seed have nothing
// to do with each other. The first 64 bits of its SHA-256.
uint64_t SeedKey(std::string_view purpose);
uint64_t Checksum64(const void* data, int64_t size_bytes, uint64_t seed = 0);

// Checksum64 (seed 0) of bytes that come in pieces.
class Checksummer {
 public:
  Checksummer();
  ~Checksummer();
  void Reset();
  void Update(const void* data, int64_t size_bytes);
  uint64_t Value() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace partita
