#include "cli/table.h"

#include <algorithm>
#include <cstdint>

namespace partita::cli {
namespace {

constexpr std::string_view kGap = "  ";
constexpr std::string_view kEllipsis = "…";

// The character that begins at `*at`, and steps over it. Bytes that are no UTF-8 count as characters of their
// own.
uint32_t NextCharacter(std::string_view text, size_t* at) {
  const auto byte = [&](size_t i) { return i < text.size() ? static_cast<unsigned char>(text[i]) : 0u; };
  const uint32_t first = byte(*at);
  const size_t length = first < 0xC0 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  uint32_t character = length == 1 ? first : first & (0xFFu >> (length + 1));
  for (size_t i = 1; i < length; ++i) {
    if ((byte(*at + i) & 0xC0) != 0x80) {
      ++*at;
      return first;
    }
    character = character << 6 | (byte(*at + i) & 0x3F);
  }
  *at += length;
  return character;
}

struct Span {
  uint32_t first, last;
};
// The blocks that matter of Unicode's EastAsianWidth (W, F) and of its combining marks; sorted.
constexpr Span kWide[] = {{0x1100, 0x115F},   {0x2E80, 0x303E},   {0x3041, 0x33FF},   {0x3400, 0x4DBF},
                          {0x4E00, 0x9FFF},   {0xA000, 0xA4CF},   {0xA960, 0xA97F},   {0xAC00, 0xD7A3},
                          {0xF900, 0xFAFF},   {0xFE30, 0xFE6F},   {0xFF00, 0xFF60},   {0xFFE0, 0xFFE6},
                          {0x1F300, 0x1F64F}, {0x1F680, 0x1F6FF}, {0x1F900, 0x1F9FF}, {0x20000, 0x3FFFD}};
constexpr Span kZero[] = {{0x0300, 0x036F}, {0x0483, 0x0489}, {0x0591, 0x05BD}, {0x064B, 0x065F},
                          {0x1AB0, 0x1AFF}, {0x1DC0, 0x1DFF}, {0x200B, 0x200F}, {0x202A, 0x202E},
                          {0x20D0, 0x20FF}, {0xFE00, 0xFE0F}, {0xFE20, 0xFE2F}};

template <size_t N>
bool Within(const Span (&spans)[N], uint32_t character) {
  const auto* span = std::lower_bound(std::begin(spans), std::end(spans), character,
                                      [](const Span& s, uint32_t c) { return s.last < c; });
  return span != std::end(spans) && span->first <= character;
}

size_t WidthOf(uint32_t character) {
  if (character < 0x300) return 1;
  if (Within(kZero, character)) return 0;
  return Within(kWide, character) ? 2 : 1;
}

void AppendPadded(std::string* line, const std::string& cell, size_t width, bool right, bool last) {
  const size_t used = DisplayWidth(cell);
  const std::string padding(width > used ? width - used : 0, ' ');
  if (right) *line += padding;
  *line += cell;
  if (!right && !last) *line += padding;
}

}  // namespace

size_t DisplayWidth(std::string_view text) {
  size_t width = 0;
  for (size_t at = 0; at < text.size();) width += WidthOf(NextCharacter(text, &at));
  return width;
}

std::string Ellipsize(std::string_view text, size_t width) {
  size_t used = 0, fits = 0;  // `fits`: bytes that leave room for the ellipsis
  for (size_t at = 0; at < text.size();) {
    const size_t next = WidthOf(NextCharacter(text, &at));
    if (used + next > width)
      return width == 0 ? "" : std::string(text.substr(0, fits)) + std::string(kEllipsis);
    used += next;
    if (used < width) fits = at;
  }
  return std::string(text);
}

std::string WrapText(std::string_view head, std::string_view text, size_t column, size_t width) {
  std::string out, line(head);
  if (!head.empty() && DisplayWidth(head) + 2 > column) {
    out += line + "\n";
    line.clear();
  }
  line.append(column > DisplayWidth(line) ? column - DisplayWidth(line) : 0, ' ');
  size_t used = column;
  bool empty = true;
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = std::min(text.find(' ', begin), text.size());
    const std::string_view word = text.substr(begin, end - begin);
    const size_t word_width = DisplayWidth(word);
    if (!empty && used + 1 + word_width > width) {
      out += line + "\n";
      line.assign(column, ' ');
      used = column;
      empty = true;
    }
    if (!empty) line += ' ', ++used;
    line += word;
    used += word_width;
    empty = false;
    begin = end + 1;
  }
  return out + line + "\n";
}

std::string TextTable::Render(size_t width, size_t max_cell) const {
  if (columns.empty()) return "";
  const size_t cell_limit = width == 0 ? max_cell : std::min(max_cell, width);
  std::vector<std::vector<std::string>> lines(rows.size() + 1);
  std::vector<size_t> widths;
  for (size_t c = 0; c < columns.size(); ++c) {
    widths.push_back(0);
    for (size_t r = 0; r < lines.size(); ++r) {
      lines[r].push_back(Ellipsize(r == 0 ? columns[c].title : rows[r - 1][c], cell_limit));
      widths[c] = std::max(widths[c], DisplayWidth(lines[r][c]));
    }
  }
  size_t shown = 1, total = widths[0];
  while (shown < columns.size() && (width == 0 || total + kGap.size() + widths[shown] <= width)) {
    total += kGap.size() + widths[shown++];
  }
  std::string text;
  for (size_t r = 0; r < lines.size(); ++r) {
    std::string line;
    for (size_t c = 0; c < shown; ++c) {
      if (c > 0) line += kGap;
      AppendPadded(&line, lines[r][c], widths[c], columns[c].right, c + 1 == shown);
    }
    line.resize(line.find_last_not_of(' ') + 1);
    text += line + "\n";
    if (r > 0) continue;
    for (size_t c = 0; c < shown; ++c) {
      text += c > 0 ? kGap : "";
      for (size_t i = 0; i < widths[c]; ++i) text += "─";
    }
    text += "\n";
  }
  if (shown < columns.size()) {
    const size_t hidden = columns.size() - shown;
    text += "… and " + std::to_string(hidden) + (hidden == 1 ? " more column" : " more columns") +
            " to the right\n";
  }
  return text;
}

}  // namespace partita::cli
