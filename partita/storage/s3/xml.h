// As much XML as S3's answers are written in. Hostile input is fine: no entity but the five and numbers, no
// document types, at most 16 levels. Pure.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "partita/base/error.h"

namespace partita {

// Calls `on_end` at the end of each element with its path ("ListBucketResult/Contents/Key") and the text
// directly inside it. Attributes and comments are passed over.
Status ReadXml(std::string_view text,
               const std::function<void(const std::string& path, const std::string& text)>& on_end);

// The text of the first element with this path; "" where there is none, or where `xml` is none.
std::string XmlText(std::string_view xml, std::string_view path);

}  // namespace partita
