#include "partita/session/ingest.h"

#include <arrow/record_batch.h>
#include <arrow/type.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <future>
#include <limits>

#include "partita/base/digest.h"
#include "partita/base/json.h"
#include "partita/base/units.h"
#include "partita/engine/local_engine.h"
#include "partita/memory/budget.h"

namespace partita {
namespace {

constexpr int kIngestVersion = 1;

// Steps that give exactly one row for each row.
constexpr std::array<std::string_view, 8> kRowForRow = {
    "project",  "decode_image",    "encode_image", "resize_images", "extract_image_resolution",
    "download", "download_images", "map"};

bool IsRowForRow(const PlanNode& node) {
  // Of functions of batches the user says it, and they are held to it.
  if (node.op == "map_batches") return GetBoolOr(node.args, "per_row", false).ValueOr(false);
  return std::find(kRowForRow.begin(), kRowForRow.end(), node.op) != kRowForRow.end();
}

Status CannotSkip(const std::string& step, const std::string& why, const std::string& cost) {
  return WithContext(UserError("the rows behind this step cannot be skipped into: " + why,
                               "write them once (ds.write_parquet(...)" + cost +
                                   ") and read that; or stream them from the start, without ranks and states "
                                   "(ds.iter_batches, ds.iter_torch_batches)"),
                     {.step = step});
}

// What is read once to persist the rows. Rows are guessed from the files whose footers were read anyway.
std::string CostOf(const Snapshot& snapshot) {
  int64_t bytes = 0, rows = 0, seen_rows = 0, seen_bytes = 0, files = 0;
  bool known = true;
  for (const auto& source : snapshot.sources) {
    files += static_cast<int64_t>(source.files.size());
    rows += std::max<int64_t>(0, source.num_rows);
    for (const auto& file : source.files) {
      bytes += std::max<int64_t>(0, file.entry.size_bytes);
      if (!file.inspected || file.num_rows < 0) continue;
      seen_rows += file.num_rows;
      seen_bytes += std::max<int64_t>(0, file.entry.size_bytes);
    }
    known = known && (source.files.empty() || seen_bytes > 0);
  }
  if (seen_bytes > 0)
    rows += static_cast<int64_t>(static_cast<double>(bytes) * static_cast<double>(seen_rows) /
                                 static_cast<double>(seen_bytes));
  std::string text = ": one pass over ";
  if (known) text += "about " + FormatCount(rows) + " rows" + (files > 0 ? ", " : "");
  if (files > 0) text += FormatBytes(bytes) + " in " + FormatCount(files) + (files == 1 ? " file" : " files");
  return text;
}

// `cost`: for the message.
Status CheckRowForRow(const Plan& plan, const std::string& cost) {
  for (const auto& exchange : plan.exchanges) {
    return CannotSkip(exchange.step, "they change place, and no file says where they go", cost);
  }
  if (plan.stages.size() != 1 || plan.sinks.size() != 1 || plan.stages[0].outputs.size() != 1) {
    return CannotSkip(plan.stages.empty() ? "" : plan.stages[0].source.step,
                      "they come from several sources (mix datasets with pt.mix)", cost);
  }
  const auto& stage = plan.stages[0];
  if (stage.source.on_error != OnError::kFail) {
    return CannotSkip(stage.source.step, "its on_error leaves rows out, nobody knows how many", cost);
  }
  for (const auto& node : stage.nodes) {
    if (!IsRowForRow(node)) {
      const std::string say =
          node.op == "map_batches" ? " (if it gives a row for each, say per_row=True)" : "";
      return CannotSkip(node.step,
                        "it may give more or fewer rows than it takes, nobody knows how many" + say, cost);
    }
    if (node.on_error != OnError::kFail) {
      return CannotSkip(node.step, "its on_error leaves rows out, nobody knows how many", cost);
    }
  }
  if (stage.source.limit >= 0 || stage.outputs[0].limit >= 0 || plan.sinks[0].limit >= 0) {
    return CannotSkip(stage.source.step, "a limit cuts them", cost);
  }
  return Status::OK();
}

// Columns of lists count their values, not their rows, in a page: a reader that begins inside a row group
// decodes what stands before. Then row groups stay whole up to so many chunks.
constexpr int64_t kChunksOfNested = 8;

// Row groups of one file, small ones together, those larger than `most_bytes` in pieces.
void CutFile(const SourceFile& file, int64_t chunk_bytes, int64_t most_bytes, std::vector<Chunk>* chunks) {
  const auto add = [&](int64_t begin, int64_t end, int64_t bytes) {
    Chunk chunk;
    chunk.part.fragments.push_back({file.entry, Fragment::Range::kRows, begin, end});
    chunk.rows = end - begin;
    chunk.bytes = std::max<int64_t>(1, bytes);
    chunks->push_back(std::move(chunk));
  };
  int64_t row = 0, begin = 0, bytes = 0;
  const auto flush = [&] {
    if (row > begin) add(begin, row, bytes);
    begin = row;
    bytes = 0;
  };
  for (const auto& unit : file.units) {
    if (unit.bytes > chunk_bytes - bytes) flush();
    if (unit.bytes <= most_bytes) {
      row += unit.rows;
      bytes += unit.bytes;
      continue;
    }
    const int64_t pieces = std::min(unit.rows, unit.bytes / most_bytes + (unit.bytes % most_bytes != 0));
    for (int64_t i = 0; i < pieces; ++i) {
      const auto at = [&](int64_t piece) {
        return static_cast<int64_t>(static_cast<__int128>(unit.rows) * piece / pieces);
      };
      add(row + at(i), row + at(i + 1), unit.bytes / pieces);
    }
    begin = row += unit.rows;
  }
  flush();
}

// Pieces of rows without files.
std::vector<Chunk> CutRows(int64_t rows, int64_t row_bytes, int64_t chunk_bytes) {
  const int64_t size = std::max<int64_t>(1, chunk_bytes / std::max<int64_t>(1, row_bytes));
  std::vector<Chunk> chunks;
  for (int64_t begin = 0; begin < rows; begin += std::min(size, rows - begin)) {
    Chunk chunk;
    chunk.part.first_row = begin;
    chunk.part.rows = chunk.rows = std::min(size, rows - begin);
    chunk.bytes = chunk.rows * std::max<int64_t>(1, row_bytes);
    chunks.push_back(std::move(chunk));
  }
  return chunks;
}

// Bytes of a row of the range or, with its table at hand, of the table. Of a type of no fixed width a
// constant: that only says how coarsely rows in memory are shuffled.
int64_t RowBytes(const SourceSnapshot& source) {
  int64_t bytes = 0;
  for (const auto& field : source.schema->fields()) {
    const int width = field->type()->byte_width();
    bytes += width > 0 ? width : 64;
  }
  return bytes;
}

// All chunks; rows -1 where they are to be counted.
Result<std::vector<Chunk>> CutChunks(const CompiledPlan& compiled, int64_t chunk_bytes) {
  const auto& source = compiled.plan.stages[0].source;
  const auto* snapshot = compiled.snapshot.Find(source.step);
  if (snapshot == nullptr) return BugError("the snapshot has no source '" + source.step + "'");
  std::vector<Chunk> chunks;
  if (source.format == "range" || source.format == "memory") {
    chunks = CutRows(std::max<int64_t>(0, snapshot->num_rows), RowBytes(*snapshot), chunk_bytes);
  } else if (source.format == "parquet") {
    const auto& fields = source.schema->fields();
    const bool nested = std::any_of(fields.begin(), fields.end(),
                                    [](const auto& field) { return field->type()->num_fields() > 0; });
    const int64_t most_bytes = nested && chunk_bytes <= std::numeric_limits<int64_t>::max() / kChunksOfNested
                                   ? kChunksOfNested * chunk_bytes
                                   : chunk_bytes;
    for (const auto& file : snapshot->files) CutFile(file, chunk_bytes, most_bytes, &chunks);
  } else {
    ARROW_ASSIGN_OR_RAISE(auto partitions, ScanPartitions(compiled.plan, 0, compiled.snapshot));
    for (auto& part : partitions) {
      Chunk chunk;
      for (const auto& fragment : part.fragments) {
        const bool whole = fragment.range == Fragment::Range::kWhole;
        chunk.bytes += whole ? std::max<int64_t>(0, fragment.file.size_bytes) : fragment.end - fragment.begin;
      }
      chunk.bytes = std::max<int64_t>(1, chunk.bytes);
      // A file is a row; one that is split in several tasks by rows does not happen to these formats.
      chunk.rows = source.format == "files" ? static_cast<int64_t>(part.fragments.size()) : -1;
      chunk.part = std::move(part);
      chunks.push_back(std::move(chunk));
    }
  }
  for (size_t i = 0; i < chunks.size(); ++i) chunks[i].part.index = static_cast<int64_t>(i);
  return chunks;
}

// Reads a chunk of no columns.
Result<int64_t> CountRows(const PlanSource& source, const SourceSnapshot& snapshot, const Chunk& chunk,
                          const OperatorContext& ctx) {
  ARROW_ASSIGN_OR_RAISE(auto scan, MakeScan({&source, &snapshot, chunk.part, nullptr, {}}));
  int64_t rows = 0;
  while (true) {
    ARROW_RETURN_NOT_OK(ctx.cancel.Check());
    ARROW_ASSIGN_OR_RAISE(auto block, scan->Next(ctx));
    if (!block) return rows;
    rows += block->num_rows();
  }
}

// Chunks are counted side by side, each by one thread.
Status CountChunks(Env* env, const CompiledPlan& compiled, const RunOptions& options,
                   const RunControl& control, std::vector<Chunk>* chunks) {
  PlanSource source = compiled.plan.stages[0].source;
  source.schema = arrow::schema({});
  const auto* snapshot = compiled.snapshot.Find(source.step);
  auto budget = Budget::Make(options.memory_bytes);
  OperatorContext ctx;
  ctx.step = source.step;
  ctx.pool = budget->root();
  ctx.env = env;
  ctx.target_block_bytes = TargetBlockBytes(options.memory_bytes);
  std::vector<Chunk*> uncounted;
  for (auto& chunk : *chunks) {
    if (chunk.rows < 0) uncounted.push_back(&chunk);
  }
  std::atomic<size_t> next{0};
  const auto count = [&]() -> Status {
    for (size_t i = next++; i < uncounted.size(); i = next++) {
      Status end = CountRows(source, *snapshot, *uncounted[i], ctx).Value(&uncounted[i]->rows);
      if (!end.ok()) {
        next = uncounted.size();
        return WithContext(std::move(end), {.step = source.step});
      }
    }
    return Status::OK();
  };
  std::vector<std::future<Status>> counting;
  for (size_t t = 0; t < std::min<size_t>(uncounted.size(), std::max(1, options.threads)); ++t)
    counting.push_back(std::async(std::launch::async, count));
  Status asked, end;
  for (auto& thread : counting) {
    while (thread.wait_for(std::chrono::milliseconds(50)) != std::future_status::ready) {
      if (asked.ok()) asked = control.cancel.Check();
      if (asked.ok() && control.poll) asked = control.poll();
      if (!asked.ok()) ctx.cancel.Cancel();
    }
    Status its = thread.get();
    if (end.ok()) end = std::move(its);
  }
  ARROW_RETURN_NOT_OK(asked);
  return end;
}

Status Complete(Ingest* ingest) {
  ingest->num_rows = ingest->num_bytes = 0;
  for (const auto& chunk : ingest->chunks) {
    if (chunk.rows < 0 || chunk.rows > std::numeric_limits<int64_t>::max() - ingest->num_rows) {
      return DataError("the index does not fit the source", "make it again");
    }
    ingest->num_rows += chunk.rows;
    ingest->num_bytes += chunk.bytes;
  }
  return Status::OK();
}

}  // namespace

std::string Ingest::Digest() const {
  Json value = {{"version", kIngestVersion}, {"rows", Json::array()}, {"sizes", Json::array()}};
  for (const auto& chunk : chunks) value["rows"].push_back(chunk.rows);
  for (const auto& source : compiled.snapshot.sources) {
    for (const auto& file : source.files) value["sizes"].push_back(file.entry.size_bytes);
  }
  return Sha256Hex(CanonicalJson(value));
}

Result<std::string> Ingest::ToText() const {
  if (compiled.plan.stages[0].source.format == "memory") {
    return UserError("rows in the memory of this process cannot be read by another",
                     "write them to Parquet and read that");
  }
  return CanonicalJson({{"version", kIngestVersion},
                        {"compiled", compiled.ToText()},
                        {"listing", listing},
                        {"chunk_bytes", chunk_bytes},
                        {"chunk_rows", chunk_rows}});
}

Result<Ingest> Ingest::FromText(std::string_view text) {
  const Status bad = DataError("this is no index of a dataset's rows", "make it again");
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || json.value("version", 0) != kIngestVersion || !json.contains("chunk_rows") ||
      !json["chunk_rows"].is_array())
    return bad;
  Ingest ingest;
  ARROW_ASSIGN_OR_RAISE(auto compiled, GetString(json, "compiled"));
  ARROW_ASSIGN_OR_RAISE(ingest.compiled, CompiledPlan::FromText(compiled));
  ARROW_ASSIGN_OR_RAISE(ingest.listing, GetString(json, "listing"));
  ARROW_ASSIGN_OR_RAISE(ingest.chunk_bytes, GetInt(json, "chunk_bytes"));
  if (ingest.chunk_bytes < 1) return bad;
  ARROW_RETURN_NOT_OK(CheckRowForRow(ingest.compiled.plan, ""));
  ARROW_ASSIGN_OR_RAISE(ingest.chunks, CutChunks(ingest.compiled, ingest.chunk_bytes));
  if (json["chunk_rows"].size() != ingest.chunks.size()) return bad;
  for (size_t i = 0; i < ingest.chunks.size(); ++i) {
    const Json& rows = json["chunk_rows"][i];
    auto& chunk = ingest.chunks[i];
    if (!rows.is_number_integer() || (chunk.rows >= 0 && chunk.rows != rows.get<int64_t>())) return bad;
    chunk.rows = rows.get<int64_t>();
    ingest.chunk_rows.push_back(chunk.rows);
  }
  ARROW_RETURN_NOT_OK(Complete(&ingest));
  return ingest;
}

