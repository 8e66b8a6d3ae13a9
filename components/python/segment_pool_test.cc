#include "components/python/segment_pool.h"

#include <arrow/api.h>
#include <arrow/json/from_string.h>
#include <gtest/gtest.h>

#include "components/python/batch_codec.h"

namespace partita {
namespace {

TEST(SegmentPool, UsesPiecesAgainAndGivesTheBudgetItsBytesBack) {
  auto budget = Budget::Make(64 << 20);
  auto segments = std::make_shared<SegmentPool>(budget->root(), 2);
  int64_t id = 0;
  {
    auto lease = *segments->Take(100'000);
    id = lease->id;
    EXPECT_GE(lease->memory->size(), 100'000);
    EXPECT_EQ(budget->used_bytes(), lease->memory->size());
    EXPECT_EQ(segments->leased_count(), 1);
  }
  EXPECT_TRUE(segments->has_idle());
  EXPECT_EQ((*segments->Take(90'000))->id, id);
  segments->DropIdle();
  EXPECT_EQ(budget->used_bytes(), 0);
  size_t cursor = 0;
  EXPECT_EQ(segments->DroppedSince(&cursor), (std::vector<int64_t>{id}));
  EXPECT_TRUE(segments->DroppedSince(&cursor).empty());
}

TEST(SegmentPool, DropsIdlePiecesBeforeItRefuses) {
  auto budget = Budget::Make(4 << 20);
  auto segments = std::make_shared<SegmentPool>(budget->root(), 8);
  (void)*segments->Take(3 << 20);
  EXPECT_TRUE(segments->has_idle());
  auto larger = *segments->Take((7 << 20) / 2);
  EXPECT_TRUE(segments->Take(1 << 20).status().IsOutOfMemory());
}

TEST(SegmentPool, AsManyPiecesStayAsWereInUseUntilSomebodyIsRefused) {
  auto budget = Budget::Make(256 << 20);
  auto segments = std::make_shared<SegmentPool>(budget->root(), 2);
  int64_t used = 0;
  for (int round = 0; round < 3; ++round) {
    std::vector<SegmentPool::Lease> leases;
    for (int i = 0; i < 40; ++i) leases.push_back(*segments->Take(100'000));
    if (round == 0) used = budget->used_bytes();
    EXPECT_EQ(budget->used_bytes(), used);
  }
  size_t cursor = 0;
  EXPECT_TRUE(segments->DroppedSince(&cursor).empty());
  segments->DropIdleIfRefused();
  EXPECT_EQ(budget->used_bytes(), used);
  EXPECT_TRUE(budget->root()->Reserve(256 << 20).status().IsOutOfMemory());
  segments->DropIdleIfRefused();
  EXPECT_EQ(budget->used_bytes(), 0);
}

TEST(SegmentPool, IdlePiecesAreASmallShareOfTheBudget) {
  auto budget = Budget::Make(64 << 20);
  auto segments = std::make_shared<SegmentPool>(budget->root(), 2);
  {
    std::vector<SegmentPool::Lease> leases;
    for (int i = 0; i < 20; ++i) leases.push_back(*segments->Take(1 << 20));
  }
  EXPECT_LE(budget->used_bytes(), 2 << 20);
}

TEST(SegmentPool, AnAbandonedPieceIsNeverUsedAgain) {
  auto budget = Budget::Make(64 << 20);
  auto segments = std::make_shared<SegmentPool>(budget->root(), 2);
  Reservation kept;
  {
    auto lease = *segments->Take(1000);
    kept = segments->Abandon(lease);
  }
  EXPECT_FALSE(segments->has_idle());
  EXPECT_GT(budget->used_bytes(), 0);
  kept.Release();
  EXPECT_EQ(budget->used_bytes(), 0);
}

TEST(BatchCodec, BatchesOfAnySchemaAreReadAsTheyWere) {
  auto budget = Budget::Make(64 << 20);
  auto pool = budget->root();
  auto segments = std::make_shared<SegmentPool>(pool, 2);
  const auto codes = arrow::dictionary(arrow::int32(), arrow::utf8());
  auto strings = arrow::json::ArrayFromJSONString(codes, R"(["b", "a", null, "b"])").ValueOrDie();
  auto floats = arrow::json::ArrayFromJSONString(arrow::fixed_size_list(arrow::float32(), 2),
                                                 "[[1, 2], null, [3, 4], [5, 6]]")
                    .ValueOrDie();
  for (const auto& columns : std::vector<arrow::ArrayVector>{{floats}, {floats, strings}, {}}) {
    arrow::FieldVector fields;
    for (const auto& column : columns)
      fields.push_back(arrow::field("c" + std::to_string(fields.size()), column->type()));
    const auto schema = arrow::schema(fields);
    const auto batch = arrow::RecordBatch::Make(schema, 4, columns)->Slice(1, 2);
    for (const auto& of : {schema, arrow::schema({arrow::field("other", arrow::int8())})}) {
      const auto encoder = *BatchEncoder::Make(of);
      const auto encoded = *encoder.Encode(*batch, segments.get(), pool.get());
      const auto decoded = *DecodeBatch(encoded.lease, encoded.bytes, schema, true, pool.get());
      EXPECT_TRUE(decoded->Equals(*batch)) << schema->ToString();
    }
  }
}

TEST(BatchCodec, ABatchIsReadWhereItLies) {
  auto budget = Budget::Make(64 << 20);
  auto pool = budget->root();
  auto segments = std::make_shared<SegmentPool>(pool, 2);
  arrow::StringBuilder builder;
  for (int i = 0; i < 1000; ++i) ASSERT_TRUE(builder.Append("text " + std::to_string(i)).ok());
  auto schema = arrow::schema({arrow::field("t", arrow::utf8())});
  auto batch = arrow::RecordBatch::Make(schema, 1000, {builder.Finish().ValueOrDie()})->Slice(10, 500);

  const auto encoder = *BatchEncoder::Make(schema);
  auto encoded = *encoder.Encode(*batch, segments.get(), pool.get());
  for (const bool copies : {false, true}) {
    auto decoded = *DecodeBatch(encoded.lease, encoded.bytes, schema, copies, pool.get());
    EXPECT_TRUE(decoded->Equals(*batch));
    const uint8_t* data = decoded->column_data(0)->buffers[2]->data();
    const uint8_t* begin = encoded.lease->memory->data();
    EXPECT_EQ(data >= begin && data < begin + encoded.bytes, !copies);
  }
  auto other = arrow::schema({arrow::field("t", arrow::int64())});
  EXPECT_FALSE(DecodeBatch(encoded.lease, encoded.bytes, other, false, pool.get()).ok());
  // Hostile bytes: an error, not a crash.
  for (int64_t i = 0; i < encoded.bytes; i += 7) encoded.lease->memory->data()[i] ^= 0x55;
  (void)DecodeBatch(encoded.lease, encoded.bytes, schema, false, pool.get()).status();
}

}  // namespace
}  // namespace partita
