#include <arrow/api.h>
#include <arrow/compute/function.h>
#include <arrow/compute/registry.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>
#include <sstream>

#include "partita/base/json.h"
#include "partita/expression/expression.h"
#include "partita/expression/functions.h"
#include "partita/expression/test_rows.h"

namespace partita {
namespace {

using ::testing::HasSubstr;

// The documentation's examples bind and run, and its tables are those of the code.
std::string Documentation() {
  const std::string here = __FILE__;
  std::ifstream file(here.substr(0, here.rfind("partita/expression/")) + "docs/expressions.md");
  EXPECT_TRUE(file.good());
  return {std::istreambuf_iterator<char>(file), {}};
}

std::vector<std::string> FencedLines(const std::string& text, const std::string& language) {
  const std::string fence = "```" + language + "\n";
  const auto begin = text.find(fence) + fence.size();
  std::istringstream block(text.substr(begin, text.find("```", begin) - begin));
  std::vector<std::string> lines;
  for (std::string line; std::getline(block, line);) lines.push_back(line);
  return lines;
}

TEST(Documentation, ExamplesWork) {
  const auto rows = TestRows({{"width", "int32", "[300]"},
                              {"height", "int32", "[200]"},
                              {"caption", "string", R"(["A stock photo"])"},
                              {"label", "string", "[null]"},
                              {"price", "string", R"(["10.50"])"},
                              {"language", "string", R"(["de"])"},
                              {"published", "timestamp[us]", R"(["2024-05-05"])"},
                              {"alt", "string", "[null]"},
                              {"title", "string", R"(["t"])"},
                              {"box", "struct<w: float64, h: float64>", R"([{"w": 1, "h": 2}])"},
                              {"seg.png", "binary", R"(["x"])"},
                              {"url", "string", R"(["http://a/b.JPG"])"}});
  const std::vector<std::string> expected = {"false", "false",      R"("unknown")", "12.495", "true",
                                             "true",  R"("t.txt")", "true",         "true",   "true"};
  const auto lines = FencedLines(Documentation(), "sql");
  ASSERT_EQ(lines.size(), expected.size());
  for (size_t i = 0; i < lines.size(); ++i) {
    const auto expression = Expression::Parse(lines[i]);
    ASSERT_TRUE(expression.ok()) << lines[i] << ": " << expression.status();
    const auto bound = BoundExpression::Bind(*expression, rows->schema());
    ASSERT_TRUE(bound.ok()) << lines[i] << ": " << bound.status();
    const auto result = (*bound)->Evaluate(*rows, arrow::default_memory_pool());
    ASSERT_TRUE(result.ok()) << lines[i] << ": " << result.status();
    const auto scalar = *(*result)->GetScalar(0);
    EXPECT_EQ(arrow::is_string(scalar->type->id()) ? "\"" + scalar->ToString() + "\"" : scalar->ToString(),
              expected[i])
        << lines[i];
  }
  for (const auto& line : FencedLines(Documentation(), "json")) {
    const auto expression = Expression::FromJson(*ParseJson(line));
    EXPECT_TRUE(expression.ok()) << line << ": " << expression.status();
  }
}

TEST(Documentation, ListsEveryAliasAndOption) {
  const auto text = Documentation();
  for (const auto& [alias, name] : FunctionAliases()) {
    EXPECT_THAT(text, HasSubstr("`" + alias + "`"));
    EXPECT_THAT(text, HasSubstr("`" + name + "`"));
    EXPECT_TRUE(CheckFunction(alias).ok()) << alias;
  }
  ASSERT_TRUE(EnsureComputeKernels().ok());
  for (const auto& name : arrow::compute::GetFunctionRegistry()->GetFunctionNames()) {
    const auto* options = OptionsOf(name);
    if (!options) continue;
    for (const auto& option : *options) EXPECT_THAT(text, HasSubstr(std::string(option.name))) << name;
  }
}

}  // namespace
}  // namespace partita
