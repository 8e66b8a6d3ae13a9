#include "components/image/robots.h"

#include <gtest/gtest.h>

namespace partita {
namespace {

RobotsRules Parse(std::string_view text) { return RobotsRules::Parse(text, {"partita", "mybot"}); }

TEST(Robots, EmptyAllowsAll) {
  EXPECT_TRUE(Parse("").Allows("/x"));
  EXPECT_TRUE(Parse("User-agent: *\nDisallow:\n").Allows("/x"));
  EXPECT_TRUE(Parse("<html>not found</html>").Allows("/x"));
}

TEST(Robots, TheNamedGroupReplacesTheWildcard) {
  const auto rules = Parse("User-agent: *\nDisallow: /\n\nUser-agent: Partita/2.0\nDisallow: /private\n");
  EXPECT_TRUE(rules.Allows("/public"));
  EXPECT_FALSE(rules.Allows("/private/x"));
}

TEST(Robots, GroupsOfOneNameAreMergedAndAgentsShareAGroup) {
  const auto rules = Parse(
      "user-agent: mybot\nuser-agent: other\ndisallow: /a\nsitemap: /s\n"
      "user-agent: other\ndisallow: /other\nuser-agent: MYBOT\ndisallow: /b # why\n");
  EXPECT_FALSE(rules.Allows("/a"));
  EXPECT_FALSE(rules.Allows("/b"));
  EXPECT_TRUE(rules.Allows("/other"));
}

TEST(Robots, TheLongestMatchWinsAndAllowWinsTies) {
  const auto rules =
      Parse("User-agent: *\nDisallow: /a\nAllow: /a/b\nDisallow: /a/b/c\nAllow: /t\nDisallow: /t\n");
  EXPECT_FALSE(rules.Allows("/a/x"));
  EXPECT_TRUE(rules.Allows("/a/b/x"));
  EXPECT_FALSE(rules.Allows("/a/b/c"));
  EXPECT_TRUE(rules.Allows("/t"));
}

TEST(Robots, WildcardsAndEnd) {
  const auto rules =
      Parse("User-agent: *\r\nDisallow: /*.gif$\r\nDisallow: /x*y*z\r\nDisallow: *?print=\r\n");
  EXPECT_FALSE(rules.Allows("/a/b.gif"));
  EXPECT_TRUE(rules.Allows("/a/b.gif?x"));
  EXPECT_TRUE(rules.Allows("/a.gifs"));
  EXPECT_FALSE(rules.Allows("/x1y2z3"));
  EXPECT_TRUE(rules.Allows("/x1z2y3"));
  EXPECT_FALSE(rules.Allows("/q?print=1"));
  EXPECT_FALSE(rules.Allows("/.gif.gif"));
}

TEST(Robots, EscapesAreOneSpelling) {
  const auto rules = Parse("User-agent: *\nDisallow: /%7Ejoe\nDisallow: /caf\xC3\xA9\nDisallow: /a%2fb\n");
  EXPECT_FALSE(rules.Allows("/~joe/x"));
  EXPECT_FALSE(rules.Allows("/caf%c3%a9"));
  EXPECT_FALSE(rules.Allows("/a%2Fb"));
  EXPECT_TRUE(rules.Allows("/a/b"));
}

TEST(Robots, RobotsTxtItselfIsAllowedAndByteOrderMarkIsSkipped) {
  const auto rules = Parse("\xEF\xBB\xBFUser-agent: *\nDisallow: /\n");
  EXPECT_TRUE(rules.Allows("/robots.txt"));
  EXPECT_FALSE(rules.Allows("/"));
}

TEST(Robots, CrawlDelay) {
  EXPECT_DOUBLE_EQ(*Parse("User-agent: *\nCrawl-delay: 2.5\n").crawl_delay_s(), 2.5);
  EXPECT_FALSE(Parse("User-agent: *\nCrawl-delay: -1\n").crawl_delay_s());
  EXPECT_FALSE(Parse("User-agent: *\nCrawl-delay: nan\n").crawl_delay_s());
  EXPECT_FALSE(Parse("User-agent: other\nCrawl-delay: 5\n").crawl_delay_s());
}

TEST(Robots, HostileInputIsBounded) {
  std::string many = "User-agent: *\n";
  while (many.size() < 2'000'000) many += "Disallow: /*a*a*a*a*a*a*a*a*b$\n";
  const auto rules = Parse(many);
  EXPECT_LT(rules.memory_bytes(), 2u << 20);
  EXPECT_TRUE(rules.Allows("/" + std::string(100'000, 'a')));
  EXPECT_TRUE(Parse("User-agent: *\nDisallow: /" + std::string(100'000, 'x')).Allows("/y"));
}

TEST(RobotsTag, DirectivesAndAgents) {
  const std::vector<std::string> forbid = {"noai", "noindex"}, us = {"mybot"};
  EXPECT_EQ(ForbiddenByRobotsTag("noai", forbid, us), "noai");
  EXPECT_EQ(ForbiddenByRobotsTag("nofollow, NoIndex", forbid, us), "noindex");
  EXPECT_EQ(ForbiddenByRobotsTag("none", forbid, us), "none");
  EXPECT_EQ(ForbiddenByRobotsTag("none", {"noai"}, us), "");
  EXPECT_EQ(ForbiddenByRobotsTag("otherbot: noai", forbid, us), "");
  EXPECT_EQ(ForbiddenByRobotsTag("MyBot: noai", forbid, us), "noai");
  EXPECT_EQ(ForbiddenByRobotsTag("otherbot: noai, noindex", forbid, us), "");
  EXPECT_EQ(ForbiddenByRobotsTag("otherbot: noai, mybot: noindex", forbid, us), "noindex");
  EXPECT_EQ(ForbiddenByRobotsTag("unavailable_after: 25 Jun 2030 15:00:00 PST, noai", forbid, us), "noai");
  EXPECT_EQ(ForbiddenByRobotsTag("noai", {}, us), "");
}

TEST(RobotsTag, ProductTokenIsTheNameAlone) {
  EXPECT_EQ(ProductToken("mybot/1.0; +https://example.org"), "mybot");
  EXPECT_EQ(ProductToken("mybot"), "mybot");
}

}  // namespace
}  // namespace partita
