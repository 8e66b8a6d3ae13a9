#include "cli/cell_text.h"

#include <arrow/api.h>
#include <arrow/json/from_string.h>
#include <gmock/gmock.h>

namespace partita::cli {
namespace {

std::string Cell(const std::shared_ptr<arrow::DataType>& type, const std::string& json,
                 size_t max_bytes = 200) {
  auto array = arrow::json::ArrayFromJSONString(type, "[" + json + "]");
  if (!array.ok()) return array.status().ToString();
  return CellText(**array, 0, max_bytes);
}

TEST(CellText, Scalars) {
  EXPECT_EQ(Cell(arrow::int64(), "null"), "null");
  EXPECT_EQ(Cell(arrow::int64(), "9223372036854775807"), "9223372036854775807");
  EXPECT_EQ(Cell(arrow::float64(), "0.1"), "0.1");
  EXPECT_EQ(Cell(arrow::float32(), "0.1"), "0.1");
  EXPECT_EQ(Cell(arrow::boolean(), "true"), "true");
  EXPECT_EQ(Cell(arrow::utf8(), "\"größe\""), "größe");
  EXPECT_EQ(Cell(arrow::date32(), "1"), "1970-01-02");
}

TEST(CellText, BytesAreNeverPrinted) {
  EXPECT_EQ(
      CellText(
          *arrow::MakeArrayFromScalar(arrow::BinaryScalar(std::string(12 * 1024, '\xff')), 1).ValueOrDie(),
          0),
      "<binary 12 KiB>");
  EXPECT_EQ(Cell(arrow::list(arrow::binary()), "[\"a\", null]"), "[<binary 1 B>, null]");
}

TEST(CellText, NestedValues) {
  EXPECT_EQ(Cell(arrow::list(arrow::utf8()), "[\"a\", \"b\"]"), "[\"a\", \"b\"]");
  EXPECT_EQ(Cell(arrow::struct_({arrow::field("x", arrow::int32()), arrow::field("y", arrow::utf8())}),
                 "{\"x\": 1, \"y\": \"z\"}"),
            "{x: 1, y: \"z\"}");
  EXPECT_EQ(Cell(arrow::map(arrow::utf8(), arrow::int32()), "[[\"k\", 1]]"), "{\"k\": 1}");
  EXPECT_EQ(Cell(arrow::dictionary(arrow::int8(), arrow::utf8()), "\"d\""), "d");
}

TEST(CellText, NothingReachesTheTerminalAsAnOrder) {
  EXPECT_EQ(Cell(arrow::utf8(), "\"a\\nb\\u001b[31mc\""), "a\\nb\\x1b[31mc");
}

TEST(CellText, LongValuesAreCutAtACharacter) {
  EXPECT_EQ(Cell(arrow::utf8(), "\"äöüäöü\"", 5), "äö…");
  std::string many = "0";
  for (int i = 1; i < 1000; ++i) many += ", " + std::to_string(i);
  const std::string text = Cell(arrow::list(arrow::int32()), "[" + many + "]", 20);
  EXPECT_LT(text.size(), 40u);
  EXPECT_THAT(text, testing::EndsWith(", …]"));
}

}  // namespace
}  // namespace partita::cli
