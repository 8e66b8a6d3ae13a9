#include "partita/storage/s3/xml.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace partita {
namespace {

using ::testing::ElementsAre;

std::vector<std::string> Ends(std::string_view xml, Status* status) {
  std::vector<std::string> ends;
  *status = ReadXml(
      xml, [&](const std::string& path, const std::string& text) { ends.push_back(path + "=" + text); });
  return ends;
}

TEST(XmlTest, TellsElementsAndTheirText) {
  Status status;
  EXPECT_THAT(
      Ends("<?xml version=\"1.0\"?>\n<a xmlns='x'><b>1 &lt; &#x42;</b><!-- > --><c/><b>2</b></a>", &status),
      ElementsAre("a/b=1 < B", "a/c=", "a/b=2", "a="));
  EXPECT_TRUE(status.ok()) << status;
  EXPECT_EQ(XmlText("<Error><Code>SlowDown</Code></Error>", "Error/Code"), "SlowDown");
  EXPECT_EQ(XmlText("<html>", "Error/Code"), "");
}

TEST(XmlTest, RefusesWhatIsNone) {
  for (const std::string bad : {"<a>", "<a></b>", "<a", "</a>", "<!DOCTYPE a []><a/>", "<a>&x;</a>",
                                "<a>&amp</a>", "<a>&#xD800000;</a>", "<>", "<!-- "}) {
    Status status;
    Ends(bad, &status);
    EXPECT_FALSE(status.ok()) << bad;
  }
  std::string deep;
  for (int i = 0; i < 17; ++i) deep += "<a>";
  Status status;
  Ends(deep, &status);
  EXPECT_FALSE(status.ok());
}

}  // namespace
}  // namespace partita
