#include "partita/storage/s3/xml.h"

#include <charconv>
#include <vector>

namespace partita {
namespace {

constexpr size_t kMostLevels = 16;

Status Malformed(const std::string& what) {
  return EnvironmentError("the server's XML is malformed: " + what, "", /*retriable=*/false);
}

void AppendUtf8(uint32_t c, std::string* out) {
  if (c < 0x80) {
    *out += static_cast<char>(c);
  } else if (c < 0x800) {
    *out += static_cast<char>(0xC0 | (c >> 6));
    *out += static_cast<char>(0x80 | (c & 63));
  } else if (c < 0x10000) {
    *out += static_cast<char>(0xE0 | (c >> 12));
    *out += static_cast<char>(0x80 | ((c >> 6) & 63));
    *out += static_cast<char>(0x80 | (c & 63));
  } else {
    *out += static_cast<char>(0xF0 | (c >> 18));
    *out += static_cast<char>(0x80 | ((c >> 12) & 63));
    *out += static_cast<char>(0x80 | ((c >> 6) & 63));
    *out += static_cast<char>(0x80 | (c & 63));
  }
}

Status AppendText(std::string_view raw, std::string* out) {
  while (!raw.empty()) {
    const size_t amp = raw.find('&');
    out->append(raw.substr(0, amp));
    if (amp == std::string_view::npos) return Status::OK();
    raw.remove_prefix(amp + 1);
    const size_t end = raw.find(';');
    if (end == std::string_view::npos || end > 10) return Malformed("an entity without an end");
    const std::string_view name = raw.substr(0, end);
    raw.remove_prefix(end + 1);
    if (name == "amp") {
      *out += '&';
    } else if (name == "lt") {
      *out += '<';
    } else if (name == "gt") {
      *out += '>';
    } else if (name == "quot") {
      *out += '"';
    } else if (name == "apos") {
      *out += '\'';
    } else if (name.size() > 1 && name[0] == '#') {
      const bool hex = name[1] == 'x';
      const std::string_view digits = name.substr(hex ? 2 : 1);
      uint32_t code = 0;
      const auto [stop, error] =
          std::from_chars(digits.data(), digits.data() + digits.size(), code, hex ? 16 : 10);
      if (error != std::errc() || stop != digits.data() + digits.size() || code == 0 || code > 0x10FFFF)
        return Malformed("a character number");
      AppendUtf8(code, out);
    } else {
      return Malformed("an unknown entity");
    }
  }
  return Status::OK();
}

struct Open {
  std::string name, text;
};

}  // namespace

Status ReadXml(std::string_view xml,
               const std::function<void(const std::string& path, const std::string& text)>& on_end) {
  std::vector<Open> open;
  const auto close = [&] {
    std::string path;
    for (const Open& each : open) path += (path.empty() ? "" : "/") + each.name;
    on_end(path, open.back().text);
    open.pop_back();
  };
  while (!xml.empty()) {
    const size_t begin = xml.find('<');
    if (!open.empty()) {
      ARROW_RETURN_NOT_OK(AppendText(xml.substr(0, begin), &open.back().text));
    }
    if (begin == std::string_view::npos) break;
    xml.remove_prefix(begin);
    const bool comment = xml.starts_with("<!--");
    const std::string_view last = comment ? "-->" : ">";
    const size_t end = xml.find(last);
    if (end == std::string_view::npos) return Malformed("a tag without an end");
    std::string_view tag = xml.substr(1, end - 1);
    xml.remove_prefix(end + last.size());
    if (comment || tag.starts_with("?")) continue;
    if (tag.empty() || tag[0] == '!') return Malformed("a declaration");
    if (tag[0] == '/') {
      const std::string_view name = tag.substr(1, tag.find_last_not_of(" \t\r\n"));
      if (open.empty() || open.back().name != name) return Malformed("tags that do not fit");
      close();
      continue;
    }
    const bool is_empty = tag.back() == '/';
    if (is_empty) tag.remove_suffix(1);
    if (open.size() == kMostLevels) return Malformed("more than 16 levels");
    open.push_back({std::string(tag.substr(0, tag.find_first_of(" \t\r\n"))), ""});
    if (is_empty) close();
  }
  return open.empty() ? Status::OK() : Malformed("it ends early");
}

std::string XmlText(std::string_view xml, std::string_view path) {
  std::string found;
  bool any = false;
  (void)ReadXml(xml, [&](const std::string& at, const std::string& text) {
    if (any || at != path) return;
    any = true;
    found = text;
  });
  return found;
}

}  // namespace partita
