// Asks a Python function which columns it returns: it is called on a few rows, in a process of its own, when
// a plan is made.
#pragma once

#include <functional>
#include <string>

#include "partita/base/error.h"

namespace partita {

struct Inferred {
  std::string answer;  // JSON of python/partita/worker/infer.py; "": the process ended before it could say
  std::string end;     // how the process ended: "exit code 3"
};
// `question`: what infer.py reads. `name`: the head of lines that the function prints. `poll` is called every
// 50 ms; an error of it ends the process and is returned.
Result<Inferred> InferColumns(const std::string& name, const std::string& question,
                              const std::function<Status()>& poll);

}  // namespace partita
