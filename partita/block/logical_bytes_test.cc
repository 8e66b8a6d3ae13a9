#include "partita/block/logical_bytes.h"

#include <arrow/api.h>
#include <arrow/array/concatenate.h>
#include <arrow/array/validate.h>
#include <arrow/extension/uuid.h>
#include <arrow/ipc/api.h>
#include <arrow/json/from_string.h>
#include <gtest/gtest.h>

#include <numeric>
#include <random>

#include "partita/block/schema.h"

namespace partita {
namespace {

std::shared_ptr<arrow::Array> FromJson(const std::string& type, const std::string& json) {
  return *arrow::json::ArrayFromJSONString(*ParseType(type), json);
}

std::vector<int64_t> Sizes(const arrow::Array& array) {
  std::vector<int64_t> sizes(static_cast<size_t>(array.length()));
  const auto status = AddLogicalBytes(array, &sizes);
  EXPECT_TRUE(status.ok()) << status;
  return sizes;
}

using Ints = std::vector<int64_t>;

TEST(LogicalBytes, FollowTheDefinition) {
  EXPECT_EQ(Sizes(*FromJson("null", "[null, null]")), Ints({0, 0}));
  EXPECT_EQ(Sizes(*FromJson("bool", "[true, null]")), Ints({1, 1}));
  EXPECT_EQ(Sizes(*FromJson("int16", "[1, null]")), Ints({2, 2}));
  EXPECT_EQ(Sizes(*FromJson("decimal128(10, 2)", R"(["1.00", null])")), Ints({16, 16}));
  EXPECT_EQ(Sizes(*FromJson("timestamp[us, tz=UTC]", "[1, null]")), Ints({8, 8}));
  EXPECT_EQ(Sizes(*FromJson("fixed_size_binary[3]", R"(["abc", null])")), Ints({3, 3}));
  for (const char* type :
       {"string", "large_string", "string_view", "binary", "large_binary", "binary_view"}) {
    EXPECT_EQ(Sizes(*FromJson(type, R"(["abc", "", null, "a longer text than views inline"])")),
              Ints({7, 4, 4, 35}))
        << type;
  }
  for (const char* type :
       {"list<string>", "large_list<string>", "list_view<string>", "large_list_view<string>"}) {
    EXPECT_EQ(Sizes(*FromJson(type, R"([["a", null], [], null, ["abc"]])")), Ints({4 + 5 + 4, 4, 4, 4 + 7}))
        << type;
  }
  EXPECT_EQ(Sizes(*FromJson("list<int32>", "[[1, 2], null, []]")), Ints({12, 4, 4}));
  EXPECT_EQ(Sizes(*FromJson("map<string, int64>", R"([[["k", 1]], null])")), Ints({4 + 5 + 8, 4}));
  EXPECT_EQ(Sizes(*FromJson("fixed_size_list<string>[2]", R"([["a", "b"], null])")), Ints({10, 8}));
  EXPECT_EQ(Sizes(*FromJson("fixed_size_list<float32>[4]", "[[1, 2, 3, 4], null]")), Ints({16, 16}));
  EXPECT_EQ(Sizes(*FromJson("struct<a: string, b: int8>", R"([{"a": "xyz", "b": 1}, null])")), Ints({8, 5}));
  EXPECT_EQ(Sizes(*FromJson("dictionary<int8, string>", R"(["aa", null, "b", "aa"])")), Ints({6, 4, 5, 6}));
}

TEST(LogicalBytes, RunEndsExtensionsAndUnions) {
  const auto ends = FromJson("int32", "[2, 5]");
  const auto runs = *arrow::RunEndEncodedArray::Make(5, ends, FromJson("string", R"(["abc", null])"));
  EXPECT_EQ(Sizes(*runs), Ints({7, 7, 4, 4, 4}));
  EXPECT_EQ(Sizes(*runs->Slice(1, 3)), Ints({7, 4, 4}));
  const auto uuid = arrow::ExtensionType::WrapArray(
      arrow::extension::uuid(), FromJson("fixed_size_binary[16]", R"(["0123456789abcdef", null])"));
  EXPECT_EQ(Sizes(*uuid), Ints({16, 16}));
  const auto types = FromJson("int8", "[0, 1, 0]");
  const auto children =
      arrow::ArrayVector{FromJson("string", R"(["abc", "", "d"])"), FromJson("int64", "[1, 2, 3]")};
  const auto sparse = *arrow::SparseUnionArray::Make(*types, children);
  EXPECT_EQ(Sizes(*sparse), Ints({8, 9, 6}));
  EXPECT_EQ(Sizes(*sparse->Slice(1, 2)), Ints({9, 6}));
  const auto dense = *arrow::DenseUnionArray::Make(*types, *FromJson("int32", "[0, 0, 2]"), children);
  EXPECT_EQ(Sizes(*dense), Ints({8, 9, 6}));
  EXPECT_EQ(Sizes(*dense->Slice(1, 2)), Ints({9, 6}));
}

TEST(LogicalBytes, HiddenValuesBehindNullsDoNotCount) {
  const auto text = FromJson("string", R"(["hidden", "shown"])");
  const auto validity = *arrow::AllocateBitmap(2);
  validity->mutable_data()[0] = 0b10;
  const arrow::StructArray array(arrow::struct_({arrow::field("s", arrow::utf8())}), 2, {text}, validity);
  EXPECT_EQ(Sizes(array), Ints({4, 9}));
}

TEST(LogicalBytes, AreTheSameForSlicesEncodingsAndConcatenation) {
  const std::string json = R"(["a", null, "bb", "a", "a text of more than twelve bytes", null, ""])";
  const auto plain = FromJson("string", json);
  const auto expected = Sizes(*plain);
  for (const char* type : {"large_string", "string_view", "dictionary<int32, string>"}) {
    const auto other = FromJson(type, json);
    EXPECT_EQ(Sizes(*other), expected) << type;
    for (int64_t cut = 0; cut <= plain->length(); ++cut) {
      auto left = Sizes(*other->Slice(0, cut));
      const auto right = Sizes(*other->Slice(cut));
      left.insert(left.end(), right.begin(), right.end());
      EXPECT_EQ(left, expected) << type << " cut at " << cut;
    }
    EXPECT_EQ(Sizes(**arrow::Concatenate({other->Slice(0, 3), other->Slice(3)})), expected);
  }
  const auto nested = FromJson("list<struct<a: string, b: list<int8>>>",
                               R"([[{"a": "x", "b": [1, 2]}], null, [], [{"a": null, "b": null}, null]])");
  const auto sizes = Sizes(*nested);
  EXPECT_EQ(sizes, Ints({4 + 5 + 6, 4, 4, 4 + 8 + 8}));
  for (int64_t i = 0; i < nested->length(); ++i) EXPECT_EQ(Sizes(*nested->Slice(i, 1)), Ints({sizes[i]}));
}

TEST(LogicalBytes, SumOfABatchIsTheSumOfItsRows) {
  const auto batch = arrow::RecordBatch::Make(
      arrow::schema({arrow::field("a", arrow::utf8()), arrow::field("b", arrow::int32()),
                     arrow::field("c", arrow::large_utf8())}),
      3,
      {FromJson("string", R"(["a", "bb", "ccc"])"), FromJson("int32", "[1, 2, 3]"),
       FromJson("large_string", R"(["x", null, "y"])")});
  for (const auto& slice : {batch, batch->Slice(1, 2), batch->Slice(1, 1), batch->Slice(3, 0)}) {
    const auto rows = *RowLogicalBytes(*slice);
    EXPECT_EQ(*LogicalBytes(*slice), std::accumulate(rows.begin(), rows.end(), int64_t{0}));
  }
}

TEST(LogicalBytes, IndexBeyondTheDictionaryIsADataError) {
  const arrow::DictionaryArray array(arrow::dictionary(arrow::int8(), arrow::utf8()), FromJson("int8", "[5]"),
                                     FromJson("string", R"(["a"])"));
  std::vector<int64_t> sizes(1);
  EXPECT_EQ(KindOf(AddLogicalBytes(array, &sizes)), ErrorKind::kData);
}

// Piece lengths of a stream of rows cut into batches at random.
std::vector<int64_t> Pieces(const arrow::RecordBatch& rows, int64_t max_rows, int64_t max_bytes,
                            std::mt19937* random) {
  LogicalCutter cutter(max_rows, max_bytes);
  std::vector<int64_t> pieces;
  int64_t open = 0;
  for (int64_t offset = 0; offset < rows.num_rows();) {
    const int64_t length = std::min<int64_t>((*random)() % 7, rows.num_rows() - offset);
    const auto cuts = *cutter.Next(*rows.Slice(offset, length));
    int64_t sum = 0;
    for (size_t i = 0; i < cuts.lengths.size(); ++i) {
      sum += cuts.lengths[i];
      open += cuts.lengths[i];
      if (i + 1 < cuts.lengths.size() || cuts.ends_with_cut) {
        pieces.push_back(open);
        open = 0;
      }
    }
    EXPECT_EQ(sum, length);
    EXPECT_EQ(cutter.rows_in_piece(), open);
    offset += length;
  }
  if (open > 0) pieces.push_back(open);
  return pieces;
}

TEST(LogicalCutter, DoesNotDependOnBatches) {
  std::mt19937 random(7);
  arrow::StringBuilder builder;
  for (int i = 0; i < 300; ++i) ASSERT_TRUE(builder.Append(std::string(random() % 60, 'x')).ok());
  const auto array = *builder.Finish();
  const auto rows = arrow::RecordBatch::Make(arrow::schema({arrow::field("s", arrow::utf8())}), 300, {array});
  const auto sizes = *RowLogicalBytes(*rows);
  for (const auto& [max_rows, max_bytes] :
       std::vector<std::pair<int64_t, int64_t>>{{10, 200}, {1, 1000}, {0, 50}, {7, 0}, {0, 1}}) {
    const auto expected = Pieces(*rows, max_rows, max_bytes, &random);
    for (int round = 0; round < 20; ++round) EXPECT_EQ(Pieces(*rows, max_rows, max_bytes, &random), expected);
    int64_t row = 0;
    for (int64_t piece : expected) {
      ASSERT_GT(piece, 0);
      int64_t bytes = 0;
      for (int64_t i = 0; i < piece; ++i) bytes += sizes[row + i];
      EXPECT_TRUE(max_bytes <= 0 || piece == 1 || bytes <= max_bytes);
      EXPECT_TRUE(max_rows <= 0 || piece <= max_rows);
      // Maximal: the next row would not have fitted.
      row += piece;
      if (row < 300 && max_bytes > 0 && (max_rows <= 0 || piece < max_rows)) {
        EXPECT_GT(bytes + sizes[row], max_bytes);
      }
    }
    EXPECT_EQ(row, 300);
  }
}

TEST(LogicalCutter, CutsBeforeALargeFirstRow) {
  const auto rows =
      arrow::RecordBatch::Make(arrow::schema({arrow::field("s", arrow::utf8())}), 2,
                               {FromJson("string", R"(["small", "much too large for a piece"])")});
  LogicalCutter cutter(0, 20);
  EXPECT_EQ((*cutter.Next(*rows->Slice(0, 1))).lengths, Ints({1}));
  const auto cuts = *cutter.Next(*rows->Slice(1, 1));
  EXPECT_EQ(cuts.lengths, Ints({0, 1}));
  EXPECT_FALSE(cuts.ends_with_cut);
  EXPECT_EQ((*cutter.Next(*rows->Slice(0, 1))).lengths, Ints({0, 1}));
}

}  // namespace
}  // namespace partita
