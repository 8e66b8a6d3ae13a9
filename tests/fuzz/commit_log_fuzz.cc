// A commit log from a damaged disk: opened, appended to and opened again. An even first byte makes the
// checksums of the lines right.
#include <arrow/io/interfaces.h>

#include "partita/base/digest.h"
#include "partita/dataset/commit_log.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace partita;
  if (size == 0) return 0;
  static const fuzz::ScratchFile scratch(".log");
  std::string bytes(fuzz::Text(data + 1, size - 1));
  for (size_t at = 0; data[0] % 2 == 0 && at < bytes.size();) {
    const size_t end = std::min(bytes.find('\n', at), bytes.size());
    if (end - at > 17 && bytes[at + 16] == ' ') {
      char sum[17];
      std::snprintf(sum, sizeof sum, "%016llx",
                    static_cast<unsigned long long>(
                        Checksum64(bytes.data() + at + 17, static_cast<int64_t>(end - at - 17))));
      bytes.replace(at, 16, sum);
    }
    at = end + 1;
  }
  const std::string& path = scratch.Put(bytes);
  size_t commits = 0;
  {
    auto log = CommitLog::Open(Env::Default(), path);
    FUZZ_CHECK(log.ok(), RenderError(log.status()));
    TaskCommit commit;
    commit.stage = 1;
    commit.partition = 123456789;
    commit.outputs.push_back(
        {.output = 0, .dataset = 0, .rows = 3, .files = {{"part-00001-000.csv", 3, 17}}});
    const Status appended = (*log)->Append(commit);
    FUZZ_CHECK(appended.ok(), appended.ToString());
    commits = (*log)->commits().size();
  }
  auto again = CommitLog::Open(Env::Default(), path);
  FUZZ_CHECK(again.ok(), RenderError(again.status()));
  FUZZ_CHECK((*again)->Contains(1, 123456789), "a commit is lost");
  FUZZ_CHECK((*again)->commits().size() == commits, "another log is read back");
  return 0;
}
