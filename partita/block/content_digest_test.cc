#include "partita/block/content_digest.h"

#include <arrow/api.h>
#include <arrow/json/from_string.h>
#include <gtest/gtest.h>

#include <cstring>
#include <set>

namespace partita {
namespace {

using arrow::json::ArrayFromJSONString;

std::string DigestOf(const arrow::ArrayVector& chunks) {
  const auto schema = arrow::schema({arrow::field("x", chunks.at(0)->type())});
  std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
  for (const auto& chunk : chunks)
    batches.push_back(arrow::RecordBatch::Make(schema, chunk->length(), {chunk}));
  return ContentDigest(*schema, batches).ValueOrDie();
}

std::vector<std::shared_ptr<arrow::Array>> Columns() {
  const auto map = arrow::map(arrow::utf8(), arrow::int8());
  std::vector<std::pair<std::shared_ptr<arrow::DataType>, const char*>> given = {
      {arrow::int32(), "[1, null, 3, 4, null, 6]"},
      {arrow::boolean(), "[true, null, false, true, true, false]"},
      {arrow::utf8(), R"(["a", "", null, "bcd", "e", "long enough to be no inline"])"},
      {arrow::large_binary(), R"(["a", "", null, "bcd", "e", "f"])"},
      {arrow::utf8_view(), R"(["a", "", null, "bcd", "long enough to be no inline", "f"])"},
      {arrow::list(arrow::int8()), "[[1, 2], null, [], [3, null], [4], [5, 6, 7]]"},
      {arrow::list(arrow::list(arrow::utf8())),
       R"([[["a"], []], null, [], [null, ["b", "c"]], [["d"]], []])"},
      {arrow::fixed_size_list(arrow::int8(), 2), "[[1, 2], null, [3, null], [4, 5], [6, 7], [8, 9]]"},
      {arrow::list_view(arrow::int8()), "[[1, 2], null, [], [3, null], [4], [5, 6, 7]]"},
      {arrow::struct_({arrow::field("a", arrow::int8()), arrow::field("s", arrow::utf8())}),
       R"([{"a": 1, "s": "x"}, null, {"a": null, "s": "y"}, {"a": 2, "s": null}, {"a": 3, "s": "z"}, {"a": 4, "s": ""}])"},
      {map, R"([[["k", 1]], null, [], [["a", 2], ["b", null]], [["c", 3]], []])"},
      {arrow::null(), "[null, null, null, null, null, null]"},
      {arrow::dictionary(arrow::int8(), arrow::utf8()), R"(["a", "b", null, "a", "c", "b"])"},
  };
  std::vector<std::shared_ptr<arrow::Array>> columns;
  for (const auto& [type, json] : given) columns.push_back(ArrayFromJSONString(type, json).ValueOrDie());
  return columns;
}

TEST(ContentDigest, DoesNotSeeBatchesOrSlices) {
  std::set<std::string> digests;
  for (const auto& column : Columns()) {
    SCOPED_TRACE(column->type()->ToString());
    const auto digest = DigestOf({column});
    digests.insert(digest);
    for (int64_t cut = 0; cut <= 6; ++cut)
      EXPECT_EQ(DigestOf({column->Slice(0, cut), column->Slice(cut)}), digest) << "cut at " << cut;
    EXPECT_NE(DigestOf({column->Slice(1)}), digest);
    if (column->type_id() == arrow::Type::NA) continue;
    EXPECT_NE(DigestOf({column->Slice(0, 2), column->Slice(3, 1), column->Slice(2, 1), column->Slice(4)}),
              digest)
        << "two rows changed places";
  }
  EXPECT_EQ(digests.size(), Columns().size());
}

TEST(ContentDigest, DoesNotSeeWhatIsBehindANull) {
  const auto column = ArrayFromJSONString(arrow::int32(), "[1, null, 3]").ValueOrDie();
  const auto data = column->data()->Copy();
  std::shared_ptr<arrow::Buffer> values = arrow::Buffer::FromString(std::string(12, '\0'));
  auto* numbers = reinterpret_cast<int32_t*>(const_cast<uint8_t*>(values->data()));
  numbers[0] = 1;
  numbers[1] = 77;
  numbers[2] = 3;
  data->buffers[1] = values;
  EXPECT_EQ(DigestOf({arrow::MakeArray(data)}), DigestOf({column}));
  numbers[2] = 4;
  EXPECT_NE(DigestOf({arrow::MakeArray(data)}), DigestOf({column}));
}

TEST(ContentDigest, TellsWhatLooksAlike) {
  const auto of = [](const std::shared_ptr<arrow::DataType>& type, const char* json) {
    return DigestOf({ArrayFromJSONString(type, json).ValueOrDie()});
  };
  const auto texts = arrow::utf8(), lists = arrow::list(arrow::int8());
  const std::set<std::string> digests = {of(texts, R"(["ab", "c"])"),
                                         of(texts, R"(["a", "bc"])"),
                                         of(texts, R"(["abc"])"),
                                         of(texts, R"(["abc", ""])"),
                                         of(texts, R"(["abc", null])"),
                                         of(texts, R"([null, "abc"])"),
                                         of(arrow::binary(), R"(["abc"])"),
                                         of(lists, "[[1, 2], []]"),
                                         of(lists, "[[1], [2]]"),
                                         of(lists, "[[1, 2], null]"),
                                         of(lists, "[[], [1, 2]]"),
                                         of(texts, "[]"),
                                         of(lists, "[]"),
                                         of(arrow::int8(), "[0, null]"),
                                         of(arrow::int8(), "[null, 0]"),
                                         of(arrow::int8(), "[0]"),
                                         of(arrow::uint8(), "[0]")};
  EXPECT_EQ(digests.size(), 17u);
}

}  // namespace
}  // namespace partita
