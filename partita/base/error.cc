#include "partita/base/error.h"

#include <arrow/util/io_util.h>

#include <cerrno>
#include <cstring>
#include <utility>

namespace partita {
namespace {

constexpr ErrorKind kKinds[] = {ErrorKind::kUser, ErrorKind::kData, ErrorKind::kResource,
                                ErrorKind::kEnvironment, ErrorKind::kBug};

Status Make(arrow::StatusCode code, ErrorKind kind, bool retriable, std::string message, std::string hint) {
  ErrorContext context;
  context.hint = std::move(hint);
  return Status(code, std::move(message), std::make_shared<ErrorDetail>(kind, retriable, std::move(context)));
}

// What the kernel will answer again, however often it is asked.
bool IsPermanentErrno(int error) {
  switch (error) {
    case ENOENT:
    case EACCES:
    case EPERM:
    case ENOTDIR:
    case EISDIR:
    case ENAMETOOLONG:
    case EROFS:
    case ELOOP:
    case EINVAL:
      return true;
    default:
      return false;
  }
}

// File names and messages may hold bytes of hostile data: no escape sequence reaches a terminal.
std::string Printable(std::string_view text) {
  static constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  out.reserve(text.size());
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < 0x20 && c != '\n' && c != '\t') || byte == 0x7f) {
      out += "\\x";
      out += kHex[byte >> 4];
      out += kHex[byte & 15];
    } else {
      out += c;
    }
  }
  return out;
}

// "in step 'resize', partition 3, file x.jpg, row 17"; empty where nothing is known. A file that the message
// already names is left out.
std::string Where(const ErrorContext& context, std::string_view message) {
  std::string out;
  const auto add = [&out](const std::string& part) { out += (out.empty() ? "in " : ", ") + part; };
  if (!context.step.empty()) add("step '" + context.step + "'");
  if (context.partition >= 0) add("partition " + std::to_string(context.partition));
  if (!context.file.empty() && message.find(context.file) == std::string_view::npos) {
    add("file " + context.file);
  }
  if (context.row >= 0) add("row " + std::to_string(context.row));
  return out;
}

}  // namespace

std::string_view ErrorKindName(ErrorKind kind) {
  switch (kind) {
    case ErrorKind::kUser:
      return "user";
    case ErrorKind::kData:
      return "data";
    case ErrorKind::kResource:
      return "resource";
    case ErrorKind::kEnvironment:
      return "environment";
    case ErrorKind::kBug:
      return "bug";
  }
  return "bug";
}

Result<ErrorKind> ParseErrorKind(std::string_view name) {
  for (const ErrorKind kind : kKinds) {
    if (ErrorKindName(kind) == name) return kind;
  }
  return UserError("unknown error kind '" + std::string(name) + "'",
                   "use one of user, data, resource, environment, bug");
}

ErrorDetail::ErrorDetail(ErrorKind kind, bool retriable, ErrorContext context)
    : kind(kind), retriable(retriable), context(std::move(context)) {}

std::string ErrorDetail::ToString() const {
  std::string out = std::string(ErrorKindName(kind)) + " error";
  if (retriable) out += " (retriable)";
  if (const std::string where = Where(context, ""); !where.empty()) out += " " + where;
  if (!context.hint.empty()) out += "; try: " + context.hint;
  if (cause) out += "; " + cause->ToString();
  return out;
}

Status UserError(std::string message, std::string hint) {
  return Make(arrow::StatusCode::Invalid, ErrorKind::kUser, false, std::move(message), std::move(hint));
}

Status DataError(std::string message, std::string hint) {
  return Make(arrow::StatusCode::Invalid, ErrorKind::kData, false, std::move(message), std::move(hint));
}

Status ResourceError(std::string message, std::string hint) {
  return Make(arrow::StatusCode::IOError, ErrorKind::kResource, true, std::move(message), std::move(hint));
}

Status OutOfMemoryError(std::string message, std::string hint) {
  return Make(arrow::StatusCode::OutOfMemory, ErrorKind::kResource, true, std::move(message),
              std::move(hint));
}

