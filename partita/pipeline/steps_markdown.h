// The registry as a page of documentation: docs/steps.md is this text.
#pragma once

#include <string>

namespace partita {

std::string StepsMarkdown();

}  // namespace partita
