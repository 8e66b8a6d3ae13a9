#include "components/image/robots.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>

namespace partita {
namespace {

std::string_view Trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() && (text.back() == ' ' || text.back() == '\t')) text.remove_suffix(1);
  return text;
}

std::string Lower(std::string_view text) {
  std::string out(text);
  for (char& c : out) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return out;
}

bool EqualsIgnoringCase(std::string_view a, std::string_view b) {
  return a.size() == b.size() && Lower(a) == Lower(b);
}

bool Contains(const std::vector<std::string>& list, std::string_view value) {
  return std::any_of(list.begin(), list.end(),
                     [&](const std::string& x) { return EqualsIgnoringCase(x, value); });
}

int HexValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

bool IsUnreserved(unsigned char c) { return std::isalnum(c) || c == '-' || c == '.' || c == '_' || c == '~'; }

// One spelling of equivalent paths: escapes of unreserved characters undone, other bytes beyond ASCII
// escaped, upper-case hex.
std::string NormalisePath(std::string_view path) {
  static constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  out.reserve(path.size());
  auto escape = [&](unsigned char c) {
    out += '%';
    out += kHex[c >> 4];
    out += kHex[c & 15];
  };
  for (size_t i = 0; i < path.size(); ++i) {
    const auto c = static_cast<unsigned char>(path[i]);
    if (c == '%' && i + 2 < path.size() && HexValue(path[i + 1]) >= 0 && HexValue(path[i + 2]) >= 0) {
      const auto byte = static_cast<unsigned char>(HexValue(path[i + 1]) * 16 + HexValue(path[i + 2]));
      i += 2;
      if (byte < 0x80 && IsUnreserved(byte)) {
        out += static_cast<char>(byte);
      } else {
        escape(byte);
      }
    } else if (c >= 0x80) {
      escape(c);
    } else {
      out += static_cast<char>(c);
    }
  }
  return out;
}

// `*` any bytes, a final `$` the end; a pattern without `$` matches a prefix. Taking the first place of each
// literal is enough where only `*` is wild, so there is no backtracking.
bool Matches(std::string_view pattern, std::string_view path) {
  const bool anchored = !pattern.empty() && pattern.back() == '$';
  if (anchored) pattern.remove_suffix(1);
  size_t at = 0;
  bool first = true;
  while (true) {
    const size_t star = pattern.find('*');
    const std::string_view literal = pattern.substr(0, star);
    const bool last = star == std::string_view::npos;
    if (first) {
      if (path.substr(0, literal.size()) != literal) return false;
      at = literal.size();
      if (last) return !anchored || at == path.size();
    } else if (last && anchored) {
      return path.size() - at >= literal.size() && path.substr(path.size() - literal.size()) == literal;
    } else {
      const size_t found = path.find(literal, at);
      if (found == std::string_view::npos) return false;
      at = found + literal.size();
      if (last) return true;
    }
    first = false;
    pattern.remove_prefix(star + 1);
  }
}

// Takes the next line off `text` (CR, LF or CRLF; an empty line between CR and LF does no harm), without its
// comment.
std::string_view NextLine(std::string_view* text) {
  const size_t end = text->find_first_of("\r\n");
  std::string_view line = text->substr(0, end);
  text->remove_prefix(end == std::string_view::npos ? text->size() : end + 1);
  return Trim(line.substr(0, line.find('#')));
}

std::optional<double> ParseDelay(std::string_view value) {
  double seconds = 0;
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), seconds);
  if (error != std::errc() || !std::isfinite(seconds) || seconds < 0) return std::nullopt;
  return seconds;
}

}  // namespace

