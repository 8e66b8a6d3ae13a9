// Rows of groups, numbered and cut as they leave: whatever the blocks, also where keys collide, in little
// memory.
#include "partita/exchange/group_rows.h"

#include <arrow/api.h>
#include <gtest/gtest.h>

#include <map>
#include <random>

#include "partita/base/units.h"
#include "partita/exchange/group_source.h"
#include "partita/pipeline/group_steps.h"

namespace partita {
namespace {

struct Row {
  uint64_t hash = 0;
  std::string key;
  int64_t value = 0;
};

// Groups of 1 to 60 rows, hash by hash; up to three keys share one, and their rows are mixed.
std::vector<Row> Rows(uint64_t seed, int hashes) {
  std::mt19937_64 random(seed);
  std::vector<Row> rows;
  for (int hash = 0; hash < hashes; ++hash) {
    const uint64_t keys = 1 + random() % 3, count = 1 + random() % 60;
    for (uint64_t i = 0; i < count; ++i) {
      const bool is_long = hash % 2 == 0;
      rows.push_back({static_cast<uint64_t>(hash),
                      (is_long ? "a key of more than sixteen bytes " : "k") +
                          std::to_string(random() % keys) + std::to_string(hash),
                      static_cast<int64_t>(rows.size())});
    }
  }
  return rows;
}

// Gives them in blocks of so many rows.
class GivenRows final : public Source {
 public:
  GivenRows(const std::vector<Row>& rows, size_t block_rows) : rows_(rows), block_rows_(block_rows) {}
  Result<std::optional<Block>> Next(const OperatorContext&) override {
    if (next_ == rows_.size()) return std::nullopt;
    arrow::StringBuilder key;
    arrow::Int64Builder value;
    arrow::UInt64Builder hash;
    const size_t end = std::min(rows_.size(), next_ + block_rows_);
    for (; next_ < end; ++next_) {
      EXPECT_TRUE(key.Append(rows_[next_].key).ok());
      EXPECT_TRUE(value.Append(rows_[next_].value).ok());
      EXPECT_TRUE(hash.Append(rows_[next_].hash).ok());
    }
    const int64_t count = key.length();
    const auto schema = arrow::schema({arrow::field("k", arrow::utf8()), arrow::field("v", arrow::int64()),
                                       arrow::field("__key", arrow::uint64())});
    Block block;
    block.batch = arrow::RecordBatch::Make(schema, count, {*key.Finish(), *value.Finish(), *hash.Finish()});
    block.ordinals = RowOrdinals::Range(0, count);
    return block;
  }

 private:
  const std::vector<Row>& rows_;
  const size_t block_rows_;
  size_t next_ = 0;
};

struct Found {
  int64_t value = 0, index = 0;
  bool operator==(const Found&) const = default;
};

// What comes out; after a refusal it is asked again with more memory, as the executor does.
std::vector<Found> Through(const std::vector<Row>& rows, const GroupRows& what, size_t block_rows,
                           int64_t tight_bytes, int* refusals) {
  PlanExchange exchange;
  exchange.kind = PlanExchange::Kind::kHash;
  exchange.schema = arrow::schema({arrow::field("k", arrow::utf8()), arrow::field("v", arrow::int64())});
  exchange.keys = {{.column = "k"}};
  PlanSource source;
  source.kind = PlanSource::Kind::kExchange;
  source.reduce = GroupRowsToJson(what);
  source.schema = *GroupRowsSchema(what, *exchange.schema);
  auto wide = Budget::Make(256 * kMiB);
  auto tight = Budget::Make(tight_bytes);
  auto made =
      MakeGroupSource(exchange, source, std::make_unique<GivenRows>(rows, block_rows), wide->root());
  EXPECT_TRUE(made.ok()) << made.status();
  OperatorContext ctx;
  ctx.env = Env::Default();
  std::vector<Found> found;
  bool has_room = false;
  while (true) {
    ctx.pool = has_room ? wide->root() : tight->root();
    auto block = (*made)->Next(ctx);
    if (!block.ok()) {
      EXPECT_TRUE(block.status().IsOutOfMemory() && !has_room) << block.status();
      if (has_room) break;
      ++*refusals;
      has_room = true;
      continue;
    }
    has_room = false;
    if (!*block) break;
    const auto& batch = *(*block)->batch;
    EXPECT_EQ((*block)->ordinals.At(0), static_cast<int64_t>(found.size()));
    for (int64_t row = 0; row < batch.num_rows(); ++row) {
      const auto number = [&](int column) {
        return static_cast<const arrow::Int64Array&>(*batch.column(column)).Value(row);
      };
      found.push_back({number(1), number(2)});
    }
  }
  return found;
}

TEST(GroupRowsSource, CountsInEachGroup) {
  const auto rows = Rows(7, 40);
  for (const int64_t limit : {int64_t{-1}, int64_t{0}, int64_t{1}, int64_t{5}, int64_t{1000}}) {
    std::vector<Found> expected;
    std::map<std::string, int64_t> places;
    for (const Row& row : rows) {
      const int64_t place = places[row.key]++;
      if (limit < 0 || place < limit) expected.push_back({row.value, place + 3});
    }
    for (const size_t block_rows : {size_t{1}, size_t{7}, size_t{64}, size_t{100000}}) {
      int refusals = 0;
      EXPECT_EQ(Through(rows, {limit, {{"index", 3}}}, block_rows, 256 * kMiB, &refusals), expected)
          << "limit " << limit << ", blocks of " << block_rows;
      EXPECT_EQ(refusals, 0);
    }
  }
}

TEST(GroupRowsSource, GoesOnWhereMemoryWasRefused) {
  const auto rows = Rows(9, 200);
  const GroupRows what{2, {{"index", 1}}};
  int refusals = 0;
  const auto expected = Through(rows, what, 500, 256 * kMiB, &refusals);
  ASSERT_EQ(refusals, 0);
  EXPECT_EQ(Through(rows, what, 500, 5 * kKiB, &refusals), expected);
  EXPECT_GT(refusals, 3);
}

}  // namespace
}  // namespace partita
