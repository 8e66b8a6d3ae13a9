#include "cli/table.h"

#include <gmock/gmock.h>

namespace partita::cli {
namespace {

TEST(DisplayWidth, CountsColumnsOfATerminal) {
  EXPECT_EQ(DisplayWidth("abc"), 3u);
  EXPECT_EQ(DisplayWidth("größe"), 5u);
  EXPECT_EQ(DisplayWidth("写真"), 4u);
  EXPECT_EQ(DisplayWidth("e\u0301"), 1u);
  EXPECT_EQ(DisplayWidth("🙂"), 2u);
  EXPECT_EQ(DisplayWidth("\xff\xfe"), 2u);  // no UTF-8: a column a byte
}

TEST(Ellipsize, CutsAtACharacter) {
  EXPECT_EQ(Ellipsize("abcdef", 6), "abcdef");
  EXPECT_EQ(Ellipsize("abcdef", 5), "abcd…");
  EXPECT_EQ(Ellipsize("写真写真", 5), "写真…");
  EXPECT_EQ(Ellipsize("写真写真", 4), "写…");
  EXPECT_EQ(Ellipsize("ab", 1), "…");
  EXPECT_EQ(Ellipsize("ab", 0), "");
  EXPECT_EQ(Ellipsize("", 0), "");
}

TEST(WrapText, HangsBelowTheHead) {
  EXPECT_EQ(WrapText("  --a N", "one two three", 10, 20), "  --a N   one two\n          three\n");
  EXPECT_EQ(WrapText("  --much-longer", "one", 10, 20), "  --much-longer\n          one\n");
  EXPECT_EQ(WrapText("", "one two", 0, 20), "one two\n");
}

TEST(TextTable, AlignsByDisplayWidth) {
  TextTable table;
  table.columns = {{"n", true}, {"name", false}, {"last", false}};
  table.rows = {{"1", "写", "x"}, {"20", "ab", "y"}};
  EXPECT_EQ(table.Render(0),
            " n  name  last\n"
            "──  ────  ────\n"
            " 1  写    x\n"
            "20  ab    y\n");
}

TEST(TextTable, LeavesOutColumnsThatDoNotFit) {
  TextTable table;
  table.columns = {{"a", false}, {"b", false}, {"c", false}};
  table.rows = {{"aaaa", "bbbb", "cccc"}};
  EXPECT_EQ(table.Render(11), "a     b\n────  ────\naaaa  bbbb\n… and 1 more column to the right\n");
  EXPECT_THAT(table.Render(3), testing::HasSubstr("aa…\n… and 2 more columns"));
}

TEST(TextTable, CutsLongCells) {
  TextTable table;
  table.columns = {{"a", false}};
  table.rows = {{std::string(100, 'x')}};
  EXPECT_THAT(table.Render(0, 5), testing::HasSubstr("xxxx…\n"));
}

}  // namespace
}  // namespace partita::cli
