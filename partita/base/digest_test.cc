#include "partita/base/digest.h"

#include <gtest/gtest.h>

namespace partita {
namespace {

TEST(Digest, KnownAnswers) {
  EXPECT_EQ(Sha256Hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  EXPECT_EQ(Sha256Hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
  EXPECT_EQ(DigestHex("md5", "abc").ValueOrDie(), "900150983cd24fb0d6963f7d28e17f72");
  EXPECT_EQ(DigestHex("sha256", "abc").ValueOrDie(), Sha256Hex("abc"));
  EXPECT_EQ(DigestHex("sha512", "").ValueOrDie().substr(0, 16), "cf83e1357eefb8bd");
  // Written to files: it must never change.
  EXPECT_EQ(Checksum64("", 0), 0x2d06800538d394c2u);
}

TEST(Digest, UnknownKindIsTheUsersError) {
  EXPECT_EQ(KindOf(DigestHex("crc", "abc").status()), ErrorKind::kUser);
}

TEST(Digest, ChecksumSeesEachBitAndTheSeed) {
  std::string bytes(1000, 'x');
  const uint64_t sum = Checksum64(bytes.data(), 1000);
  for (size_t i = 0; i < bytes.size(); i += 37) {
    bytes[i] ^= 1;
    EXPECT_NE(Checksum64(bytes.data(), 1000), sum);
    bytes[i] ^= 1;
  }
  EXPECT_EQ(Checksum64(bytes.data(), 1000), sum);
  EXPECT_NE(Checksum64(bytes.data(), 1000, 1), sum);
}

}  // namespace
}  // namespace partita
