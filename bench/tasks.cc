// Many tiny partitions through an identity map, by the same engine that `partita run` uses; rows go to this
// program.
//
//   partita_bench_tasks ROWS ROWS_PER_PARTITION [THREADS] [identity|none]
//
// Prints {"seconds": ..., "rows": ..., "sum": ..., "tasks": ...}. The clock runs from the pipeline's text to
// the last row: parsing, compiling and starting threads are in it.
#include <arrow/api.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "components/register.h"
#include "partita/pipeline/pipeline.h"
#include "partita/session/session.h"

namespace {

struct Total {
  int64_t rows = 0, sum = 0, tasks = 0;
};

partita::Result<Total> Go(int64_t rows, int64_t rows_per_partition, int threads, bool maps) {
  partita::Session session(partita::Env::Default());
  std::string text = "steps:\n  - range: {n: " + std::to_string(rows) +
                     ", rows_per_partition: " + std::to_string(rows_per_partition) + "}\n";
  // An addition of nothing: unlike a bare column, it is not compiled away.
  if (maps) text += "  - with_columns: {id: id + 0}\n";
  ARROW_ASSIGN_OR_RAISE(const auto pipeline, partita::ParsePipelineYaml(text, "tasks.yaml", {}));
  partita::RunOptions options;
  options.threads = threads;
  options.memory_bytes = int64_t{1} << 30;
  ARROW_ASSIGN_OR_RAISE(auto stream, session.Stream(pipeline, "", -1, options));
  Total total;
  while (true) {
    ARROW_ASSIGN_OR_RAISE(const auto batch, stream->Next());
    if (!batch) break;
    total.rows += batch->num_rows();
    const auto& ids = static_cast<const arrow::Int64Array&>(*batch->column(0));
    for (int64_t i = 0; i < ids.length(); ++i) total.sum += ids.Value(i);
  }
  total.tasks = (rows + rows_per_partition - 1) / rows_per_partition;
  return total;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: partita_bench_tasks ROWS ROWS_PER_PARTITION [THREADS] [identity|none]\n");
    return 2;
  }
  partita::RegisterComponents();
  const auto start = std::chrono::steady_clock::now();
  const bool maps = argc <= 4 || std::string(argv[4]) == "identity";
  auto total = Go(std::atoll(argv[1]), std::atoll(argv[2]), argc > 3 ? std::atoi(argv[3]) : 0, maps);
  if (!total.ok()) {
    std::fprintf(stderr, "%s\n", total.status().ToString().c_str());
    return 1;
  }
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::printf("{\"seconds\": %.5f, \"rows\": %lld, \"sum\": %lld, \"tasks\": %lld}\n", seconds,
              static_cast<long long>(total->rows), static_cast<long long>(total->sum),
              static_cast<long long>(total->tasks));
  return 0;
}
