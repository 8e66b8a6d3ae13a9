#include "tests/sweep/run_fixture.h"

#include <algorithm>
#include <fstream>
#include <sstream>

#include "components/register.h"
#include "partita/base/units.h"
#include "partita/pipeline/pipeline.h"

namespace partita {
namespace {

namespace fs = std::filesystem;

constexpr double kHangSeconds = 60;

// In memory where the machine has such a folder: the sweeps sync a thousand times, and a sync of the whole
// file system would wait for everybody else's bytes.
fs::path ScratchParent() {
  std::error_code error;
  const fs::path shared = "/dev/shm";
  if (fs::is_directory(shared, error)) {
    const fs::path probe = shared / ("partita-probe-" + Env::Default()->RandomHex(8));
    if (fs::create_directory(probe, error) && fs::remove(probe, error)) return shared;
  }
  return fs::temp_directory_path();
}

std::string Replaced(std::string text, const std::string& from, const std::string& to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size())) {
    text.replace(at, from.size(), to);
  }
  return text;
}

std::string BytesOf(const fs::path& path) {
  std::ifstream stream(path, std::ios::binary);
  std::ostringstream bytes;
  bytes << stream.rdbuf();
  return bytes.str();
}

constexpr const char* kInputs = R"yaml(
steps:
  - range: {n: 240, rows_per_partition: 80}
  - with_columns: {k: id % 7, half: cast(id as double) / 2.0, word: "concat('w', cast(id as string))"}
    name: base
  - write_parquet: {path: "{root}/in/parquet", row_group_size: 30}
    input: base
  - write_csv: {path: "{root}/in/csv"}
    input: base
  - write_jsonl: {path: "{root}/in/jsonl"}
    input: base
)yaml";

// Where two files part, for a report.
std::string Difference(const std::string& expected, const std::string& actual) {
  const auto at = std::mismatch(expected.begin(), expected.end(), actual.begin(), actual.end()).first;
  return std::to_string(expected.size()) + " bytes expected, " + std::to_string(actual.size()) +
         " found, the first difference is at " + std::to_string(at - expected.begin());
}

// Every format in, several out, a limit over all of it.
constexpr const char* kFormats = R"yaml(
steps:
  - read_parquet: {path: "{root}/in/parquet"}
    name: a
  - read_csv: {path: "{root}/in/csv", column_types: {id: int64, k: int64, half: double, word: string}}
    name: b
  - read_jsonl: {path: "{root}/in/jsonl", column_types: {id: int64, k: int64, half: double, word: string}}
    name: c
  - union:
    input: [a, b, c]
  - filter: k != 3
  - with_columns: {shout: upper(word), twice: half * 2.0}
  - limit: 500
    name: rows
  - write_parquet: {path: "{root}/out/parquet", rows_per_file: 200}
    input: rows
  - write_webdataset: {path: "{root}/out/shards", rows_per_shard: 150}
    input: rows
)yaml";

constexpr const char* kQuarantine = R"yaml(
steps:
  - read_jsonl: {path: "{root}/in/jsonl"}
  - with_columns: {inverse: 1000 / (id - 100)}
    name: divide
    on_error: quarantine
  - filter: k < 6
  - write_parquet: {path: "{root}/out/parquet", row_group_size: 50}
)yaml";

constexpr const char* kExact = R"yaml(
steps:
  - read_parquet: {path: "{root}/in/parquet"}
  - filter: id % 3 != 0
    name: rows
  - write_webdataset: {path: "{root}/out/shards", rows_per_shard: 50, exact: true}
    input: rows
  - write_csv: {path: "{root}/out/csv", partition_by: [k]}
    input: rows
)yaml";

// Rows that change partition, over and over; one source on both sides of a join.
constexpr const char* kExchanges = R"yaml(
steps:
  - read_parquet: {path: "{root}/in/parquet"}
    name: rows
  - group_by: {by: [k], aggregates: {n: count(), total: sum(half), last: last(word)}}
    input: rows
    name: groups
  - join: {on: [k], partitions: 3}
    input: [rows, groups]
  - repartition: {n: 4, by: [word]}
  - sort: {by: [half], descending: [true]}
    name: sorted
  - write_parquet: {path: "{root}/out/parquet"}
    input: sorted
  - random_shuffle: {seed: 3}
    input: sorted
    name: shuffled
  - write_csv: {path: "{root}/out/csv"}
    input: shuffled
)yaml";

}  // namespace

const std::vector<RunCase>& RunCases() {
  static const std::vector<RunCase> cases = {
      {"formats", kFormats}, {"quarantine", kQuarantine}, {"exact", kExact}, {"exchanges", kExchanges}};
  return cases;
}

void PrintTo(const RunCase& run, std::ostream* out) { *out << run.name; }

