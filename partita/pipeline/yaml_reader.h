// YAML nodes to JSON values: where they stand, parameters, and bounds against hostile files. Internal to the
// room. yaml-cpp throws: its exceptions are caught in ParsePipelineYaml alone.
#pragma once

#include <yaml-cpp/yaml.h>

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "partita/base/error.h"
#include "partita/base/json.h"
#include "partita/pipeline/step_spec.h"

namespace partita {

// The value that a plain scalar stands for in YAML 1.2 (core schema): null, bool, int, float, else the text
// itself.
Json ResolvePlainScalar(std::string_view text);

class YamlReader {
 public:
  explicit YamlReader(std::string_view file) : file_(file) {}

  // Values by name; from now on `${name}` is replaced in scalars. A string that is just "${name}" takes the
  // typed value; "$${" is "${".
  void SetParameters(std::map<std::string, Json> values) {
    parameters_ = std::move(values);
    substitutes_ = true;
  }

  // "pipeline.yaml:7:5: message".
  Status Error(const YAML::Mark& at, const std::string& message, std::string hint = "") const;
  Status Error(const YAML::Node& at, const std::string& message, std::string hint = "") const;
  // The same for a status made elsewhere; OK stays OK.
  Status Located(const YAML::Node& at, const Status& status) const;

  // The entries of a map in the order of the file. Keys that are no text or stand twice are errors.
  struct Entry {
    std::string key;
    YAML::Node key_node, value;
  };
  Result<std::vector<Entry>> MapEntries(const YAML::Node& map);

  // A scalar as it is written, without parameters: names.
  Result<std::string> Name(const YAML::Node& node, std::string_view what) const;
  // A scalar's text with parameters replaced.
  Result<std::string> Text(const YAML::Node& node);
  Result<Json> Value(const YAML::Node& node);
  // A value as an argument of this type reads it: 007 is text for a string and a number for an int.
  Result<Json> Argument(const YAML::Node& node, ArgType type);

 private:
  struct Nested;  // counts depth
  Status Count(const YAML::Node& node);
  Status CheckTag(const YAML::Node& node) const;
  Result<Json> Substitute(const YAML::Node& node, const std::string& text);
  Result<Json> TextOrList(const YAML::Node& node);
  Result<Json> TextMap(const YAML::Node& node);
  Result<Json> ExpressionText(const YAML::Node& node);
  Result<Json> ExpressionMap(const YAML::Node& node);
  Status AddExpressions(const YAML::Node& map, Json* out);

  std::string file_;
  bool substitutes_ = false;
  std::map<std::string, Json> parameters_;
  int depth_ = 0;
  int64_t values_ = 0, text_bytes_ = 0;
};

}  // namespace partita
