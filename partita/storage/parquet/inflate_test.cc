// Compressed pages as streams: every codec, any window, any cut, and bytes that lie.
#include "partita/storage/parquet/inflate.h"

#include <arrow/io/memory.h>

#include "partita/storage/parquet/fixture.h"

namespace partita {
namespace {

using arrow::Compression;

constexpr Compression::type kCodecs[] = {Compression::UNCOMPRESSED, Compression::SNAPPY, Compression::LZ4,
                                         Compression::ZSTD,         Compression::GZIP,   Compression::BROTLI};

std::string Compress(Compression::type type, const std::string& data) {
  if (type == Compression::UNCOMPRESSED) return data;
  auto codec = ValueOf(arrow::util::Codec::Create(type));
  const auto* bytes = reinterpret_cast<const uint8_t*>(data.data());
  const auto size = static_cast<int64_t>(data.size());
  std::string out(static_cast<size_t>(codec->MaxCompressedLen(size, bytes)), ' ');
  out.resize(static_cast<size_t>(ValueOf(codec->Compress(size, bytes, static_cast<int64_t>(out.size()),
                                                         reinterpret_cast<uint8_t*>(out.data())))));
  return out;
}

// Literals, near and far copies, runs of one byte.
std::string MixedText(int64_t bytes, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::string text;
  while (static_cast<int64_t>(text.size()) < bytes) {
    switch (random() % 4) {
      case 0:
        text += RandomText(&random, 1 + static_cast<int64_t>(random() % 300));
        break;
      case 1:
        text.append(1 + random() % 400, static_cast<char>('a' + random() % 3));
        break;
      case 2:
        text += "word " + std::to_string(random() % 50) + " ";
        break;
      default:
        if (!text.empty())
          text +=
              text.substr(text.size() - 1 - random() % std::min<size_t>(text.size(), 60000), random() % 500);
    }
  }
  text.resize(static_cast<size_t>(bytes));
  return text;
}

class ParquetInflateTest : public ParquetTest {
 protected:
  // The stream of `compressed`, which stands between other bytes of its file.
  Result<std::unique_ptr<PageInflater>> Open(Compression::type codec, const std::string& compressed,
                                             int64_t size_bytes, int64_t window_bytes) {
    const std::string file = "before" + compressed + "after";
    auto reader = std::make_shared<arrow::io::BufferReader>(arrow::Buffer::FromString(file));
    auto input =
        std::make_shared<ParquetInput>(reader, static_cast<int64_t>(file.size()), pool_.get(), CancelToken());
    input_ = std::make_unique<WindowedInput>(input, window_bytes, pool_.get());
    input_->SetRange(6, 6 + static_cast<int64_t>(compressed.size()));
    return OpenInflater(codec, input_.get(), size_bytes, pool_.get());
  }

  // All of it, in pieces of random sizes up to `most`.
  Result<std::string> Inflate(Compression::type codec, const std::string& compressed, int64_t size_bytes,
                              int64_t window_bytes, int64_t most, uint64_t seed = 1) {
    ARROW_ASSIGN_OR_RAISE(auto page, Open(codec, compressed, size_bytes, window_bytes));
    std::mt19937_64 random(seed);
    std::string out(static_cast<size_t>(size_bytes), '\0');
    for (int64_t at = 0; at < size_bytes;) {
      const int64_t some = std::min<int64_t>(
          size_bytes - at, 1 + static_cast<int64_t>(random() % static_cast<uint64_t>(most)));
      ARROW_RETURN_NOT_OK(page->Read(reinterpret_cast<uint8_t*>(out.data()) + at, some));
      at += some;
    }
    return out;
  }

