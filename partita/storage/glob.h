// Glob patterns over path components, as shells know them. Pure; no pattern takes more than O(pattern * name)
// time.
//
//   *  any run of characters   ?  one character   [abc] [a-z] [!a]  one of (not of) a set   {a,b}
//   alternatives (may nest)
//   **  as a whole component: any number of folders   \x  the character x itself
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "partita/base/error.h"

namespace partita {

// True when `text` holds an unescaped glob character.
bool HasGlob(std::string_view text);
// The pattern without braces: every alternative, in order. More than 4096 alternatives are a user error.
Result<std::vector<std::string>> ExpandBraces(std::string_view pattern);
// Does one path component match? Braces must be expanded before.
bool MatchesGlob(std::string_view pattern, std::string_view name);
// "a\*b" -> "a*b": what an escaped component without glob characters names.
std::string UnescapeGlob(std::string_view component);

}  // namespace partita