Status EnvironmentError(std::string message, std::string hint, bool retriable) {
  return Make(arrow::StatusCode::IOError, ErrorKind::kEnvironment, retriable, std::move(message),
              std::move(hint));
}

Status BugError(std::string message) {
  return Make(arrow::StatusCode::UnknownError, ErrorKind::kBug, false, std::move(message),
              "report this with the run record");
}

const ErrorDetail* DetailOf(const Status& status) {
  const auto& detail = status.detail();
  // By name, not by dynamic_cast: a second shared library of ours in the process has its own type
  // information.
  if (detail == nullptr || std::strcmp(detail->type_id(), "partita.ErrorDetail") != 0) return nullptr;
  return static_cast<const ErrorDetail*>(detail.get());
}

ErrorKind KindOf(const Status& status) {
  if (const ErrorDetail* detail = DetailOf(status)) return detail->kind;
  switch (status.code()) {
    case arrow::StatusCode::Invalid:
    case arrow::StatusCode::SerializationError:
      return ErrorKind::kData;
    case arrow::StatusCode::KeyError:
    case arrow::StatusCode::TypeError:
    case arrow::StatusCode::NotImplemented:
    case arrow::StatusCode::Cancelled:
      return ErrorKind::kUser;
    case arrow::StatusCode::OutOfMemory:
    case arrow::StatusCode::CapacityError:
      return ErrorKind::kResource;
    case arrow::StatusCode::IOError:
      return ErrorKind::kEnvironment;
    default:
      return ErrorKind::kBug;
  }
}

bool IsRetriable(const Status& status) {
  if (status.ok()) return false;
  if (const ErrorDetail* detail = DetailOf(status)) return detail->retriable;
  if (status.IsOutOfMemory()) return true;
  return status.IsIOError() && !IsPermanentErrno(arrow::internal::ErrnoFromStatus(status));
}

Status WithContext(Status status, ErrorContext context) {
  if (status.ok()) return status;
  const ErrorDetail* known = DetailOf(status);
  auto merged = known ? std::make_shared<ErrorDetail>(*known)
                      : std::make_shared<ErrorDetail>(KindOf(status), IsRetriable(status), ErrorContext{});
  if (!known) merged->cause = status.detail();
  ErrorContext& to = merged->context;
  if (to.step.empty()) to.step = std::move(context.step);
  if (to.partition < 0) to.partition = context.partition;
  if (to.file.empty()) to.file = std::move(context.file);
  if (to.row < 0) to.row = context.row;
  if (to.hint.empty()) to.hint = std::move(context.hint);
  return status.WithDetail(std::move(merged));
}

std::string MessageOf(const Status& status) { return status.ok() ? std::string() : status.message(); }

std::string RenderError(const Status& status) {
  if (status.ok()) return "ok";
  const ErrorDetail* detail = DetailOf(status);
  std::string out =
      status.IsCancelled() ? "cancelled" : std::string(ErrorKindName(KindOf(status))) + " error";
  if (detail) {
    if (const std::string where = Where(detail->context, status.message()); !where.empty())
      out += " " + where;
  }
  out += ": " + status.message();
  const arrow::StatusDetail* foreign = detail ? detail->cause.get() : status.detail().get();
  if (foreign) out += " (" + foreign->ToString() + ")";
  if (detail && !detail->context.hint.empty()) out += "\n  try: " + detail->context.hint;
  return Printable(out);
}

int ExitCodeOf(const Status& status) {
  if (status.ok()) return 0;
  if (status.IsCancelled()) return 130;
  switch (KindOf(status)) {
    case ErrorKind::kUser:
      return 2;
    case ErrorKind::kData:
      return 3;
    case ErrorKind::kResource:
      return 4;
    case ErrorKind::kEnvironment:
      return 5;
    case ErrorKind::kBug:
      return 70;
  }
  return 70;
}

}  // namespace partita
