// robots.txt after RFC 9309: groups by product token, longest match, `*` and `$`; and Crawl-delay, which many
// sites still write. Input is hostile: work and memory are bounded by the constants below. Values; const
// methods are thread-safe.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace partita {

inline constexpr int64_t kMaxRobotsBytes = 500 * 1024;  // what RFC 9309 asks a crawler to read at least

class RobotsRules {
 public:
  static constexpr size_t kMaxRules = 10'000;
  static constexpr size_t kMaxPatternBytes = 1024;
  static constexpr size_t kMaxPathBytes = 2048;  // longer paths are matched by their first bytes

  RobotsRules() = default;  // allows everything
  // Keeps the rules of the groups that name one of `tokens` (compared without case), or of the `*` groups
  // where none does.
  static RobotsRules Parse(std::string_view text, const std::vector<std::string>& tokens);

  // `path` starts with "/" and includes the query.
  bool Allows(std::string_view path) const;
  std::optional<double> crawl_delay_s() const { return crawl_delay_s_; }
  size_t memory_bytes() const;

 private:
  struct Rule {
    std::string pattern;  // normalised
    bool allow = false;
  };
  std::vector<Rule> rules_;  // longest pattern first; allow first among equals: the first match decides
  std::optional<double> crawl_delay_s_;
};

// The name by which robots.txt and X-Robots-Tag address a user agent: "mybot/1.0 (+mail)" -> "mybot".
std::string_view ProductToken(std::string_view user_agent_token);

// The directive of an X-Robots-Tag header value that forbids use, in lower case, or "" when it is allowed.
// `directives` are those that forbid, in lower case. "none" stands for noindex. A value may be for one agent
// only ("otherbot: noai").
std::string ForbiddenByRobotsTag(std::string_view header_value, const std::vector<std::string>& directives,
                                 const std::vector<std::string>& tokens);

}  // namespace partita
