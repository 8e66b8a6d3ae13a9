// Pipelines and snapshots for this room's tests: written in a few lines, no file is touched.
#pragma once

#include <arrow/api.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "partita/base/json.h"
#include "partita/compile/compile.h"
#include "partita/pipeline/step_spec.h"

namespace partita {

// Steps as a component would bring them. Idempotent.
//   test_fetch {url}   volatile; reads url, adds image (binary) and status; wishes for 1000 rows a partition;
//   8 MiB test_resize        reads image, replaces it, adds width; 16 MiB test_digest        reads all
//   columns; its output is the column digest alone
void RegisterTestSteps();

class TestPipeline {
 public:
  TestPipeline() { RegisterTestSteps(); }

  // A step whose input is the last one that is no sink, unless named. Its name is its op's, unless given.
  TestPipeline& Add(std::string op, Json args = Json::object(), std::string name = "",
                    std::vector<std::string> inputs = {});
  TestPipeline& OnErrors(OnError policy);  // of the last step
  TestPipeline& At(int line, int column);  // of the last step

  // Parquet with columns url (string), caption (string), width (int64), height (int64) and one small file,
  // unless given.
  TestPipeline& Parquet(std::string name, std::vector<SourceFile> files = {});
  TestPipeline& Source(SourceSnapshot source);

  Result<Plan> Compiled() const { return Compile(pipeline, snapshot); }
  // Fails the test where it does not compile. Also checks what every plan must satisfy.
  Plan MustCompile() const;

  Pipeline pipeline;
  Snapshot snapshot;
};

SourceFile TestFile(std::string location, int64_t size_bytes, int64_t num_rows = -1,
                    std::vector<FileInfo::Unit> units = {});

// One line a stage: "scan(url,width)[filter,project]>sink0@1". Nodes as op:columns<input.
std::string Shape(const Plan& plan, int stage);

MATCHER_P2(IsUserError, message, step, "") {
  if (arg.ok()) {
    *result_listener << "it succeeded";
    return false;
  }
  const Status& status = arg.status();
  *result_listener << RenderError(status);
  const ErrorDetail* detail = DetailOf(status);
  return KindOf(status) == ErrorKind::kUser && status.message().find(message) != std::string::npos &&
         (std::string(step).empty() || (detail != nullptr && detail->context.step == step));
}

}  // namespace partita
