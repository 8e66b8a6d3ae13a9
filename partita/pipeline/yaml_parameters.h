// The `parameters` section of pipeline.yaml. Internal to the room.
#pragma once

#include <yaml-cpp/yaml.h>

#include <map>
#include <string>

#include "partita/base/error.h"
#include "partita/base/json.h"
#include "partita/pipeline/yaml_reader.h"

namespace partita {

// Types of parameters: "string", "int", "float", "bool", "list" (of strings).
const std::vector<std::string>& YamlParameterTypes();

// The value of each parameter: from `set`, else its default. `section` may be undefined or null.
Result<std::map<std::string, Json>> ReadYamlParameters(const YAML::Node& section,
                                                       const std::map<std::string, std::string>& set,
                                                       YamlReader* in);

}  // namespace partita
