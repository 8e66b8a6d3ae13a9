// Status -> exception. The classes are Python's (partita/errors.py); here only their arguments are filled in.
#include "python/src/bindings.h"

namespace partita::python {
namespace {

nb::object TextOrNone(const std::string& text) { return text.empty() ? nb::none() : nb::cast(text); }
nb::object NumberOrNone(int64_t number) { return number < 0 ? nb::none() : nb::cast(number); }

void RaiseStatus(const Status& status) {
  ErrorContext context;
  bool retriable = IsRetriable(status);
  if (const ErrorDetail* detail = DetailOf(status)) context = detail->context;
  const std::string kind = status.IsCancelled() ? "cancelled" : std::string(ErrorKindName(KindOf(status)));
  nb::object error =
      nb::module_::import_("partita.errors")
          .attr("_make")(kind, MessageOf(status), RenderError(status), retriable, TextOrNone(context.step),
                         NumberOrNone(context.partition), TextOrNone(context.file), NumberOrNone(context.row),
                         TextOrNone(context.hint));
  PyErr_SetObject(reinterpret_cast<PyObject*>(Py_TYPE(error.ptr())), error.ptr());
}

}  // namespace

void BindErrors(nb::module_&) {
  nb::register_exception_translator([](const std::exception_ptr& pointer, void*) {
    try {
      std::rethrow_exception(pointer);
    } catch (const StatusError& error) {
      try {
        RaiseStatus(error.status);
      } catch (nb::python_error& python) {  // the class itself could not be made
        python.restore();
      }
    }
  });
}

}  // namespace partita::python
