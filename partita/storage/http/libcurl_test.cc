#include "partita/storage/http/libcurl.h"

#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>

namespace partita {
namespace {

TEST(Libcurl, LoadsOnceAndKnowsHttps) {
  ASSERT_TRUE(LoadCurl().ok()) << LoadCurl();
  const auto* version = Curl().version_info(CURLVERSION_NOW);
  bool https = false;
  for (auto* protocol = version->protocols; *protocol != nullptr; ++protocol) {
    https |= std::string(*protocol) == "https";
  }
  EXPECT_TRUE(https);
}

// libparquet, which is in the process too, exports the functions of another OpenSSL. The dynamic linker tells
// whom libcurl and its libssl are bound to.
TEST(Libcurl, UsesTheOpenSslItWasBuiltWith) {
  const std::string self = std::filesystem::read_symlink("/proc/self/exe").string();
  const std::string command = "LD_DEBUG=bindings LD_BIND_NOW=1 '" + self +
                              "' --gtest_filter=Libcurl.LoadsOnceAndKnowsHttps 2>&1 | "
                              "grep -E 'binding file [^ ]*lib(curl|ssl)[^ ]* '";
  FILE* pipe = popen(command.c_str(), "r");
  ASSERT_NE(pipe, nullptr);
  int64_t bindings = 0;
  char line[4096];
  while (std::fgets(line, sizeof line, pipe) != nullptr) {
    ++bindings;
    EXPECT_EQ(std::string(line).find("libparquet"), std::string::npos) << line;
  }
  EXPECT_EQ(pclose(pipe), 0);
  EXPECT_GT(bindings, 100);
}

TEST(Libcurl, AMissingLibraryIsAnEnvironmentErrorThatNamesThePackage) {
  const Status status = OpenCurlLibrary("libcurl-that-is-not-there.so.4").status();
  EXPECT_EQ(KindOf(status), ErrorKind::kEnvironment);
  EXPECT_NE(RenderError(status).find("apt install libcurl4"), std::string::npos) << status;
  EXPECT_NE(RenderError(status).find("libcurl-that-is-not-there"), std::string::npos) << status;
}

TEST(Libcurl, ALibraryWithoutItsFunctionsIsRefused) {
  const Status status = OpenCurlLibrary("libm.so.6").status();
  EXPECT_EQ(KindOf(status), ErrorKind::kEnvironment);
  EXPECT_NE(status.message().find("curl_global_init"), std::string::npos) << status;
}

}  // namespace
}  // namespace partita