RobotsRules RobotsRules::Parse(std::string_view text, const std::vector<std::string>& tokens) {
  text = text.substr(0, static_cast<size_t>(kMaxRobotsBytes));
  if (text.substr(0, 3) == "\xEF\xBB\xBF") text.remove_prefix(3);
  RobotsRules named, wildcard;
  bool any_named = false;
  bool in_named = false, in_wildcard = false;  // whom the current group is for
  bool in_agents = false;  // the last record was a User-agent line: another one joins the group
  while (!text.empty()) {
    const std::string_view line = NextLine(&text);
    const size_t colon = line.find(':');
    if (colon == std::string_view::npos) continue;
    const std::string_view key = Trim(line.substr(0, colon));
    const std::string_view value = Trim(line.substr(colon + 1));
    if (EqualsIgnoringCase(key, "user-agent")) {
      if (!in_agents) in_named = in_wildcard = false;
      in_agents = true;
      if (value == "*") {
        in_wildcard = true;
      } else if (Contains(tokens, ProductToken(value))) {
        in_named = any_named = true;
      }
      continue;
    }
    const bool allow = EqualsIgnoringCase(key, "allow");
    const bool disallow = EqualsIgnoringCase(key, "disallow");
    const bool delay = EqualsIgnoringCase(key, "crawl-delay");
    if (!allow && !disallow && !delay) continue;  // Sitemap and the like belong to no group
    in_agents = false;
    for (RobotsRules* rules : {in_named ? &named : nullptr, in_wildcard ? &wildcard : nullptr}) {
      if (rules == nullptr) continue;
      if (delay) {
        if (auto seconds = ParseDelay(value))
          rules->crawl_delay_s_ = std::max(rules->crawl_delay_s_.value_or(0), *seconds);
      } else if (!value.empty() && value.size() <= kMaxPatternBytes && rules->rules_.size() < kMaxRules) {
        rules->rules_.push_back({NormalisePath(value), allow});
      }
    }
  }
  RobotsRules chosen = any_named ? std::move(named) : std::move(wildcard);
  std::stable_sort(chosen.rules_.begin(), chosen.rules_.end(), [](const Rule& a, const Rule& b) {
    if (a.pattern.size() != b.pattern.size()) return a.pattern.size() > b.pattern.size();
    return a.allow && !b.allow;
  });
  chosen.rules_.shrink_to_fit();
  return chosen;
}

bool RobotsRules::Allows(std::string_view path) const {
  if (rules_.empty()) return true;
  const std::string normal = NormalisePath(path.substr(0, kMaxPathBytes));
  if (normal == "/robots.txt") return true;
  for (const Rule& rule : rules_) {
    if (Matches(rule.pattern, normal)) return rule.allow;
  }
  return true;
}

size_t RobotsRules::memory_bytes() const {
  size_t bytes = sizeof(*this) + rules_.capacity() * sizeof(Rule);
  for (const Rule& rule : rules_) bytes += rule.pattern.capacity() > 15 ? rule.pattern.capacity() + 1 : 0;
  return bytes;
}

std::string_view ProductToken(std::string_view user_agent_token) {
  return user_agent_token.substr(0, user_agent_token.find_first_of("/ \t;,("));
}

std::string ForbiddenByRobotsTag(std::string_view header_value, const std::vector<std::string>& directives,
                                 const std::vector<std::string>& tokens) {
  // "unavailable_after: date" and "max-snippet: 5" have a colon too, and address nobody.
  static constexpr std::string_view kWithValue[] = {"unavailable_after", "max-snippet", "max-image-preview",
                                                    "max-video-preview"};
  bool for_us = true;
  while (!header_value.empty()) {
    const size_t comma = header_value.find(',');
    std::string_view item = Trim(header_value.substr(0, comma));
    header_value.remove_prefix(comma == std::string_view::npos ? header_value.size() : comma + 1);
    if (const size_t colon = item.find(':'); colon != std::string_view::npos) {
      const std::string name = Lower(Trim(item.substr(0, colon)));
      if (std::find(std::begin(kWithValue), std::end(kWithValue), name) != std::end(kWithValue)) continue;
      for_us = name == "*" || Contains(tokens, name);
      item = Trim(item.substr(colon + 1));
    }
    if (!for_us) continue;
    const std::string directive = Lower(item);
    if (Contains(directives, directive)) return directive;
    if (directive == "none" && Contains(directives, "noindex")) return directive;
  }
  return "";
}

}  // namespace partita
