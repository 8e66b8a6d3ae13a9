// Reads Parquet, keeps some rows, writes JSON lines: the C++ API in about 20 lines. Arguments: input folder, output folder.
#include <partita/partita.h>

#include <iostream>

int main(int argc, char** argv) {
  if (argc != 3) return std::cerr << "usage: example IN OUT\n", 2;
  partita::RegisterAll();
  partita::Pipeline pipeline;
  const auto read = AddStep(&pipeline, {.op = "read_parquet", .args = {{"path", argv[1]}}});
  const auto kept = AddStep(&pipeline, {.op = "filter", .args = {{"predicate", "x > 0"}}, .inputs = {read}});
  AddStep(&pipeline, {.op = "write_jsonl", .args = {{"path", argv[2]}}, .inputs = {kept}});

  partita::Session session(partita::Env::Default());
  auto compiled = session.CompilePipeline(pipeline);
  if (!compiled.ok()) return std::cerr << partita::RenderError(compiled.status()) << "\n", 1;
  partita::RunOptions options;
  options.memory_bytes = 256 << 20;
  auto result = session.Run(*compiled, options);
  if (!result.ok()) return std::cerr << partita::RenderError(result.status()) << "\n", 1;
  std::cout << result->datasets[0].manifest.num_rows << " rows\n";
  return 0;
}
