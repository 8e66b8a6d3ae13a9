#include "partita/exchange/group_writer.h"

#include <arrow/api.h>
#include <arrow/util/byte_size.h>

#include <algorithm>
#include <numeric>
#include <optional>

#include "partita/exchange/group_codes.h"
#include "partita/exchange/group_table.h"
#include "partita/exchange/run_share.h"
#include "partita/exchange/sorted_sink.h"
#include "partita/runs/interleave.h"

namespace partita {
namespace {

constexpr int64_t kChunkRows = 8192;          // that are worked on at once
constexpr int64_t kDecidingRows = 128 << 10;  // of a run, after which keys are known to repeat or not
constexpr double kWorthCombining = 0.2;       // the part of a run's rows that must meet their like
constexpr size_t kMostKeyBatches = 64;        // that each frame is picked from

}  // namespace

// What a run is made of: groups and their states, until they are written.
struct GroupWriter::Run {
  explicit Run(const std::shared_ptr<BudgetPool>& pool) : table(pool), places(pool) {}

  GroupTable table;
  std::vector<std::unique_ptr<Aggregate>> aggregates;
  arrow::ArrayVector no_rows;                             // of what each aggregate reads
  std::vector<std::shared_ptr<arrow::RecordBatch>> keys;  // key columns of first rows
  GroupVector<RowPick> places;                            // of each group's keys in them
  int64_t key_bytes = 0;
  int64_t rows = 0;
  bool decided = false, combines = true;
  bool closed = false;  // no more rows: it is being written
  size_t written = 0;   // groups

  // Takes back the groups from `count` on. Functions may keep room for them.
  void Undo(uint32_t count) {
    table.Undo(count);
    if (places.size() == count) return;
    places.SetSize(count);
    key_bytes -= arrow::util::ReferencedBufferSize(*keys.back()).ValueOr(0);
    keys.pop_back();
  }

  int64_t size_bytes() const {
    int64_t bytes = table.size_bytes() + places.size_bytes() + key_bytes;
    for (const auto& aggregate : aggregates) bytes += aggregate->size_bytes();
    return bytes;
  }
};

// Of the chunk that Assign was called with last.
struct GroupWriter::Scratch {
  Scratch(GroupKeys encoder, std::shared_ptr<arrow::Schema> schema, const std::shared_ptr<BudgetPool>& pool)
      : keys(std::move(encoder)),
        codes(std::move(schema), pool),
        groups(pool),
        found(pool),
        unknown(pool),
        new_rows(pool) {}

