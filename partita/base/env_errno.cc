#include "partita/base/env_errno.h"

#include <cerrno>
#include <system_error>

namespace partita {

Status ErrnoStatus(int error, std::string_view action, const std::string& path) {
  const std::string message =
      "cannot " + std::string(action) + " '" + path + "': " + std::generic_category().message(error);
  Status status;
  switch (error) {
    case ENOSPC:
    case EDQUOT:
      status = ResourceError(message, "free disk space, or use a folder on another disk");
      break;
    case EMFILE:
    case ENFILE:
      status = ResourceError(message, "raise the limit of open files (ulimit -n)");
      break;
    case ENOMEM:
      status = OutOfMemoryError(message, "close other programs, or use a larger machine");
      break;
    case EINTR:
    case EAGAIN:
    case EIO:
    case ESTALE:
      status = EnvironmentError(message, "", /*retriable=*/true);
      break;
    case ENOENT:
      status = EnvironmentError(message, "check the path", /*retriable=*/false);
      break;
    case EACCES:
    case EPERM:
    case EROFS:
      status = EnvironmentError(message, "check the permissions of the path", /*retriable=*/false);
      break;
    default:
      status = EnvironmentError(message, "", /*retriable=*/false);
  }
  ErrorContext context;
  context.file = path;
  return WithContext(std::move(status), std::move(context));
}

}  // namespace partita