Result<Ingest> OpenIngest(Session* session, const Pipeline& pipeline, const std::string& step,
                          int64_t chunk_bytes, const std::string& index, const RunOptions& given,
                          RunControl control) {
  if (chunk_bytes < 1) return UserError("chunk_bytes must be positive");
  ARROW_ASSIGN_OR_RAISE(const auto options, ResolveOptions(given, session->env()));
  ARROW_ASSIGN_OR_RAISE(auto collect, CollectPipeline(pipeline, step, -1));
  // What cannot be skipped into is said before all files are looked at.
  ARROW_ASSIGN_OR_RAISE(auto listed, session->CompilePipeline(collect, Session::Look::kFirstFile, control));
  ARROW_RETURN_NOT_OK(CheckRowForRow(listed.plan, CostOf(listed.snapshot)));
  const std::string listing = Sha256Hex(listed.plan_hash + listed.snapshot_hash);
  if (!index.empty()) {
    auto found = Ingest::FromText(index);
    if (found.ok() && found->listing == listing && found->chunk_bytes == chunk_bytes) return found;
  }
  Ingest ingest;
  ingest.listing = listing;
  ingest.chunk_bytes = chunk_bytes;
  const bool footers = listed.plan.stages[0].source.format == "parquet";
  ARROW_ASSIGN_OR_RAISE(
      ingest.compiled,
      session->CompilePipeline(collect, footers ? Session::Look::kRowCounts : Session::Look::kPlan, control));
  ARROW_ASSIGN_OR_RAISE(ingest.chunks, CutChunks(ingest.compiled, chunk_bytes));
  ARROW_RETURN_NOT_OK(CountChunks(session->env(), ingest.compiled, options, control, &ingest.chunks));
  for (const auto& chunk : ingest.chunks) ingest.chunk_rows.push_back(chunk.rows);
  ARROW_RETURN_NOT_OK(Complete(&ingest));
  return ingest;
}

Result<std::unique_ptr<RowStream>> StreamLine(Session* session, const Ingest& ingest, const EpochOrder& order,
                                              const std::vector<RowInterval>& intervals, int64_t batch_rows,
                                              const RunOptions& given, RunControl control) {
  ARROW_ASSIGN_OR_RAISE(const auto options, ResolveOptions(given, session->env()));
  ARROW_ASSIGN_OR_RAISE(auto windows, ReadsOf(ingest.chunks, order, intervals));
  int64_t rows = 0;
  for (auto& window : windows) {
    window.batch_rows = std::max<int64_t>(0, batch_rows);
    window.batch_at = rows;
    rows += window.rows;
  }
  return session->OpenStream(ingest.compiled, options, std::move(control), std::move(windows));
}

}  // namespace partita
