#include "partita/storage/glob.h"

namespace partita {
namespace {

constexpr size_t kMaxAlternatives = 4096;

// Length of the set that starts at pattern[at] == '[', or 0 when it is not closed (then '[' is an ordinary
// character).
size_t SetLength(std::string_view pattern, size_t at) {
  size_t i = at + 1;
  if (i < pattern.size() && (pattern[i] == '!' || pattern[i] == '^')) ++i;
  if (i < pattern.size() && pattern[i] == ']') ++i;  // a first ']' is a member
  while (i < pattern.size() && pattern[i] != ']') ++i;
  return i < pattern.size() ? i - at + 1 : 0;
}

bool SetHas(std::string_view set, char c) {  // `set` without its brackets
  bool negated = false;
  size_t i = 0;
  if (!set.empty() && (set[0] == '!' || set[0] == '^')) {
    negated = true;
    i = 1;
  }
  bool found = false;
  const auto value = static_cast<unsigned char>(c);
  for (; i < set.size(); ++i) {
    const auto low = static_cast<unsigned char>(set[i]);
    if (i + 2 < set.size() && set[i + 1] == '-') {
      found |= low <= value && value <= static_cast<unsigned char>(set[i + 2]);
      i += 2;
    } else {
      found |= low == value;
    }
  }
  return found != negated;
}

// Matches one pattern item at `p` against `c`; `item` gets the item's length.
bool MatchOne(std::string_view pattern, size_t p, char c, size_t* item) {
  *item = 1;
  switch (pattern[p]) {
    case '?':
      return true;
    case '[':
      if (const size_t length = SetLength(pattern, p); length > 0) {
        *item = length;
        return SetHas(pattern.substr(p + 1, length - 2), c);
      }
      return c == '[';
    case '\\':
      if (p + 1 < pattern.size()) {
        *item = 2;
        return pattern[p + 1] == c;
      }
      return c == '\\';
    default:
      return pattern[p] == c;
  }
}

// Appends prefix + every alternative of `rest`.
Status Expand(const std::string& prefix, std::string_view rest, std::vector<std::string>* out) {
  if (out->size() >= kMaxAlternatives) return UserError("a pattern has more than 4096 alternatives");
  size_t open = std::string_view::npos, depth = 0;
  std::vector<size_t> commas;
  for (size_t i = 0; i < rest.size(); ++i) {
    if (rest[i] == '\\') {
      ++i;
    } else if (rest[i] == '{') {
      if (depth++ == 0) open = i;
    } else if (rest[i] == ',' && depth == 1) {
      commas.push_back(i);
    } else if (rest[i] == '}' && depth > 0 && --depth == 0) {
      if (commas.empty()) {  // "{a}" is no list of alternatives
        open = std::string_view::npos;
        continue;
      }
      commas.push_back(i);
      const std::string head = prefix + std::string(rest.substr(0, open));
      size_t begin = open + 1;
      for (size_t end : commas) {
        const std::string middle(rest.substr(begin, end - begin));
        ARROW_RETURN_NOT_OK(Expand(head, middle + std::string(rest.substr(i + 1)), out));
        begin = end + 1;
      }
      return Status::OK();
    }
  }
  out->push_back(prefix + std::string(rest));
  return Status::OK();
}

}  // namespace

bool HasGlob(std::string_view text) {
  for (size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (text[i] == '*' || text[i] == '?' || text[i] == '{' ||
               (text[i] == '[' && SetLength(text, i) > 0)) {
      return true;
    }
  }
  return false;
}

Result<std::vector<std::string>> ExpandBraces(std::string_view pattern) {
  if (pattern.size() > 16384) return UserError("a path pattern is longer than 16 KiB");
  std::vector<std::string> out;
  ARROW_RETURN_NOT_OK(Expand("", pattern, &out));
  return out;
}

bool MatchesGlob(std::string_view pattern, std::string_view name) {
  size_t p = 0, n = 0, star = std::string_view::npos, star_name = 0;
  while (n < name.size()) {
    size_t item = 0;
    if (p < pattern.size() && pattern[p] == '*') {
      star = p++;
      star_name = n;
    } else if (p < pattern.size() && MatchOne(pattern, p, name[n], &item)) {
      p += item;
      ++n;
    } else if (star != std::string_view::npos) {  // let the last star take one character more
      p = star + 1;
      n = ++star_name;
    } else {
      return false;
    }
  }
  while (p < pattern.size() && pattern[p] == '*') ++p;
  return p == pattern.size();
}

std::string UnescapeGlob(std::string_view component) {
  std::string out;
  for (size_t i = 0; i < component.size(); ++i) {
    if (component[i] == '\\' && i + 1 < component.size()) ++i;
    out.push_back(component[i]);
  }
  return out;
}

}  // namespace partita
