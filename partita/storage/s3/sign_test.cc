#include "partita/storage/s3/sign.h"

#include <gtest/gtest.h>

#include "partita/base/digest.h"

namespace partita {
namespace {

// The examples of Amazon's documentation of the signature, 24 May 2013.
const S3Credentials kExample{"AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", ""};
constexpr int64_t kExampleTime = 1369353600;

std::string SignatureOf(const UnsignedRequest& request) {
  const std::string line = SignedHeaders(request, kExample, "us-east-1", kExampleTime).back();
  return line.substr(line.rfind('=') + 1);
}

UnsignedRequest Example(std::string path, std::string query) {
  UnsignedRequest request;
  request.method = "GET";
  request.host = "examplebucket.s3.amazonaws.com";
  request.path = std::move(path);
  request.query = std::move(query);
  request.payload_sha256 = Sha256Hex("");
  return request;
}

TEST(SignTest, AgreesWithTheDocumentedExamples) {
  auto object = Example("/test.txt", "");
  object.headers = {{"range", "bytes=0-9"}};
  EXPECT_EQ(SignatureOf(object), "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
  EXPECT_EQ(SignatureOf(Example("/", "lifecycle=")),
            "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
  EXPECT_EQ(SignatureOf(Example("/", EncodeQuery({{"prefix", "J"}, {"max-keys", "2"}}))),
            "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
}

TEST(SignTest, EncodesWhatKeysMayHold) {
  EXPECT_EQ(EncodeUri("a b/ü+%.txt", true), "a%20b/%C3%BC%2B%25.txt");
  EXPECT_EQ(EncodeUri("a/b", false), "a%2Fb");
  EXPECT_EQ(EncodeQuery({{"uploads", ""}, {"prefix", "x/y"}}), "prefix=x%2Fy&uploads=");
}

TEST(SignTest, SendsNothingOfNobody) {
  auto request = Example("/", "");
  request.headers = {{"if-match", "\"e\""}};
  EXPECT_EQ(SignedHeaders(request, {}, "us-east-1", 0), std::vector<std::string>{"if-match: \"e\""});
}

TEST(SignTest, DigestsInPieces) {
  PayloadDigest digest;
  digest.Update("ab", 2);
  digest.Update("c", 1);
  EXPECT_EQ(digest.Hex(), Sha256Hex("abc"));
  EXPECT_EQ(digest.Hex(), Sha256Hex(""));
}

}  // namespace
}  // namespace partita
