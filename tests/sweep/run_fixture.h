// What the tests of whole runs share: inputs of every text and table format, small pipelines over them, and
// what must hold after a run, however it ended.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "partita/base/env.h"
#include "partita/session/session.h"

namespace partita {

// A pipeline; "{root}" in the text becomes the scratch folder, outputs go below {root}/out.
struct RunCase {
  const char* name;
  const char* yaml;
};
const std::vector<RunCase>& RunCases();
void PrintTo(const RunCase& run, std::ostream* out);

using FileBytes = std::map<std::string, std::string>;  // relative path -> bytes

class RunFixture : public ::testing::Test {
 protected:
  RunFixture();
  ~RunFixture() override;

  // From text to written datasets, through `env`. A run that hangs is cancelled after a while with a bug.
  Status Run(const RunCase& run, Env* env, const RunOptions& options);
  // What a run that nothing disturbs writes; leaves no output behind.
  const FileBytes& Expected(const RunCase& run);

  // The datasets' files, without what Partita keeps for itself.
  FileBytes Output() const;
  void RemoveOutput() const;
  std::string Below(const std::string& path) const { return (root_ / path).string(); }

  // However a run ended: its error says who must act and is nobody's bug; what has a manifest is whole; what
  // succeeded is right; and the same command, undisturbed, ends with the bytes of a run that never failed.
  void ExpectGoodEnd(const RunCase& run, const Status& status, bool expect_memory);

  static RunOptions Options(int threads = 2, int max_attempts = 1);

 private:
  void WriteInputs();
  void ExpectNothingHalfWritten() const;

  std::filesystem::path root_;
  std::map<std::string, FileBytes> expected_;
};

}  // namespace partita