  GroupKeys keys;
  GroupCodes codes;
  GroupVector<uint32_t> groups;                    // by row
  GroupVector<uint32_t> found, unknown, new_rows;  // see GroupCodes, GroupTable
};

GroupWriter::GroupWriter(GroupSinkInit init, std::shared_ptr<arrow::Schema> key_schema)
    : init_(std::move(init)),
      key_schema_(std::move(key_schema)),
      run_schema_(RunSchema(init_.states->exchange)),
      share_(RunShare::Make({init_.env, init_.folder, init_.name, init_.attempt, run_schema_,
                             init_.cached_bytes, init_.most_kept_bytes, init_.memory})) {}

GroupWriter::~GroupWriter() { share_->Abort(); }

Status GroupWriter::Write(const Block& block, const OperatorContext& ctx, int64_t* taken) {
  ARROW_RETURN_NOT_OK(GoOn(ctx));
  while (*taken < block.num_rows()) {
    ARROW_RETURN_NOT_OK(ctx.cancel.Check());
    if (run_ && run_->size_bytes() >= init_.hold_bytes) ARROW_RETURN_NOT_OK(Flush(ctx));
    const auto chunk = block.batch->Slice(*taken, kChunkRows);
    ARROW_RETURN_NOT_OK(AssignSomewhere(chunk, ctx));
    *taken += chunk->num_rows();
    taken_.push_back({chunk, 0});
    is_assigned_ = true;
    ARROW_RETURN_NOT_OK(GoOn(ctx));
  }
  return Status::OK();
}

Result<std::vector<OutputFile>> GroupWriter::Finish(const OperatorContext& ctx) {
  ARROW_RETURN_NOT_OK(GoOn(ctx));
  ARROW_RETURN_NOT_OK(Flush(ctx));
  return share_->Finish({}, ctx.pool.get());
}

bool GroupWriter::is_open() const {
  if (!share_->in_memory() || share_->run() > 0 || share_->rank() > 0) return false;
  return !run_ || (!run_->closed && run_->combines && run_->size_bytes() < init_.hold_bytes);
}

void GroupWriter::Rest() {
  scratch_.reset();
  is_assigned_ = false;
}

void GroupWriter::Widen() { share_->Widen(init_.most_kept_bytes); }

Status GroupWriter::Keep(const OperatorContext& ctx) {
  ARROW_RETURN_NOT_OK(GoOn(ctx));
  ARROW_RETURN_NOT_OK(Flush(ctx));
  return share_->Keep(ctx.pool.get());
}

Result<int64_t> GroupWriter::GiveBack(const OperatorContext& ctx) {
  if (!run_) return 0;
  const int64_t bytes = run_->size_bytes();
  ARROW_RETURN_NOT_OK(share_->WriteOut(ctx.pool.get()).status());
  ARROW_RETURN_NOT_OK(Flush(ctx));
  return bytes;
}

Status GroupWriter::Begin(const OperatorContext& ctx) {
  ARROW_ASSIGN_OR_RAISE(cushion_, ctx.pool->Reserve(4 * FrameBytes(init_.hold_bytes)));
  auto run = std::make_unique<Run>(ctx.pool);
  for (const auto& function : init_.states->functions) {
    ARROW_ASSIGN_OR_RAISE(auto aggregate, init_.states->Make(function, ctx.pool));
    run->aggregates.push_back(std::move(aggregate));
    std::shared_ptr<arrow::Array> none;
    if (function.input.type()) {
      ARROW_ASSIGN_OR_RAISE(none, arrow::MakeEmptyArray(function.input.type(), ctx.pool.get()));
    }
    run->no_rows.push_back(std::move(none));
  }
  run_ = std::move(run);
  if (scratch_) scratch_->codes.Forget();
  return Status::OK();
}

// Finds the groups of a chunk's rows. All or nothing.
Status GroupWriter::Assign(const std::shared_ptr<arrow::RecordBatch>& chunk, const OperatorContext& ctx) {
  if (!run_) ARROW_RETURN_NOT_OK(Begin(ctx));
  if (!scratch_) {
    std::vector<int> columns(init_.states->keys.size());
    std::iota(columns.begin(), columns.end(), 0);
    ARROW_ASSIGN_OR_RAISE(auto encoder, GroupKeys::Make(*key_schema_, columns, ctx.pool));
    scratch_ = std::make_unique<Scratch>(std::move(encoder), key_schema_, ctx.pool);
  }
  const auto rows = static_cast<size_t>(chunk->num_rows());
  for (auto* numbers : {&scratch_->groups, &scratch_->found, &scratch_->unknown, &scratch_->new_rows})
    ARROW_RETURN_NOT_OK(numbers->Reserve(rows));
  ARROW_RETURN_NOT_OK(run_->places.Reserve(run_->table.count() + rows));
  scratch_->groups.SetSize(rows);
  Decide();
  const uint32_t before = run_->table.count();
  Status status = AssignRows(*chunk, ctx);
  if (status.ok()) status = Grow();
  if (!status.ok()) {
    scratch_->codes.Forget();
    run_->Undo(before);
    return status;
  }
  run_->rows += chunk->num_rows();
  return Status::OK();
}

// All functions get room for all groups: those that do not come to their rows can be written too.
Status GroupWriter::Grow() {
  for (size_t i = 0; i < run_->aggregates.size(); ++i)
    ARROW_RETURN_NOT_OK(run_->aggregates[i]->Update(run_->no_rows[i].get(), {}, run_->table.count()));
  return Status::OK();
}

Status GroupWriter::AssignRows(const arrow::RecordBatch& chunk, const OperatorContext& ctx) {
  arrow::ArrayVector columns;
  for (const int key : init_.states->keys) columns.push_back(chunk.column(key));
  auto& s = *scratch_;
  const std::span<uint32_t> groups(s.groups.begin(), s.groups.size());
  bool by_code = false;
  if (run_->combines) {
    ARROW_ASSIGN_OR_RAISE(by_code, s.codes.Read(columns));
  }
  if (!by_code) {
    ARROW_ASSIGN_OR_RAISE(auto keys, s.codes.Plain(columns, {}, ctx.pool.get()));
    ARROW_RETURN_NOT_OK(s.keys.Encode(*keys));
    if (run_->combines) return AssignByTable(std::move(keys), groups, ctx);
    ARROW_RETURN_NOT_OK(run_->table.Append(s.keys, groups));
    AddKeys(std::move(keys));
    return Status::OK();
  }
  s.codes.Find(groups, &s.unknown);
  if (s.unknown.size() == 0) return Status::OK();
  ARROW_ASSIGN_OR_RAISE(auto keys,
                        s.codes.Plain(columns, {s.unknown.begin(), s.unknown.size()}, ctx.pool.get()));
  ARROW_RETURN_NOT_OK(s.keys.Encode(*keys));
  const std::span<uint32_t> found(s.found.begin(), s.unknown.size());
  ARROW_RETURN_NOT_OK(AssignByTable(std::move(keys), found, ctx));
  s.codes.Learn(found, groups, s.unknown);
  return Status::OK();
}

// Of the keys that were encoded last.
Status GroupWriter::AssignByTable(std::shared_ptr<arrow::RecordBatch> keys, std::span<uint32_t> groups,
                                  const OperatorContext& ctx) {
  auto& new_rows = scratch_->new_rows;
  ARROW_RETURN_NOT_OK(run_->table.Reserve(scratch_->keys));
  new_rows.SetSize(0);
  run_->table.Assign(scratch_->keys, groups, &new_rows);
  if (new_rows.size() == 0) return Status::OK();
  std::vector<RowPick> picks;
  for (const uint32_t row : new_rows) picks.push_back({0, row});
  const std::vector<std::shared_ptr<arrow::RecordBatch>> from = {std::move(keys)};
  ARROW_ASSIGN_OR_RAISE(auto first, Interleave(key_schema_, from, picks, ctx.pool.get()));
  AddKeys(std::move(first));
  return Status::OK();
}

void GroupWriter::AddKeys(std::shared_ptr<arrow::RecordBatch> keys) {
  const auto batch = static_cast<uint32_t>(run_->keys.size());
  for (int64_t row = 0; row < keys->num_rows(); ++row)
    run_->places.PushBack({batch, static_cast<uint32_t>(row)});
  run_->key_bytes += arrow::util::ReferencedBufferSize(*keys).ValueOr(0);
  run_->keys.push_back(std::move(keys));
}

// Rows that meet none of their like in the table are not worth a look at it. From how many did, of the
// first rows, follows about how many will among those that a run can hold, were all keys as likely.
void GroupWriter::Decide() {
  auto& run = *run_;
  if (run.decided || run.rows < kDecidingRows) return;
  run.decided = true;
  const auto rows = static_cast<double>(run.rows), groups = static_cast<double>(run.table.count());
  const double repeated = (rows - groups) / rows;
  const double room = static_cast<double>(init_.hold_bytes) / static_cast<double>(run.size_bytes());
  run.combines = repeated * std::max(1.0, room) >= kWorthCombining;
}

// As Assign; where memory is refused, in a new run.
Status GroupWriter::AssignSomewhere(const std::shared_ptr<arrow::RecordBatch>& chunk,
                                    const OperatorContext& ctx) {
  const Status status = Assign(chunk, ctx);
  if (!status.IsOutOfMemory() || !run_ || run_->table.count() == 0) return status;
  ARROW_RETURN_NOT_OK(Flush(ctx));
  return Assign(chunk, ctx);
}

// Brings what was taken into the states, and a run that is being written to its end.
Status GroupWriter::GoOn(const OperatorContext& ctx) {
  if (run_ && run_->closed) ARROW_RETURN_NOT_OK(Flush(ctx));
  while (!taken_.empty()) {
    if (!is_assigned_) ARROW_RETURN_NOT_OK(AssignSomewhere(taken_.back().rows, ctx));
    is_assigned_ = true;
    const Status status = Update();
    if (status.ok()) {
      taken_.pop_back();
      is_assigned_ = false;
      continue;
    }
    if (!status.IsOutOfMemory()) return status;
    // Functions that have the rows give their part of the states to this run, the others to the next ones.
    if (run_->rows == taken_.back().rows->num_rows()) {
      if (run_->rows == 1) return status;
      SplitTaken();
    }
    is_assigned_ = false;
    ARROW_RETURN_NOT_OK(Flush(ctx));
  }
  return Status::OK();
}

void GroupWriter::SplitTaken() {
  const Taken whole = std::move(taken_.back());
  const int64_t half = whole.rows->num_rows() / 2;
  taken_.back() = {whole.rows->Slice(half), whole.updated};
  taken_.push_back({whole.rows->Slice(0, half), whole.updated});
}

Status GroupWriter::Update() {
  auto& taken = taken_.back();
  for (; taken.updated < run_->aggregates.size(); ++taken.updated) {
    const auto column = init_.states->functions[taken.updated].input.Of(*taken.rows);
    ARROW_RETURN_NOT_OK(run_->aggregates[taken.updated]->Update(
        column.get(), {scratch_->groups.begin(), scratch_->groups.size()}, run_->table.count()));
  }
  return Status::OK();
}

// Writes the groups as a run. After a refusal it goes on where it stopped.
Status GroupWriter::Flush(const OperatorContext& ctx) {
  if (!run_) return Status::OK();
  cushion_.Release();
  auto& run = *run_;
  run.closed = true;
  run.table.Sort();
  GatherKeys(ctx);
  const size_t groups = run.table.count();
  const int64_t group_bytes = groups == 0 ? 1 : run.size_bytes() / static_cast<int64_t>(groups) + 1;
  const auto per_frame = static_cast<size_t>(
      std::clamp<int64_t>(FrameBytes(init_.hold_bytes) / group_bytes, 1, int64_t{64} << 10));
  ARROW_RETURN_NOT_OK(share_->WriteRun(groups, per_frame, &run.written, ctx,
                                       [&](size_t count) { return WriteFrame(count, ctx); }));
  run_.reset();
  return Status::OK();
}

// A table of many blocks has many batches of keys, and each frame would look at all of them.
void GroupWriter::GatherKeys(const OperatorContext& ctx) {
  auto& run = *run_;
  if (run.keys.size() <= kMostKeyBatches) return;
  auto keys = Interleave(key_schema_, run.keys, {run.places.begin(), run.places.size()}, ctx.pool.get());
  if (!keys.ok()) return;  // no room: it goes on without
  run.keys = {std::move(*keys)};
  run.key_bytes = arrow::util::ReferencedBufferSize(*run.keys[0]).ValueOr(0);
  for (uint32_t group = 0; group < run.places.size(); ++group) run.places[group] = {0, group};
}

Status GroupWriter::WriteFrame(size_t count, const OperatorContext& ctx) {
  auto& run = *run_;
  std::vector<uint32_t> groups(count);
  std::vector<RowPick> picks(count);
  ARROW_ASSIGN_OR_RAISE(
      std::shared_ptr<arrow::Buffer> hashes,
      arrow::AllocateBuffer(static_cast<int64_t>(count * sizeof(uint64_t)), ctx.pool.get()));
  auto* hash = reinterpret_cast<uint64_t*>(hashes->mutable_data());
  for (size_t i = 0; i < count; ++i) {
    groups[i] = run.table.sorted(run.written + i);
    picks[i] = run.places[groups[i]];
    hash[i] = run.table.hash(groups[i]);
  }
  const uint64_t first = hash[0];
  ARROW_ASSIGN_OR_RAISE(const auto keys, Interleave(key_schema_, run.keys, picks, ctx.pool.get()));
  auto columns = keys->columns();
  for (const auto& aggregate : run.aggregates) {
    ARROW_ASSIGN_OR_RAISE(auto states, aggregate->Export(groups, ctx.pool.get()));
    for (auto& state : states) columns.push_back(std::move(state));
  }
  const auto rows = static_cast<int64_t>(count);
  columns.push_back(std::make_shared<arrow::UInt64Array>(rows, std::move(hashes)));
  const auto batch = arrow::RecordBatch::Make(run_schema_, rows, std::move(columns));
  return share_->Append(batch, KeyPoint{{first, 0}, {}}, ctx.pool.get());
}

}  // namespace partita
