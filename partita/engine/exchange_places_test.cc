#include "partita/engine/exchange_places.h"

#include <gtest/gtest.h>

#include "partita/plan/plan.h"

namespace partita {
namespace {

TEST(ExchangeChoiceTest, TextForms) {
  for (const auto& [text, same] : {std::pair{"auto", "auto"},
                                   {"nodes", "nodes"},
                                   {"sort=disk", "auto,sort=disk"},
                                   {"nodes,b=memory,a=disk", "nodes,a=disk,b=memory"},
                                   {"sort=disk,disk,sort=nodes", "disk,sort=nodes"},
                                   {"k = v=nodes", "auto,k = v=nodes"},
                                   {R"({"*": "nodes", "sort": "disk"})", "nodes,sort=disk"},
                                   {"{}", "auto"}}) {
    const auto choice = ExchangeChoice::Parse(text);
    ASSERT_TRUE(choice.ok()) << text << ": " << choice.status();
    EXPECT_EQ(choice->Text(), same);
    const auto again = ExchangeChoice::Parse(choice->Text());
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(again->Text(), same);
  }
}

TEST(ExchangeChoiceTest, WrongTexts) {
  for (const char* text :
       {"", "node", "sort", "sort=", "nodes,", "sort=disk,,", "{\"sort\": 1}", "{", "=x"}) {
    const auto choice = ExchangeChoice::Parse(text);
    ASSERT_FALSE(choice.ok()) << text;
    EXPECT_NE(KindOf(choice.status()), ErrorKind::kBug) << text;
  }
}

TEST(ExchangeChoiceTest, StepsThatAreNotThere) {
  Plan plan;
  plan.exchanges.emplace_back().step = "sort";
  ExchangeChoice choice;
  choice.steps["sort"] = ExchangePlace::kDisk;
  EXPECT_TRUE(choice.Check(plan).ok());
  choice.steps["srot"] = ExchangePlace::kDisk;
  const auto status = choice.Check(plan);
  EXPECT_EQ(KindOf(status), ErrorKind::kUser);
  EXPECT_NE(RenderError(status).find("sort"), std::string::npos) << "the nearest name is told";
}

}  // namespace
}  // namespace partita
