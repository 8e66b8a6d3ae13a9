// Page headers, as libparquet writes them and as nobody should.
#include "partita/storage/parquet/page_header.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace partita {
namespace {

// type 0, sizes 1000 and 300, crc, data header {7 values, PLAIN, RLE, RLE, statistics {min: "abc", count:
// 0}}.
std::string DataHeader() {
  return std::string("\x15\x00\x15\xD0\x0F\x15\xD8\x04\x15\x02", 10) +
         std::string("\x1C\x15\x0E\x15\x00\x15\x06\x15\x06\x1C\x28\x03", 12) + "abc" +
         std::string("\x16\x00\x00\x00\x00", 5);
}

TEST(ParquetPageHeaderTest, AHeaderOfVersion1) {
  const std::string bytes = DataHeader();
  const auto header = *ParsePageHeader(bytes + "the page");
  ASSERT_TRUE(header.has_value());
  EXPECT_TRUE(header->is(PageHeader::Type::kData));
  EXPECT_EQ(header->header_bytes, static_cast<int64_t>(bytes.size()));
  EXPECT_EQ(header->uncompressed_bytes, 1000);
  EXPECT_EQ(header->compressed_bytes, 300);
  EXPECT_EQ(header->num_values, 7);
  EXPECT_EQ(header->encoding, 0);
  EXPECT_EQ(header->definition_encoding, 3);
}

TEST(ParquetPageHeaderTest, AHeaderOfVersion2) {
  // type 3; field 8 comes five ids after field 3: {9 values, 1 null, 9 rows, PLAIN, 6, 0, not compressed}.
  const std::string bytes(
      "\x15\x06\x15\xC8\x01\x15\xC8\x01\x5C\x15\x12\x15\x02\x15\x12\x15\x00\x15\x0C\x15\x00\x12\x00\x00", 24);
  const auto header = *ParsePageHeader(bytes);
  ASSERT_TRUE(header.has_value());
  EXPECT_TRUE(header->is(PageHeader::Type::kDataV2));
  EXPECT_EQ(header->num_values, 9);
  EXPECT_EQ(header->encoding, 0);
  EXPECT_EQ(header->definition_bytes, 6);
  EXPECT_FALSE(header->compressed);
}

TEST(ParquetPageHeaderTest, AnyPartOfAHeaderIsNoHeader) {
  const std::string bytes = DataHeader();
  for (size_t n = 0; n < bytes.size(); ++n) {
    const auto header = ParsePageHeader(std::string_view(bytes).substr(0, n));
    ASSERT_TRUE(header.ok()) << n << header.status().ToString();
    EXPECT_FALSE(header->has_value()) << n;
  }
}

TEST(ParquetPageHeaderTest, NegativeSizesAndLevelsLargerThanThePage) {
  EXPECT_FALSE(ParsePageHeader(std::string("\x15\x00\x15\x01\x15\x02\x00", 7)).ok());
  EXPECT_FALSE(ParsePageHeader(std::string("\x15\x06\x15\x04\x15\x04\x5C\x55\x0C\x00\x00", 11)).ok());
  EXPECT_FALSE(ParsePageHeader(std::string("\x15\x00\x00", 3)).ok());
  EXPECT_FALSE(ParsePageHeader(std::string(4096, '\x1C')).ok()) << "structs without end";
}

TEST(ParquetPageHeaderTest, DamagedBytes) {
  std::mt19937_64 random(4);
  const std::string good = DataHeader();
  for (int i = 0; i < 20000; ++i) {
    std::string bad = good;
    for (uint64_t n = 1 + random() % 5; n > 0; --n) bad[random() % bad.size()] = static_cast<char>(random());
    const auto header = ParsePageHeader(bad);
    if (!header.ok() || !header->has_value()) continue;
    EXPECT_GE((*header)->uncompressed_bytes, 0);
    EXPECT_GE((*header)->compressed_bytes, 0);
    EXPECT_GE((*header)->num_values, 0);
    EXPECT_LE((*header)->levels_bytes(), (*header)->compressed_bytes);
    EXPECT_LE((*header)->header_bytes, static_cast<int64_t>(bad.size()));
  }
}

}  // namespace
}  // namespace partita
