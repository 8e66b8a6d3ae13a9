// A file of a format as hostile bytes: looked at, cut and read whole. FUZZ_FORMAT names the format. The first
// byte chooses how small the blocks are (a Parquet row group larger than a block is read by page): they must
// not change a row. Memory comes back.
#include <arrow/api.h>

#include "partita/base/json.h"
#include "partita/memory/budget.h"
#include "partita/pipeline/step_spec.h"
#include "partita/storage/format.h"
#include "tests/fuzz/fuzz_input.h"

namespace {

using namespace partita;

struct Rows {
  std::shared_ptr<arrow::Table> table;
  bool complete = false;  // no error ended the reading
};

// Rows with errors are left out, as `on_error: skip` does.
Rows ReadRows(const Format& format, const Fragment& fragment, const std::shared_ptr<arrow::Schema>& schema,
              const Json& args, const std::shared_ptr<BudgetPool>& pool, int64_t block_bytes) {
  Rows rows;
  ReadRequest request;
  request.fragment = fragment;
  request.schema = schema;
  request.args = &args;
  request.env = Env::Default();
  request.pool = pool;
  request.target_block_bytes = block_bytes;
  auto reader = format.OpenReader(std::move(request));
  if (!reader.ok()) {
    fuzz::CheckKind(reader.status());
    return rows;
  }
  std::vector<std::shared_ptr<arrow::RecordBatch>> batches;
  for (int calls = 0; calls < 100000; ++calls) {
    auto next = (*reader)->Next();
    if (!next.ok()) {
      fuzz::CheckKind(next.status());
      const auto* detail = DetailOf(next.status());
      if (KindOf(next.status()) == ErrorKind::kData && detail != nullptr && detail->context.row >= 0)
        continue;
      return rows;
    }
    if (!*next) {
      auto table = arrow::Table::FromRecordBatches(schema, batches);
      FUZZ_CHECK(table.ok(), table.status().ToString());
      rows.table = *table;
      rows.complete = true;
      return rows;
    }
    FUZZ_CHECK((*next)->batch->num_rows() > 0, "an empty batch");
    const Status valid = (*next)->batch->ValidateFull();
    // Text in Parquet is not looked at by its reader: that costs more than decoding it.
    const bool of_parquet =
        FUZZ_FORMAT == std::string_view("parquet") && valid.message().find("UTF8") != std::string::npos;
    FUZZ_CHECK(valid.ok() || of_parquet, valid.ToString());
    batches.push_back((*next)->batch);
  }
  return rows;  // a row error that comes again and again: every format goes on behind it or ends
}

// What compile makes of a read step without arguments.
Json DefaultArgs() {
  RegisterBuiltinSteps();
  const auto* spec = FindStep("read_" FUZZ_FORMAT);
  FUZZ_CHECK(spec != nullptr, "read_" FUZZ_FORMAT);
  auto args = NormaliseArgs(*spec, {{"path", "fuzz"}});
  FUZZ_CHECK(args.ok(), args.status().ToString());
  return *args;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  static const fuzz::ScratchFile scratch("." FUZZ_FORMAT);
  static const Format* format = FindFormat(FUZZ_FORMAT);
  Fragment whole;
  whole.file.location = scratch.Put(fuzz::Text(data + 1, size - 1));
  auto status = Env::Default()->Stat(whole.file.location);
  FUZZ_CHECK(status.ok() && status->exists, "the scratch file");
  whole.file.size_bytes = status->size_bytes;
  whole.file.mtime_ns = status->mtime_ns;
  static const Json args = DefaultArgs();
  const auto pool = Budget::Make(64 << 20)->root();
  {
    const auto info = format->Inspect(Env::Default(), whole.file, args, pool.get());
    if (!info.ok()) {
      fuzz::CheckKind(info.status());
      return 0;
    }
    const Rows rows = ReadRows(*format, whole, info->schema, args, pool, 4 << 20);
    const Rows small = ReadRows(*format, whole, info->schema, args, pool, int64_t{64} << (data[0] % 12));
    if (rows.complete && small.complete) {
      // NaNs equal themselves here.
      FUZZ_CHECK(rows.table->Equals(*small.table, arrow::EqualOptions::Defaults().nans_equal(true)),
                 "smaller blocks change rows");
    }
    const auto fragments = format->Split(whole.file, &*info, args, 1 + data[0] * 8);
    if (!fragments.ok()) fuzz::CheckKind(fragments.status());
    if (fragments.ok() && fragments->size() <= 64 && rows.complete) {
      std::vector<std::shared_ptr<arrow::Table>> parts;
      for (const auto& fragment : *fragments) {
        const Rows part = ReadRows(*format, fragment, info->schema, args, pool, 1 << 20);
        if (!part.complete) return 0;
        parts.push_back(part.table);
      }
      if (!parts.empty()) {
        const auto all = arrow::ConcatenateTables(parts);
        FUZZ_CHECK(all.ok(), all.status().ToString());
        FUZZ_CHECK((*all)->Equals(*rows.table, arrow::EqualOptions::Defaults().nans_equal(true)),
                   "cutting the file changes rows");
      }
    }
  }
  FUZZ_CHECK(pool->bytes_allocated() == 0, "memory is not given back");
  return 0;
}
