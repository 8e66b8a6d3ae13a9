// Runs as libparquet's encoder makes them, and ours as its decoder reads them.
#include "partita/storage/parquet/runs.h"

#include <gtest/gtest.h>
#include <parquet/column_reader.h>
#include <parquet/column_writer.h>

#include <bit>
#include <random>
#include <vector>

namespace partita {
namespace {

std::string Encode(const std::vector<int16_t>& levels, int16_t most) {
  const auto count = static_cast<int>(levels.size());
  parquet::LevelEncoder encoder;
  std::string bytes(
      static_cast<size_t>(parquet::LevelEncoder::MaxBufferSize(parquet::Encoding::RLE, most, count)), '\0');
  encoder.Init(parquet::Encoding::RLE, most, count, reinterpret_cast<uint8_t*>(bytes.data()),
               static_cast<int>(bytes.size()));
  EXPECT_EQ(encoder.Encode(count, levels.data()), count);
  bytes.resize(static_cast<size_t>(encoder.len()));
  return bytes;
}

std::vector<int16_t> Starts(int64_t count, int64_t position, int64_t length) {
  std::vector<int16_t> levels(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) levels[static_cast<size_t>(i)] = (position + i) % length != 0;
  return levels;
}

std::vector<uint32_t> Values(std::string_view bytes, int bit_width, int64_t count, int64_t most) {
  RunReader reader(bytes, bit_width);
  std::vector<uint32_t> values;
  while (static_cast<int64_t>(values.size()) < count) {
    const auto run = reader.Take(std::min(most, count - static_cast<int64_t>(values.size())));
    if (!run.ok()) break;
    std::vector<uint32_t> some(static_cast<size_t>(run->count), run->value);
    if (run->packed != nullptr) reader.Unpack(*run, some.data());
    values.insert(values.end(), some.begin(), some.end());
  }
  return values;
}

TEST(RunsTest, LevelsOfFullListsAreTold) {
  std::mt19937_64 random(1);
  for (int64_t length = 1; length < 200; length += 1 + length / 8) {
    for (int round = 0; round < 20; ++round) {
      const auto count = static_cast<int64_t>(1 + random() % 1500);
      const auto position = static_cast<int64_t>(random() % 1000);
      auto levels = Starts(count, position, length);
      EXPECT_TRUE(AreListStarts(Encode(levels, 1), count, position, length)) << length << " " << position;
      if (length > 1 && count >= length) {
        EXPECT_FALSE(AreListStarts(Encode(levels, 1), count, position + 1, length)) << length;
      }
      auto& wrong = levels[random() % levels.size()];
      wrong = static_cast<int16_t>(1 - wrong);
      EXPECT_FALSE(AreListStarts(Encode(levels, 1), count, position, length)) << length << " " << position;
    }
  }
}

TEST(RunsTest, OneLevelThatDiffersIsFound) {
  std::mt19937_64 random(2);
  for (const int16_t most : {int16_t{1}, int16_t{2}, int16_t{3}, int16_t{5}}) {
    const int width = std::bit_width(static_cast<unsigned>(most));
    for (int64_t count = 1; count < 700; count += 1 + count / 9) {
      std::vector<int16_t> levels(static_cast<size_t>(count), most);
      EXPECT_TRUE(IsConstant(Encode(levels, most), width, count, static_cast<uint32_t>(most)));
      levels[random() % levels.size()] = static_cast<int16_t>(random() % static_cast<uint64_t>(most));
      EXPECT_FALSE(IsConstant(Encode(levels, most), width, count, static_cast<uint32_t>(most)));
    }
  }
  // Repeats in one packed run: the encoder would not make it.
  for (int differs = 0; differs < 100; ++differs) {
    std::string packed = "\x1B" + std::string(26, '\xFF');  // 13 groups of two bits
    EXPECT_TRUE(IsConstant(packed, 2, 100, 3));
    packed[static_cast<size_t>(1 + differs / 4)] ^= static_cast<char>(1 << (differs % 4 * 2));
    EXPECT_FALSE(IsConstant(packed, 2, 100, 3)) << differs;
    EXPECT_TRUE(IsConstant(packed, 2, differs, 3)) << differs;
  }
}

TEST(RunsTest, OurLevelsAreReadByLibparquet) {
  for (int64_t length = 1; length < 300; ++length) {
    const int64_t lists = 1 + length % 37;
    const auto count = static_cast<int>(lists * length);
    const std::string bytes = ListStarts(lists, length);
    parquet::LevelDecoder decoder;
    decoder.SetDataV2(static_cast<int32_t>(bytes.size()), 1, count,
                      reinterpret_cast<const uint8_t*>(bytes.data()));
    std::vector<int16_t> levels(static_cast<size_t>(count));
    EXPECT_EQ(decoder.Decode(count, levels.data()), count);
    EXPECT_EQ(levels, Starts(count, 0, length)) << length;
    EXPECT_TRUE(AreListStarts(bytes, count, 0, length));
    EXPECT_TRUE(IsConstant(ConstantRun(count, 3), 2, count, 3));
  }
}

TEST(RunsTest, IndicesOfAnyWidth) {
  std::mt19937_64 random(3);
  for (int width = 1; width <= 14; ++width) {
    const auto most = static_cast<int16_t>((1 << width) - 1);
    std::vector<int16_t> values(1000);
    for (size_t i = 0; i < values.size(); ++i) {
      const bool again = i > 0 && random() % 10 < 8 && i % 200 > 100;
      values[i] = again ? values[i - 1] : static_cast<int16_t>(random() & static_cast<uint64_t>(most));
    }
    const std::string bytes = Encode(values, most);
    for (const int64_t piece : {1000, 7, 1}) {
      EXPECT_EQ(Values(bytes, width, 1000, piece), std::vector<uint32_t>(values.begin(), values.end()));
    }
  }
  // Of 32 bits, one group and a repeat.
  std::string wide = "\x03";
  std::vector<uint32_t> expected;
  for (uint32_t i = 0; i < 8; ++i) {
    expected.push_back(0xFFFFFFF0U + i);
    wide.append(reinterpret_cast<const char*>(&expected.back()), 4);
  }
  wide += "\x06" + std::string("\x01\x02\x03\x04", 4);
  expected.insert(expected.end(), 3, 0x04030201U);
  EXPECT_EQ(Values(wide, 32, 11, 3), expected);
}

// Runs that begin and end anywhere in a group, and at the last byte that there is.
TEST(RunsTest, PackedIndicesOfAnyWidth) {
  std::mt19937_64 random(4);
  for (int width = 1; width <= kMostRunBits; ++width) {
    const size_t count = 8 * (1 + random() % 40);
    std::vector<uint32_t> values(count);
    std::string bytes = PackedHead(static_cast<int64_t>(count / 8));
    const size_t begin = bytes.size();
    bytes.resize(begin + count / 8 * static_cast<size_t>(width));
    for (size_t i = 0; i < count; ++i) {
      values[i] = static_cast<uint32_t>(random() >> (64 - width));
      for (size_t bit = 0; bit < static_cast<size_t>(width); ++bit) {
        const size_t at = i * static_cast<size_t>(width) + bit;
        if ((values[i] >> bit) & 1) bytes[begin + at / 8] |= static_cast<char>(1 << (at % 8));
      }
    }
    for (const int64_t piece : {1000, 64, 13, 3}) {
      EXPECT_EQ(Values(bytes, width, static_cast<int64_t>(count), piece), values) << width << " " << piece;
    }
  }
}

TEST(RunsTest, BytesThatLieAreRefused) {
  for (const std::string& bytes :
       {std::string(), std::string("\x00", 1), std::string("\x01", 1), std::string("\x02", 1),
        std::string("\x05\xFF", 2), std::string("\xFF\xFF\xFF\xFF\x7F\x01", 6),
        std::string("\xFF\xFF\xFF\xFF\xFF\xFF\x01\x01", 8)}) {
    RunReader reader(bytes, 1);
    EXPECT_FALSE(reader.Take(100).ok());
    EXPECT_FALSE(IsConstant(bytes, 1, 100, 1));
    EXPECT_FALSE(AreListStarts(bytes, 100, 0, 1000));
  }
  EXPECT_FALSE(AreListStarts(ListStarts(3, 20), 80, 0, 20)) << "fewer levels than values";
}

TEST(RunsTest, WhatIsEncodedIsReadAgain) {
  std::mt19937_64 random(9);
  for (int bit_width = 1; bit_width <= kMostRunBits; ++bit_width) {
    const uint64_t most = (uint64_t{1} << bit_width) - 1;
    for (const int64_t count : {0, 1, 7, 8, 9, 64, 1000, 5003}) {
      std::vector<uint32_t> values;
      while (static_cast<int64_t>(values.size()) < count) {
        // Stretches of one value and of many, of all lengths.
        const uint64_t length = 1 + random() % (random() % 3 == 0 ? 300 : 12);
        const bool same = random() % 2 == 0;
        uint32_t value = static_cast<uint32_t>(random() & most);
        for (uint64_t i = 0; i < length && static_cast<int64_t>(values.size()) < count; ++i) {
          values.push_back(value);
          if (!same) value = static_cast<uint32_t>(random() & most);
        }
      }
      std::string bytes(static_cast<size_t>(MostRunBytes(count, bit_width)), '\0');
      const int64_t size =
          EncodeRuns(values.data(), count, bit_width, reinterpret_cast<uint8_t*>(bytes.data()));
      ASSERT_LE(size, std::ssize(bytes));
      bytes.resize(static_cast<size_t>(size));
      EXPECT_EQ(Values(bytes, bit_width, count, 1 << 20), values) << bit_width << " " << count;
      if (bit_width > 1 || count == 0) continue;
      // libparquet reads them, too.
      parquet::LevelDecoder decoder;
      const auto length = static_cast<uint32_t>(size);
      const std::string levels = std::string(reinterpret_cast<const char*>(&length), 4) + bytes;
      decoder.SetData(parquet::Encoding::RLE, 1, static_cast<int>(count),
                      reinterpret_cast<const uint8_t*>(levels.data()), static_cast<int32_t>(levels.size()));
      std::vector<int16_t> read(values.size());
      EXPECT_EQ(decoder.Decode(static_cast<int>(count), read.data()), count);
      EXPECT_EQ(std::vector<uint32_t>(read.begin(), read.end()), values);
    }
  }
}

}  // namespace
}  // namespace partita