  std::shared_ptr<BudgetPool> pool_ = Budget::Make(1 << 30)->root();
  std::unique_ptr<WindowedInput> input_;
};

TEST_F(ParquetInflateTest, AnyCodecAnyWindowAnyCut) {
  for (const auto codec : kCodecs) {
    for (const int64_t size : {0, 1, 59, 4096, 70000, 400000}) {
      const std::string text = MixedText(size, static_cast<uint64_t>(size) + 3);
      const std::string compressed = Compress(codec, text);
      for (const int64_t window : {16, 100, 5000, 1 << 20}) {
        for (const int64_t most : {7, 3000, 200000, 1 << 20}) {
          if (size > 100000 && (window < 100 || most < 100)) continue;
          const auto out = Inflate(codec, compressed, size, window, most);
          ASSERT_TRUE(out.ok()) << out.status().ToString();
          ASSERT_TRUE(*out == text) << static_cast<int>(codec) << " " << size << " " << window << " " << most;
        }
      }
    }
  }
}

TEST_F(ParquetInflateTest, MembersOneAfterTheOther) {
  const std::string a = MixedText(90000, 1), b = MixedText(50000, 2);
  for (const auto codec : {Compression::GZIP, Compression::ZSTD}) {
    const std::string both = Compress(codec, a) + Compress(codec, b);
    EXPECT_TRUE(ValueOf(Inflate(codec, both, 140000, 4096, 30000)) == a + b);
  }
}

TEST_F(ParquetInflateTest, SizesThatLie) {
  const std::string text = MixedText(100000, 5);
  for (const auto codec : kCodecs) {
    const std::string compressed = Compress(codec, text);
    for (const int64_t more : {1, 1000, 1 << 29}) {
      const auto out = Open(codec, compressed, 100000 + more, 4096);
      if (!out.ok()) {
        EXPECT_TRUE(out.status().IsInvalid()) << out.status().ToString();
        continue;
      }
      std::string bytes(100000, ' ');
      Status status = (*out)->Read(reinterpret_cast<uint8_t*>(bytes.data()), 100000);
      uint8_t byte = 0;
      if (status.ok()) status = (*out)->Read(&byte, 1);
      EXPECT_FALSE(status.ok()) << static_cast<int>(codec) << " " << more;
    }
    // What ends early says so.
    for (const size_t left : {size_t{0}, size_t{1}, compressed.size() / 2, compressed.size() - 20}) {
      EXPECT_FALSE(Inflate(codec, compressed.substr(0, left), 100000, 4096, 5000).ok())
          << static_cast<int>(codec);
    }
  }
}

TEST_F(ParquetInflateTest, SnappyFarBackReferences) {
  // A literal of 200,000 bytes, and a copy of its first 64 bytes with an offset of four bytes.
  std::string literal = MixedText(200000, 9);
  const int64_t size = 200064;
  std::string block;
  for (uint64_t left = static_cast<uint64_t>(size); left > 0; left >>= 7)
    block.push_back(static_cast<char>((left & 0x7F) | (left > 0x7F ? 0x80 : 0)));
  const uint32_t length = 200000 - 1, distance = 200000;
  block.push_back(static_cast<char>(62 << 2));  // the length is in three bytes
  block.append(reinterpret_cast<const char*>(&length), 3);
  block += literal;
  block.push_back(static_cast<char>(63 << 2 | 3));
  block.append(reinterpret_cast<const char*>(&distance), 4);
  const std::string text = literal + literal.substr(0, 64);
  // In one value nothing is too far.
  auto page = ValueOf(Open(Compression::SNAPPY, block, size, 4096));
  std::string out(static_cast<size_t>(size), ' ');
  ExpectOk(page->Read(reinterpret_cast<uint8_t*>(out.data()), size));
  EXPECT_TRUE(out == text);
  const auto far = Inflate(Compression::SNAPPY, block, size, 4096, 1000);
  EXPECT_TRUE(far.status().IsNotImplemented()) << far.status().ToString();
  // Before the beginning is not far, but wrong.
  const uint32_t before = 200001;
  std::memcpy(block.data() + block.size() - 4, &before, 4);
  EXPECT_TRUE(Inflate(Compression::SNAPPY, block, size, 4096, 1000).status().IsInvalid());
}

TEST_F(ParquetInflateTest, DamagedBytesAreErrorsOrBytes) {
  std::mt19937_64 random(77);
  for (const auto codec : kCodecs) {
    const std::string text = MixedText(20000, 6);
    const std::string good = Compress(codec, text);
    for (int i = 0; i < 400; ++i) {
      std::string bad = good;
      for (uint64_t n = 1 + random() % 4; n > 0; --n)
        bad[random() % bad.size()] = static_cast<char>(random());
      if (random() % 3 == 0) bad.resize(random() % bad.size());
      const int64_t size = random() % 3 == 0 ? static_cast<int64_t>(random() % 60000) : 20000;
      const auto out = Inflate(codec, bad, size, 1 + static_cast<int64_t>(random() % 3000),
                               1 + static_cast<int64_t>(random() % 9000), random());
      if (!out.ok()) EXPECT_FALSE(out.status().IsOutOfMemory()) << out.status().ToString();
    }
  }
}

TEST_F(ParquetInflateTest, RefusedMemoryIsRefusedBeforeTheFirstByte) {
  const std::string text = MixedText(300000, 8);
  for (const auto codec : kCodecs) {
    const std::string compressed = Compress(codec, text);
    for (int64_t n = 1; n < 8; ++n) {
      pool_->budget()->FailNthAllocation(n);
      auto page = Open(codec, compressed, 300000, 4096);
      const bool refused = page.status().IsOutOfMemory();
      if (!refused) ExpectOk(page.status());
      if (page.ok()) {
        std::string out(300000, ' ');
        ExpectOk((*page)->Read(reinterpret_cast<uint8_t*>(out.data()), 300000));
        EXPECT_TRUE(out == text);
      }
      pool_->budget()->FailNthAllocation(0);
      if (!refused) break;
    }
  }
}

}  // namespace
}  // namespace partita
