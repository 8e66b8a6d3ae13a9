#include "partita/exchange/group_keys.h"

#include <arrow/api.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <map>
#include <random>

#include "partita/base/units.h"
#include "partita/exchange/group_table.h"

namespace partita {
namespace {

using Random = std::mt19937_64;
using ArrayPtr = std::shared_ptr<arrow::Array>;

template <typename Type, typename Make>
ArrayPtr Column(const std::shared_ptr<arrow::DataType>& type, Random* random, int64_t rows, Make make) {
  typename arrow::TypeTraits<Type>::BuilderType builder(type, arrow::default_memory_pool());
  const bool nulls = (*random)() % 2 == 0;
  for (int64_t i = 0; i < rows; ++i) {
    const uint64_t pick = (*random)();
    EXPECT_TRUE((nulls && pick % 5 == 0 ? builder.AppendNull() : builder.Append(make(pick >> 8))).ok());
  }
  return *builder.Finish();
}

template <typename Type>
ArrayPtr Numbers(const std::shared_ptr<arrow::DataType>& type, Random* random, int64_t rows) {
  return Column<Type>(type, random, rows,
                      [](uint64_t pick) { return static_cast<typename Type::c_type>(pick >> (pick % 50)); });
}

template <typename Type>
ArrayPtr Texts(const std::shared_ptr<arrow::DataType>& type, Random* random, int64_t rows, size_t longest) {
  return Column<Type>(type, random, rows, [longest](uint64_t pick) {
    std::string text(pick % (longest + 1), static_cast<char>(pick >> 10));
    if (pick % 7 == 0 && !text.empty()) text[text.size() / 2] = '\0';
    return text;
  });
}

ArrayPtr AnyColumn(Random* random, int64_t rows) {
  switch ((*random)() % 13) {
    case 0:
      return Numbers<arrow::Int8Type>(arrow::int8(), random, rows);
    case 1:
      return Numbers<arrow::UInt16Type>(arrow::uint16(), random, rows);
    case 2:
      return Numbers<arrow::Int32Type>(arrow::int32(), random, rows);
    case 3:
      return Numbers<arrow::UInt64Type>(arrow::uint64(), random, rows);
    case 4:
      return Numbers<arrow::TimestampType>(arrow::timestamp(arrow::TimeUnit::NANO), random, rows);
    case 5:
      return Numbers<arrow::Date32Type>(arrow::date32(), random, rows);
    case 6:
      return Numbers<arrow::BooleanType>(arrow::boolean(), random, rows);
    case 7:
      return Numbers<arrow::HalfFloatType>(arrow::float16(), random, rows);  // by way of KeyEncoder
    case 8:
    case 9:
      return Column<arrow::DoubleType>(arrow::float64(), random, rows, [](uint64_t pick) {
        const double odd[] = {0.0, -0.0, std::nan(""), -std::nan("7"), 1e300, -1.5, -HUGE_VAL};
        return odd[pick % 7];
      });
    case 10:
      return Texts<arrow::StringType>(arrow::utf8(), random, rows, 4);
    case 11:
      return Texts<arrow::LargeBinaryType>(arrow::large_binary(), random, rows, 12);
    default:
      return Texts<arrow::BinaryType>(arrow::binary(), random, rows, 40);
  }
}

std::shared_ptr<arrow::RecordBatch> AnyBatch(Random* random) {
  const auto rows = static_cast<int64_t>((*random)() % 300);
  arrow::ArrayVector columns;
  arrow::FieldVector fields;
  for (uint64_t c = 0; c <= (*random)() % 4; ++c) {
    columns.push_back(AnyColumn(random, rows));
    fields.push_back(arrow::field(std::to_string(c), columns.back()->type()));
  }
  const auto batch = arrow::RecordBatch::Make(arrow::schema(std::move(fields)), rows, std::move(columns));
  return batch->Slice(std::min(rows, static_cast<int64_t>((*random)() % 5)),
                      static_cast<int64_t>((*random)() % 300));
}

std::vector<int> AllColumns(const arrow::RecordBatch& batch) {
  std::vector<int> columns;
  for (int c = 0; c < batch.num_columns(); ++c) columns.push_back(c);
  return columns;
}

TEST(GroupKeys, AreTheKeysAndHashesOfTheEncoder) {
  auto budget = Budget::Make(64 * kMiB);
  for (uint64_t seed = 0; seed < 400; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    const auto batch = AnyBatch(&random);
    auto keys = *GroupKeys::Make(*batch->schema(), AllColumns(*batch), budget->root());
    std::vector<KeyColumn> columns;
    for (const int column : AllColumns(*batch)) columns.push_back({column, false, false});
    const auto encoder = *KeyEncoder::Make(*batch->schema(), columns);
    for (const int64_t offset : {int64_t{0}, int64_t{3}}) {  // scratch is used again
      const auto part = batch->Slice(std::min(offset, batch->num_rows()));
      const auto expected = *encoder.Encode(*part, arrow::default_memory_pool());
      const auto hashes = *HashKeys(expected, arrow::default_memory_pool());
      ASSERT_TRUE(keys.Encode(*part).ok());
      ASSERT_EQ(keys.rows(), part->num_rows());
      for (int64_t row = 0; row < keys.rows(); ++row) {
        ASSERT_EQ(keys.prefix(row), expected.prefix(row));
        ASSERT_EQ(keys.hash(row), hashes.prefix(row).hi);
        const auto whole = expected.whole(row);
        ASSERT_EQ(keys.long_key(row), whole.size() > 16 ? whole : std::string_view());
      }
    }
  }
}

// Keys whose encodings are `prefixes`, whatever their hashes; of one fixed-width column of 15 bytes.
std::shared_ptr<arrow::RecordBatch> FixedKeys(const std::vector<std::string>& keys) {
  arrow::FixedSizeBinaryBuilder builder(arrow::fixed_size_binary(15));
  for (const auto& key : keys) EXPECT_TRUE(builder.Append(key).ok());
  const ArrayPtr column = *builder.Finish();
  return arrow::RecordBatch::Make(arrow::schema({arrow::field("k", column->type())}), column->length(),
                                  {column});
}

uint64_t Mix(uint64_t x) {
  x ^= x >> 30;
  x *= 0xbf58476d1ce4e5b9ULL;
  x ^= x >> 27;
  x *= 0x94d049bb133111ebULL;
  return x ^ (x >> 31);
}

uint64_t Unmix(uint64_t x) {
  x ^= (x >> 31) ^ (x >> 62);
  x *= 0x319642b2d24d8ec3ULL;
  x ^= (x >> 27) ^ (x >> 54);
  x *= 0x96de1b173f119089ULL;
  return x ^ (x >> 30) ^ (x >> 60);
}

// The 15 bytes behind the marker that make the hash what it is for {hi, lo}.
std::string Colliding(uint64_t seed, uint64_t hash) {
  const uint64_t hi = uint64_t{1} << 56 | (seed & 0xffffffffffffff);
  const uint64_t lo = Unmix(Mix(hi + 0x9e3779b97f4a7c15ULL) ^ Unmix(hash)) - 0xd1b54a32d192ed03ULL;
  std::string bytes;
  for (int shift = 48; shift >= 0; shift -= 8) bytes.push_back(static_cast<char>(hi >> shift));
  for (int shift = 56; shift >= 0; shift -= 8) bytes.push_back(static_cast<char>(lo >> shift));
  return bytes;
}

TEST(GroupTable, TellsCollidingKeysApart) {
  auto budget = Budget::Make(64 * kMiB);
  GroupTable table(budget->root());
  std::vector<std::string> all;
  for (uint64_t i = 0; i < 300; ++i) all.push_back(Colliding(i % 100, i % 3 == 0 ? 42 : 42 + (i % 5 << 32)));
  const auto batch = FixedKeys(all);
  auto keys = *GroupKeys::Make(*batch->schema(), {0}, budget->root());
  GroupVector<uint32_t> new_rows(budget->root());
  std::map<std::string, uint32_t> expected;
  for (int64_t begin = 0; begin < 300; begin += 75) {
    const auto part = batch->Slice(begin, 75);
    ASSERT_TRUE(keys.Encode(*part).ok());
    ASSERT_TRUE(table.Reserve(keys).ok());
    ASSERT_TRUE(new_rows.Reserve(75).ok());
    const uint32_t before = table.count();
    std::vector<uint32_t> groups(75);
    for (int twice = 0; twice < 2; ++twice) {  // as if it had not been
      new_rows.SetSize(0);
      table.Assign(keys, groups, &new_rows);
      if (twice == 0) table.Undo(before);
    }
    for (size_t i = 0; i < groups.size(); ++i) {
      const auto [found, is_new] =
          expected.emplace(all[static_cast<size_t>(begin) + i], static_cast<uint32_t>(expected.size()));
      ASSERT_EQ(groups[i], found->second);
    }
    ASSERT_EQ(table.count(), expected.size());
  }
  EXPECT_EQ(table.hash(0), 42);
  table.Sort();
  for (size_t i = 1; i < table.count(); ++i) {
    const uint32_t a = table.sorted(i - 1), b = table.sorted(i);
    ASSERT_LT(std::pair(table.hash(a), a), std::pair(table.hash(b), b));
  }
}

TEST(GroupTable, RowsMayBeGroupsOfTheirOwnFromAnyRowOn) {
  auto budget = Budget::Make(64 * kMiB);
  Random random(3);
  std::vector<std::string> all;
  for (uint64_t i = 0; i < 20'000; ++i) all.push_back(Colliding(random() % 5000, random() % 4000 << 50));
  const auto batch = FixedKeys(all);
  auto keys = *GroupKeys::Make(*batch->schema(), {0}, budget->root());
  GroupTable table(budget->root());
  GroupVector<uint32_t> new_rows(budget->root());
  ASSERT_TRUE(new_rows.Reserve(20'000).ok());
  std::vector<uint32_t> groups(10'000);
  ASSERT_TRUE(keys.Encode(*batch->Slice(0, 10'000)).ok());
  ASSERT_TRUE(table.Reserve(keys).ok());
  table.Assign(keys, groups, &new_rows);
  const uint32_t combined = table.count();
  ASSERT_TRUE(keys.Encode(*batch->Slice(10'000)).ok());
  ASSERT_TRUE(table.Append(keys, groups).ok());
  ASSERT_EQ(table.count(), combined + 10'000);
  EXPECT_EQ(groups[9'999], combined + 9'999);
  table.Sort();
  for (size_t i = 1; i < table.count(); ++i) {
    const uint32_t a = table.sorted(i - 1), b = table.sorted(i);
    ASSERT_LT(std::pair(table.hash(a), a), std::pair(table.hash(b), b));
  }
}

TEST(GroupTable, IsUnchangedByARefusal) {
  auto budget = Budget::Make(1 * kMiB);
  GroupTable table(budget->root());
  std::vector<std::string> all;
  for (uint64_t i = 0; i < 8000; ++i) all.push_back(Colliding(i, i << 48));
  const auto batch = FixedKeys(all);
  auto keys = *GroupKeys::Make(*batch->schema(), {0}, budget->root());
  GroupVector<uint32_t> new_rows(budget->root());
  std::vector<uint32_t> groups(8000);
  ASSERT_TRUE(keys.Encode(*batch->Slice(0, 1000)).ok());
  ASSERT_TRUE(new_rows.Reserve(1000).ok());
  ASSERT_TRUE(table.Reserve(keys).ok());
  table.Assign(keys, groups, &new_rows);
  const auto room =
      *budget->root()->Reserve(budget->limit_bytes() - budget->root()->bytes_allocated() - 65536);
  ASSERT_TRUE(keys.Encode(*batch->Slice(0, 1000)).ok());
  auto more = *GroupKeys::Make(*batch->schema(), {0}, Budget::Make(8 * kMiB)->root());
  ASSERT_TRUE(more.Encode(*batch).ok());
  EXPECT_TRUE(table.Reserve(more).IsOutOfMemory());
  new_rows.SetSize(0);
  table.Assign(keys, groups, &new_rows);
  EXPECT_EQ(table.count(), 1000);
  EXPECT_EQ(new_rows.size(), 0);
}

}  // namespace
}  // namespace partita
