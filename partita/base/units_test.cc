#include "partita/base/units.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>

namespace partita {
namespace {

constexpr int64_t kMax = std::numeric_limits<int64_t>::max();

TEST(Units, ParsesSizesAsPeopleWriteThem) {
  const struct {
    const char* text;
    int64_t bytes;
  } cases[] = {
      {"4096", 4096},
      {"0", 0},
      {"17 B", 17},
      {"2GiB", 2 * kGiB},
      {"512 MiB", 512 * kMiB},
      {"1.5G", kGiB + kGiB / 2},
      {"1.5 gib", kGiB + kGiB / 2},
      {"100kB", 100'000},
      {"100KB", 100'000},
      {"3 MB", 3'000'000},
      {"7GB", 7'000'000'000},
      {"1TB", 1'000'000'000'000},
      {"1Ti", 1024 * kGiB},
      {"0.3kB", 300},
      {".5K", 512},
      {"2.", 2},
      {" 8 k ", 8192},
      {"1.0000000000000000000000000000000001K", 1024},
      {"00000000000000000000000000001", 1},
      {"9223372036854775807", kMax},
      {"9007199254740993", 9007199254740993},  // a double cannot hold it
  };
  for (const auto& c : cases) {
    const auto parsed = ParseBytes(c.text);
    ASSERT_TRUE(parsed.ok()) << c.text << ": " << parsed.status();
    EXPECT_EQ(*parsed, c.bytes) << c.text;
  }
}

TEST(Units, RefusesWhatIsNoSize) {
  for (const char* text : {"",
                           " ",
                           "-1",
                           "-2GiB",
                           "nan",
                           "inf",
                           "NaN GiB",
                           "GiB",
                           ".",
                           "1e9",
                           "1..5",
                           "1.5",
                           "0.5B",
                           "12 parsecs",
                           "1 GiB 2",
                           "9223372036854775808",
                           "99999999999999999999",
                           "8388608TiB",
                           "1_000",
                           "1,5G",
                           "0x10",
                           "+1",
                           "1 G i B",
                           "\xff",
                           "1.5G\n"}) {
    const auto parsed = ParseBytes(text);
    ASSERT_FALSE(parsed.ok()) << text << " = " << *parsed;
    EXPECT_EQ(KindOf(parsed.status()), ErrorKind::kUser) << text;
    EXPECT_NE(DetailOf(parsed.status())->context.hint, "");
  }
}

TEST(Units, FormatsSizesWithThreeDigits) {
  EXPECT_EQ(FormatBytes(0), "0 B");
  EXPECT_EQ(FormatBytes(17), "17 B");
  EXPECT_EQ(FormatBytes(999), "999 B");
  EXPECT_EQ(FormatBytes(512 * kMiB), "512 MiB");
  EXPECT_EQ(FormatBytes(3 * kGiB / 2), "1.50 GiB");
  EXPECT_EQ(FormatBytes(kGiB), "1 GiB");
  EXPECT_EQ(FormatBytes(64 * kKiB), "64 KiB");
  EXPECT_EQ(FormatBytes(1023 * kMiB), "1.00 GiB");
  EXPECT_EQ(FormatBytes(kMax), "8 EiB");
  EXPECT_EQ(FormatBytes(-kMiB), "-1 MiB");
  EXPECT_EQ(FormatBytes(std::numeric_limits<int64_t>::min()), "-8 EiB");
}

TEST(Units, AFormattedSizeReadsBackWithinItsDigits) {
  std::mt19937_64 random(7);
  for (int i = 0; i < 20000; ++i) {
    const auto bytes = static_cast<int64_t>(random() >> (18 + random() % 46));  // up to 64 TiB
    const std::string text = FormatBytes(bytes);
    EXPECT_LE(std::count_if(text.begin(), text.end(), [](char c) { return c >= '0' && c <= '9'; }), 3)
        << text;
    if (text.back() == 'B' && text[text.size() - 2] == ' ') {
      EXPECT_EQ(ParseBytes(text).ValueOrDie(), bytes);
      continue;
    }
    const auto back = static_cast<double>(ParseBytes(text).ValueOrDie());
    EXPECT_NEAR(back, static_cast<double>(bytes), static_cast<double>(bytes) * 0.0055) << text;
  }
}

TEST(Units, EveryWholeNumberOfEveryUnitIsExact) {
  std::mt19937_64 random(11);
  const std::pair<const char*, int64_t> units[] = {
      {"", 1},           {"B", 1},      {"K", kKiB},       {"Ki", kKiB}, {"KiB", kKiB}, {"kB", 1000},
      {"M", kMiB},       {"MiB", kMiB}, {"MB", 1'000'000}, {"G", kGiB},  {"GiB", kGiB}, {"GB", 1'000'000'000},
      {"T", 1024 * kGiB}};
  for (int i = 0; i < 5000; ++i) {
    const auto& [name, unit] = units[random() % std::size(units)];
    const auto count = static_cast<int64_t>(random() % static_cast<uint64_t>(kMax / unit));
    EXPECT_EQ(ParseBytes(std::to_string(count) + name).ValueOrDie(), count * unit);
    EXPECT_EQ(ParseBytes(std::to_string(count) + " " + name).ValueOrDie(), count * unit);
  }
}

TEST(Units, FormatsCounts) {
  EXPECT_EQ(FormatCount(0), "0");
  EXPECT_EQ(FormatCount(999), "999");
  EXPECT_EQ(FormatCount(12345), "12,345");
  EXPECT_EQ(FormatCount(-1000), "-1,000");
  EXPECT_EQ(FormatCount(std::numeric_limits<int64_t>::min()), "-9,223,372,036,854,775,808");
}

TEST(Units, FormatsDurations) {
  EXPECT_EQ(FormatSeconds(0), "0 s");
  EXPECT_EQ(FormatSeconds(0.00035), "0.35 ms");
  EXPECT_EQ(FormatSeconds(0.35), "350 ms");
  EXPECT_EQ(FormatSeconds(1.2), "1.2 s");
  EXPECT_EQ(FormatSeconds(59.97), "1 min 0 s");
  EXPECT_EQ(FormatSeconds(125), "2 min 5 s");
  EXPECT_EQ(FormatSeconds(3599.9), "1 h 0 min");
  EXPECT_EQ(FormatSeconds(3 * 3600 + 600), "3 h 10 min");
  EXPECT_EQ(FormatSeconds(50 * 3600), "2 d 2 h");
  EXPECT_EQ(FormatSeconds(-2), "-2.0 s");
  EXPECT_EQ(FormatSeconds(std::nan("")), "unknown");
}

TEST(Units, ParsesDurations) {
  EXPECT_DOUBLE_EQ(ParseSeconds("10").ValueOrDie(), 10);
  EXPECT_DOUBLE_EQ(ParseSeconds("10s").ValueOrDie(), 10);
  EXPECT_DOUBLE_EQ(ParseSeconds("250ms").ValueOrDie(), 0.25);
  EXPECT_DOUBLE_EQ(ParseSeconds("2m").ValueOrDie(), 120);
  EXPECT_DOUBLE_EQ(ParseSeconds("1.5 h").ValueOrDie(), 5400);
  for (const char* text : {"", "-1s", "nan", "inf", "ten", "1 fortnight", "1s2"}) {
    EXPECT_EQ(KindOf(ParseSeconds(text).status()), ErrorKind::kUser) << text;
  }
}

}  // namespace
}  // namespace partita
