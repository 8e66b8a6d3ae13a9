#include "components/image/download_url.h"

#include <gtest/gtest.h>

namespace partita {
namespace {

TEST(HttpUrl, Parts) {
  auto url = ParseHttpUrl("  HTTP://Example.COM./a b/\xC3\xA9.jpg?q=1#frag ");
  ASSERT_TRUE(url.ok()) << url.status();
  EXPECT_EQ(url->host, "example.com");
  EXPECT_EQ(url->origin, "http://example.com:80");
  EXPECT_EQ(url->path, "/a%20b/%c3%a9.jpg?q=1");
  EXPECT_EQ(url->text.find('#'), std::string::npos);
  EXPECT_TRUE(ParseHttpUrl("https://h:8443/")->https);
  EXPECT_EQ(ParseHttpUrl("https://h:8443")->origin, "https://h:8443");
  EXPECT_EQ(ParseHttpUrl("https://h")->path, "/");
}

TEST(HttpUrl, RefusedWithACanonicalMessage) {
  for (const char* bad : {"", "example.com/a.jpg", "http://", "http://a b/", "http://h:99999/",
                          "http://[::1/", "://x", "\x01", "http://0x%7f.0.0.1/"}) {
    auto url = ParseHttpUrl(bad);
    ASSERT_FALSE(url.ok()) << bad;
    EXPECT_EQ(MessageOf(url.status()), "invalid url") << bad;
    EXPECT_EQ(KindOf(url.status()), ErrorKind::kData);
  }
  for (const char* bad : {"ftp://h/x", "file:///etc/passwd", "gopher://h/", "dict://h:1/"}) {
    EXPECT_EQ(MessageOf(ParseHttpUrl(bad).status()), "unsupported scheme") << bad;
  }
  EXPECT_FALSE(ParseHttpUrl("http://h/" + std::string(100'000, 'a')).ok());
  EXPECT_FALSE(ParseHttpUrl(std::string_view("http://h/\0x", 11)).ok());
}

TEST(HttpUrl, CredentialsAreRedacted) {
  EXPECT_EQ(RedactUrl("http://user:pa@ss@host/x?a=b@c"), "http://***@host/x?a=b@c");
  EXPECT_EQ(RedactUrl("http://host/x@y"), "http://host/x@y");
  EXPECT_EQ(RedactUrl("http://host/\nx"), "http://host/?x");
  EXPECT_LE(RedactUrl("http://host/" + std::string(5000, 'x')).size(), 200u);
}

TEST(PrivateAddress, LiteralsInAllTheirForms) {
  for (const char* refused : {"127.0.0.1",
                              "127.9.9.9",
                              "10.1.2.3",
                              "172.16.0.1",
                              "172.31.255.255",
                              "192.168.1.1",
                              "169.254.169.254",
                              "100.64.0.1",
                              "0.0.0.0",
                              "224.0.0.1",
                              "255.255.255.255",
                              "192.0.2.1",
                              "198.18.0.1",
                              "[::1]",
                              "[::]",
                              "[fe80::1]",
                              "[fc00::1]",
                              "[fd12::1]",
                              "[ff02::1]",
                              "[::ffff:127.0.0.1]",
                              "[::ffff:10.0.0.1]",
                              "[::127.0.0.1]",
                              "[64:ff9b::10.0.0.1]",
                              "[64:ff9b:1::1]",
                              "[2002:7f00:1::]",
                              "[2002:a00:1::]",
                              "[2001:db8::1]",
                              "[2001:0:1::1]",
                              "[100::1]",
                              "[fec0::1]"}) {
    EXPECT_TRUE(IsPrivateLiteral(refused)) << refused;
  }
  for (const char* allowed :
       {"8.8.8.8", "172.32.0.1", "100.128.0.1", "192.169.0.1", "[2606:4700::1111]", "[2a00:1450::1]",
        "[::ffff:8.8.8.8]", "[64:ff9b::8.8.8.8]", "[2002:808:808::]", "example.com"}) {
    EXPECT_FALSE(IsPrivateLiteral(allowed)) << allowed;
  }
}

TEST(PrivateAddress, OddSpellingsOfIPv4AreSeenThrough) {
  for (const char* odd : {"http://2130706433/", "http://0x7f.1/", "http://0177.0.0.1/", "http://127.1/"}) {
    auto url = ParseHttpUrl(odd);
    ASSERT_TRUE(url.ok()) << odd;
    EXPECT_TRUE(IsPrivateLiteral(url->host)) << odd << " -> " << url->host;
  }
}

}  // namespace
}  // namespace partita