RunFixture::RunFixture() {
  RegisterComponents();
  root_ = ScratchParent() / ("partita-runs-" + Env::Default()->RandomHex(8));
  fs::create_directories(root_);
  WriteInputs();
}

RunFixture::~RunFixture() {
  std::error_code ignored;
  fs::remove_all(root_, ignored);
}

RunOptions RunFixture::Options(int threads, int max_attempts) {
  RunOptions options;
  options.memory_bytes = 256 * kMiB;
  options.threads = threads;
  options.max_attempts = max_attempts;
  return options;
}

void RunFixture::WriteInputs() {
  const Status status = Run({"inputs", kInputs}, Env::Default(), Options());
  if (!status.ok()) ADD_FAILURE() << RenderError(status);
}

Status RunFixture::Run(const RunCase& run, Env* env, const RunOptions& options) {
  const std::string text = Replaced(run.yaml, "{root}", root_.string());
  ARROW_ASSIGN_OR_RAISE(const auto pipeline, ParsePipelineYaml(text, run.name, {}));
  Session session(env);
  ARROW_ASSIGN_OR_RAISE(const auto compiled, session.CompilePipeline(pipeline));
  RunControl control;
  const int64_t started = env->MonotonicNanos();
  control.poll = [env, started] {
    const double seconds = static_cast<double>(env->MonotonicNanos() - started) * 1e-9;
    return seconds < kHangSeconds ? Status::OK() : BugError("the run hangs");
  };
  return session.Run(compiled, options, std::move(control)).status();
}

const FileBytes& RunFixture::Expected(const RunCase& run) {
  auto [it, fresh] = expected_.try_emplace(run.name);
  if (fresh) {
    const Status status = Run(run, Env::Default(), Options());
    EXPECT_TRUE(status.ok()) << RenderError(status);
    it->second = Output();
    EXPECT_FALSE(it->second.empty());
    RemoveOutput();
  }
  return it->second;
}

FileBytes RunFixture::Output() const {
  FileBytes files;
  const fs::path out = root_ / "out";
  if (!fs::exists(out)) return files;
  for (auto it = fs::recursive_directory_iterator(out); it != fs::recursive_directory_iterator(); ++it) {
    if (it->path().filename() == "_partita") {
      it.disable_recursion_pending();
    } else if (it->is_regular_file()) {
      files[fs::relative(it->path(), out).string()] = BytesOf(it->path());
    }
  }
  return files;
}

void RunFixture::RemoveOutput() const {
  std::error_code ignored;
  fs::remove_all(root_ / "out", ignored);
}

void RunFixture::ExpectNothingHalfWritten() const {
  const fs::path out = root_ / "out";
  if (!fs::exists(out)) return;
  for (const auto& entry : fs::recursive_directory_iterator(out)) {
    if (entry.path().filename() != kManifestName) continue;
    const fs::path folder = entry.path().parent_path();
    const auto manifest = Manifest::Read(Env::Default(), folder.string());
    ASSERT_TRUE(manifest.ok()) << entry.path() << ": " << manifest.status();
    for (const auto& partition : manifest->partitions) {
      for (const auto& file : partition.files) {
        ASSERT_TRUE(fs::exists(folder / file.path)) << entry.path() << " names " << file.path;
        ASSERT_EQ(static_cast<int64_t>(fs::file_size(folder / file.path)), file.size_bytes) << file.path;
      }
    }
  }
}

void RunFixture::ExpectGoodEnd(const RunCase& run, const Status& status, bool expect_memory) {
  ExpectNothingHalfWritten();
  if (!status.ok()) {
    const std::string text = RenderError(status);
    if (expect_memory) {
      EXPECT_EQ(ErrorKindName(KindOf(status)), "resource") << text;
    } else {
      EXPECT_THAT(std::string(ErrorKindName(KindOf(status))), ::testing::AnyOf("environment", "resource"))
          << text;
    }
    EXPECT_FALSE(MessageOf(status).empty());
    const Status again = Run(run, Env::Default(), Options());
    ASSERT_TRUE(again.ok()) << RenderError(again) << "\nafter " << text;
  }
  const FileBytes output = Output();
  const FileBytes& expected = Expected(run);  // made before the first disturbed run
  for (const auto& [path, bytes] : expected) {
    const auto it = output.find(path);
    ASSERT_NE(it, output.end()) << path << " is missing after " << status;
    EXPECT_TRUE(it->second == bytes) << path << " differs after " << status << ": "
                                     << Difference(bytes, it->second);
  }
  for (const auto& [path, bytes] : output) {
    ASSERT_TRUE(expected.contains(path)) << path << " should not be there after " << status;
  }
  RemoveOutput();
}

}  // namespace partita
