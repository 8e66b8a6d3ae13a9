// Errors: who must act, and on what.
//
// All rooms return arrow::Status / arrow::Result. A status made here carries an ErrorDetail: the kind (who must act), whether
// trying again can help, where it happened (step, partition, file, row) and the next thing to try. Exceptions exist only in
// the bindings. All functions are thread-safe.
#pragma once

#include <arrow/result.h>
#include <arrow/status.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace partita {

using arrow::Result;
using arrow::Status;

enum class ErrorKind {
  kUser,         // the pipeline or its arguments are wrong: the author edits them
  kData,         // a row or a file is bad: `on_error` decides
  kResource,     // memory or disk ran out: give more, or ask for less
  kEnvironment,  // network, storage, permissions: retried, then the operator of the machine acts
  kBug,          // Partita is wrong: report it
};

// Lower-case word, as events, quarantine datasets and `--json` show it: "user", "data", ...
std::string_view ErrorKindName(ErrorKind kind);
Result<ErrorKind> ParseErrorKind(std::string_view name);

// Where an error happened. Empty and -1 mean "not known here"; each layer adds what it knows with WithContext.
struct ErrorContext {
  std::string step;
  int64_t partition = -1;
  std::string file;
  int64_t row = -1;   // ordinal in the file (or in the partition where there is no file)
  std::string hint;   // the next thing to try, an imperative sentence without a full stop
};

class ErrorDetail : public arrow::StatusDetail {
 public:
  ErrorDetail(ErrorKind kind, bool retriable, ErrorContext context);
  const char* type_id() const override { return "partita.ErrorDetail"; }
  std::string ToString() const override;

  ErrorKind kind;
  bool retriable;
  ErrorContext context;
  // Arrow's own detail that this one replaced (an errno), or null. Its text is part of ToString().
  std::shared_ptr<arrow::StatusDetail> cause;
};

Status UserError(std::string message, std::string hint = "");
Status DataError(std::string message, std::string hint = "");
// Out of memory is Status::OutOfMemory with this detail; disk full is an IOError with it. Both are retriable: others may give
// back what they hold.
Status ResourceError(std::string message, std::string hint = "");
Status OutOfMemoryError(std::string message, std::string hint = "");
Status EnvironmentError(std::string message, std::string hint = "", bool retriable = true);
Status BugError(std::string message);

// The detail, or null for a plain arrow status.
const ErrorDetail* DetailOf(const Status& status);
// The kind of any status. Plain arrow statuses map by code: Invalid, SerializationError -> data; KeyError, TypeError,
// NotImplemented -> user; OutOfMemory, CapacityError -> resource; IOError -> environment; Cancelled -> user; else bug.
ErrorKind KindOf(const Status& status);
bool IsRetriable(const Status& status);

// Adds context: fields already known (set nearer to the fault) win. Keeps code and message. OK stays OK.
Status WithContext(Status status, ErrorContext context);

// The message without detail, for `error_message` columns and quarantine. Canonical: no address, no duration.
std::string MessageOf(const Status& status);
// Several lines for people: "data error in step 'resize', partition 3, file x.jpg, row 17: ...\n  try: ...".
std::string RenderError(const Status& status);
// Documented process exit code: 0 ok, 2 user, 3 data, 4 resource, 5 environment, 70 bug, 130 cancelled.
int ExitCodeOf(const Status& status);

}  // namespace partita
