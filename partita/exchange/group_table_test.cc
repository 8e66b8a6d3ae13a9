#include "partita/exchange/group_table.h"

#include <arrow/api.h>
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "partita/base/units.h"

namespace partita {
namespace {

using ArrayPtr = std::shared_ptr<arrow::Array>;

// Keys whose encodings are `prefixes`, whatever their hashes; of one fixed-width column of 15 bytes.
std::shared_ptr<arrow::RecordBatch> FixedKeys(const std::vector<std::string>& keys) {
  arrow::FixedSizeBinaryBuilder builder(arrow::fixed_size_binary(15));
  for (const auto& key : keys) EXPECT_TRUE(builder.Append(key).ok());
  const ArrayPtr column = *builder.Finish();
  return arrow::RecordBatch::Make(arrow::schema({arrow::field("k", column->type())}), column->length(),
                                  {column});
}

// MixBits turned back.
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
  const uint64_t lo = Unmix(MixBits(hi + 0x9e3779b97f4a7c15ULL) ^ Unmix(hash)) - 0xd1b54a32d192ed03ULL;
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
  std::mt19937_64 random(3);
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
  for (int twice = 0; twice < 2; ++twice) {  // as if it had not been
    if (twice == 1) table.Undo(combined);
    ASSERT_TRUE(table.Append(keys, groups).ok());
  }
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
