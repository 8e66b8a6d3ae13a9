// What the files of the binding share. Thin on purpose: values cross as JSON text or Arrow capsules; what
// users see is python/partita/. Rules: every call that may block releases the GIL; a Status becomes an
// exception through Check/ValueOrThrow.
#pragma once

#include <nanobind/nanobind.h>
#include <nanobind/stl/optional.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/vector.h>

#include <exception>
#include <string>
#include <utility>
#include <vector>

#include "partita/base/error.h"
#include "partita/base/json_fwd.h"
#include "partita/session/options.h"

namespace partita::python {

namespace nb = nanobind;

// A failed status on its way to Python; becomes a subclass of partita.PartitaError.
struct StatusError : std::exception {
  explicit StatusError(Status failed) : status(std::move(failed)) {}
  const char* what() const noexcept override { return "partita.PartitaError"; }
  Status status;
};

inline void Check(Status status) {
  if (!status.ok()) throw StatusError(std::move(status));
}

template <typename T>
T ValueOrThrow(Result<T> result) {
  if (!result.ok()) throw StatusError(result.status());
  return std::move(result).ValueUnsafe();
}

// Run options as Python hands them over: (name, text), applied in order over environment and pipeline file.
using OptionPairs = std::vector<std::pair<std::string, std::string>>;
Result<RunOptions> MakeRunOptions(const Json& file_options, const OptionPairs& given);

void BindErrors(nb::module_& m);
void BindOptions(nb::module_& m);
void BindExpressions(nb::module_& m);
void BindFunctions(nb::module_& m);
void BindPipeline(nb::module_& m);
void BindComponents(nb::module_& m);
void BindObserver(nb::module_& m);
void BindStream(nb::module_& m);
void BindSession(nb::module_& m);
void BindIngest(nb::module_& m);
void BindEngines(nb::module_& m);

}  // namespace partita::python
