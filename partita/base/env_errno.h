// Kernel errors as statuses. Private to this room.
#pragma once

#include <string>
#include <string_view>

#include "partita/base/error.h"

namespace partita {

// "cannot <action> '<path>': No such file or directory", with the kind and the retriable flag that env.h
// promises.
Status ErrnoStatus(int error, std::string_view action, const std::string& path);

}  // namespace partita
