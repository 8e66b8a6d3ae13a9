#include "partita/engine/exchange_store.h"

#include <algorithm>

#include "partita/base/json.h"
#include "partita/engine/coded_columns.h"
#include "partita/engine/node_path.h"
#include "partita/exchange/exchange_memory.h"
#include "partita/exchange/file_exchange.h"
#include "partita/exchange/group_sink.h"
#include "partita/exchange/group_states.h"
#include "partita/exchange/group_stretches.h"
#include "partita/exchange/sorted_sink.h"
#include "partita/exchange/sorted_source.h"
#include "partita/pipeline/group_steps.h"
#include "partita/schedule/stage_graph.h"

namespace partita {
namespace {

// Of each file: small ones never wait for the disk.
constexpr int64_t kLeastCachedBytes = 1 << 20;
// Of the budget, what may stay in memory of exchanges: the rest reads, sorts and writes.
constexpr double kKeptShare = 0.625;
// The same of states of groups: they are written once and read once, in order, and cost the same in the page
// cache, which is nobody's memory. What is small touches no file.
constexpr double kKeptStatesShare = 1.0 / 32;
constexpr double kUnevenShares = 1.25;  // how much larger than the mean a share may well be
// What a kill may cost of tasks whose shares were in memory alone, for each thread.
constexpr int64_t kMostRedoNs = int64_t{10} * 1000 * 1000 * 1000;

// Of how many first rows of each group the only stage that reads an exchange makes use; -1: of all.
int64_t GroupLimitOf(const Plan& plan, int exchange) {
  const auto reads = [&](const PlanStage& stage) { return stage.Reads(exchange); };
  const auto reader = std::find_if(plan.stages.begin(), plan.stages.end(), reads);
  if (reader == plan.stages.end() || std::count_if(reader, plan.stages.end(), reads) > 1) return -1;
  const auto rows = GroupRowsFromJson(reader->source.reduce);
  return rows.ok() ? rows->limit : -1;
}

// The memory that a run with this budget leaves to the page cache: while it moves rows it seldom holds more
// than half of what it may, and a guess that is too high costs some reclaimed pages, one that is too low
// waits for the disk.
int64_t PageCacheLeft(const MachineLimits& limits, int64_t budget_bytes) {
  int64_t bytes = limits.available_bytes;
  if (limits.cgroup_limit_bytes > 0)
    bytes = std::min(bytes, limits.cgroup_limit_bytes - limits.cgroup_used_bytes);
  return std::max<int64_t>(0, bytes - budget_bytes / 2);
}

}  // namespace

ExchangeStore::ExchangeStore(const Plan* plan, Env* env, RunDirectory* directory,
                             std::shared_ptr<Budget> budget, int threads, StagePlaces places)
    : plan_(plan),
      env_(env),
      directory_(directory),
      budget_(std::move(budget)),
      pool_(budget_->root()->NewChild("exchange")),
      threads_(threads),
      places_(std::move(places)),
      shares_in_(plan->exchanges.size()),
      node_blocks_(plan->exchanges.size()),
      states_(plan->exchanges.size()),
      shares_(plan->exchanges.size()),
      read_partitions_(plan->exchanges.size()),
      files_(plan->exchanges.size()) {
  const auto limits = env->Limits();
  cache_bytes_ = limits.ok() ? PageCacheLeft(*limits, budget_->limit_bytes()) : INT64_MAX;
  if (!places_.AnyInMemory()) return;
  memory_ = std::make_shared<ExchangeMemory>(
      env, pool_, JoinPath(directory->SpillDir(), "kept-" + env->RandomHex(4)),
      static_cast<int64_t>(kKeptShare * static_cast<double>(budget_->limit_bytes())), kMostRedoNs, threads);
}

int64_t ExchangeStore::SharesIn(int exchange) const {
  auto& known = shares_in_[static_cast<size_t>(exchange)];
  if (known > 0) return known;
  int64_t shares = 0;
  for (const auto& writer : WritersOf(*plan_, exchange)) {
    const auto& source = plan_->stages[static_cast<size_t>(writer.stage)].source;
    shares += source.kind == PlanSource::Kind::kScan ? scan_partitions_[static_cast<size_t>(writer.stage)]
                                                     : PartitionsOf(source.exchange);
  }
  known = std::max<int64_t>(1, shares);
  return known;
}

int64_t ExchangeStore::CachedBytes(int exchange) const {
  const auto is_sorted = [](const PlanExchange& other) { return other.is_sorted(); };
  const auto exchanges = std::count_if(plan_->exchanges.begin(), plan_->exchanges.end(), is_sorted);
  return std::max(kLeastCachedBytes, cache_bytes_ / std::max<int64_t>(1, exchanges * SharesIn(exchange)));
}

// A share of more bytes shows that all of them together, were they like it, would not fit: then keeping some
// only to write them later is work for nothing.
int64_t ExchangeStore::MostKeptBytes(int exchange, double part) const {
  return static_cast<int64_t>(part * kUnevenShares * static_cast<double>(budget_->limit_bytes())) /
         SharesIn(exchange);
}

ExchangeStore::~ExchangeStore() = default;

std::string ExchangeStore::PathOf(int exchange, int input_index, int64_t partition) const {
  {
    std::lock_guard lock(blocks_mutex_);
    const auto& blocks = node_blocks_[static_cast<size_t>(exchange)];
    if (const auto found = blocks.find({input_index, partition}); found != blocks.end()) return found->second;
  }
  return JoinPath(directory_->ExchangeDir(exchange), ExchangeFileName(input_index, partition));
}

std::string ExchangeStore::FolderFor(int stage, int exchange, bool on_storage) const {
  if (node_folder_.empty() || on_storage || !places_.OnNodes(stage)) return directory_->ExchangeDir(exchange);
  return JoinPath(node_folder_, ExchangeFolderName(exchange));
}

void ExchangeStore::SetNodeBlocks(int exchange, NodeBlocks blocks) {
  {
    std::lock_guard lock(blocks_mutex_);
    node_blocks_[static_cast<size_t>(exchange)] = std::move(blocks);
  }
  std::lock_guard lock(mutex_);
  // Where one side of a join is cut says the other's rows, too.
  for (const int x : ReadTogether(*plan_, exchange)) shares_[static_cast<size_t>(x)].reset();
  files_[static_cast<size_t>(exchange)].reset();
}

// What one task may hold before it sorts and writes: with every thread's task and one more at it, a third of
// the budget is left for what is read and written meanwhile.
int64_t ExchangeStore::HoldBytes() const {
  return std::clamp<int64_t>(budget_->limit_bytes() / (3 * (threads_ + 1)), 1 << 20, int64_t{1} << 30);
}

std::vector<ExchangeStore::Committed> ExchangeStore::CommittedOf(int exchange) const {
  std::vector<Committed> shares;
  for (const auto& writer : WritersOf(*plan_, exchange)) {
    for (const auto& commit : directory_->log()->OfStage(writer.stage)) {
      if (commit.partition >= kRetryPartitions) continue;
      const auto made = MadeBy(*plan_, commit);
      const auto o = static_cast<size_t>(writer.output);
      shares.push_back({writer.input_index, commit.partition, made.rows[o], made.bytes[o]});
    }
  }
  return shares;
}

int64_t ExchangeStore::PartitionsOf(int exchange) const {
  int64_t rows = 0, bytes = 0;
  const auto read_together = ReadTogether(*plan_, exchange);
  for (const int x : read_together) {
    for (const auto& share : CommittedOf(x)) {
      rows += share.rows;
      bytes += share.bytes;
    }
  }
  return ExchangePartitions(TargetOf(plan_->exchanges[static_cast<size_t>(read_together[0])]), rows, bytes);
}

// What cannot be made again, or is counted elsewhere as done, is written.
std::shared_ptr<ExchangeMemory> ExchangeStore::MemoryOf(int index) const {
  const auto& stage = plan_->stages[static_cast<size_t>(index)];
  const bool counts = !places_.InMemory(index) || stage.is_volatile ||
                      stage.source.on_error == OnError::kQuarantine ||
                      std::any_of(stage.nodes.begin(), stage.nodes.end(),
                                  [](const PlanNode& n) { return n.on_error == OnError::kQuarantine; }) ||
                      std::any_of(stage.outputs.begin(), stage.outputs.end(),
                                  [](const PlanOutput& o) { return o.kind != PlanOutput::Kind::kExchange; });
  return counts ? nullptr : memory_;
}

Result<bool> ExchangeStore::GoesInStretches(int index) const {
  if (!MemoryOf(index)) return false;
  for (const auto& output : plan_->stages[static_cast<size_t>(index)].outputs) {
    ARROW_ASSIGN_OR_RAISE(const GroupStates* states, StatesOf(output.target));
    if (states == nullptr) return false;
  }
  return true;
}

GroupStretches* ExchangeStore::StretchesOf(int exchange, int input_index) const {
  std::lock_guard lock(stretches_mutex_);
  const auto found = stretches_.find({exchange, input_index});
  return found == stretches_.end() ? nullptr : found->second.get();
}

OperatorContext ExchangeStore::OwnContext() const {
  OperatorContext ctx;
  ctx.pool = pool_;
  ctx.env = env_;
  return ctx;
}

Result<std::unique_ptr<Sink>> ExchangeStore::MakeSink(int stage, const PlanOutput& output, int64_t partition,
                                                      const std::string& attempt, bool on_storage) const {
  const auto& exchange = plan_->exchanges[static_cast<size_t>(output.target)];
  const std::string name = ExchangeFileName(output.input_index, partition);
  std::string folder = FolderFor(stage, output.target, on_storage);
  if (!exchange.is_sorted())
    return MakeExchangeSink(env_, std::move(folder), name, attempt, exchange.schema, MemoryOf(stage));
  ARROW_ASSIGN_OR_RAISE(const GroupStates* states, StatesOf(output.target));
  if (states != nullptr) {
    GroupSinkInit init{.env = env_,
                       .states = states,
                       .folder = std::move(folder),
                       .name = name,
                       .attempt = attempt,
                       .hold_bytes = HoldBytes(),
                       .cached_bytes = CachedBytes(output.target),
                       .most_kept_bytes = MostKeptBytes(output.target, kKeptStatesShare),
                       .memory = MemoryOf(stage)};
    ARROW_ASSIGN_OR_RAISE(const bool in_stretches, GoesInStretches(stage));
    if (in_stretches && !on_storage) {
      init.hold_bytes = HoldBytes() / 2 * 3;  // no more tasks than threads are at it
      init.partition = partition;
      std::lock_guard lock(stretches_mutex_);
      auto& stretches = stretches_[{output.target, output.input_index}];
      if (!stretches) stretches = std::make_unique<GroupStretches>(memory_);
      init.stretches = stretches.get();
    }
    return MakeGroupSink(std::move(init));
  }
  SortedSinkInit init;
  init.env = env_;
  init.exchange = &exchange;
  init.folder = std::move(folder);
  init.name = name;
  init.attempt = attempt;
  init.input_index = output.input_index;
  init.order_column = OrderColumnOf(*plan_, output.target);
  init.samples = exchange.partitions != 1 && HashJoinOf(*plan_, output.target) != nullptr;
  init.group_limit = GroupLimitOf(*plan_, output.target);
  init.partition = partition;
  // Rows come in as blocks and leave as frames, both small: more of them may be held than of what a reader
  // joins and groups. Fewer, longer runs are read in longer pieces.
  init.hold_bytes = HoldBytes() / 2 * 3;
  init.cached_bytes = CachedBytes(output.target);
  init.most_kept_bytes = MostKeptBytes(output.target, kKeptShare);
  init.memory = MemoryOf(stage);
  return MakeSortedSink(std::move(init));
}

Result<std::vector<std::string>> ExchangeStore::EncodableColumns(const PlanStage& stage) const {
  std::vector<std::string> columns;
  if (stage.outputs.size() != 1) return columns;
  const auto& output = stage.outputs[0];
  if (output.kind != PlanOutput::Kind::kExchange) return CodedColumns(*plan_, stage);
  if (!stage.nodes.empty()) return columns;
  ARROW_ASSIGN_OR_RAISE(const GroupStates* states, StatesOf(output.target));
  if (states != nullptr) return states->KeysAlone();
  return CodedColumns(stage, plan_->exchanges[static_cast<size_t>(output.target)],
                      OrderColumnOf(*plan_, output.target));
}

Result<const GroupStates*> ExchangeStore::StatesOf(int exchange) const {
  std::lock_guard lock(mutex_);
  auto& known = states_[static_cast<size_t>(exchange)];
  if (!known) {
    ARROW_ASSIGN_OR_RAISE(known, GroupStatesOf(*plan_, exchange, pool_));
  }
  return known->get();
}

void ExchangeStore::OnCommit(int stage, int64_t partition) {
  if (!memory_) return;
  const auto s = static_cast<size_t>(stage);
  const bool is_last =
      plan_->stages[s].source.kind == PlanSource::Kind::kScan && partition + 1 >= scan_partitions_[s];
  for (const auto& output : plan_->stages[s].outputs) {
    if (output.kind != PlanOutput::Kind::kExchange) continue;
    if (auto* stretches = StretchesOf(output.target, output.input_index))
      stretches->OnCommit(partition, !is_last && !directory_->log()->Contains(stage, partition + 1),
                          OwnContext());
  }
  for (const int exchange : ExchangesReadBy(*plan_, stage)) {
    const auto reads = [&](const PlanStage& other) { return other.Reads(exchange); };
    if (std::count_if(plan_->stages.begin(), plan_->stages.end(), reads) != 1) continue;
    const auto x = static_cast<size_t>(exchange);
    std::lock_guard lock(mutex_);
    if (!shares_[x]) continue;
    shares_[x]->Forget(partition, memory_.get());
    if (++read_partitions_[x] < shares_[x]->partitions()) continue;
    for (const auto& share : CommittedOf(exchange))
      memory_->Forget(PathOf(exchange, share.input_index, share.partition));
  }
}

Result<int64_t> ExchangeStore::GiveBack(int64_t bytes) {
  if (!memory_) return 0;
  ARROW_ASSIGN_OR_RAISE(int64_t freed, memory_->GiveBack(bytes));
  std::lock_guard lock(stretches_mutex_);
  for (const auto& [input, stretches] : stretches_) {
    if (freed >= bytes) break;
    ARROW_ASSIGN_OR_RAISE(const int64_t more, stretches->GiveBack(bytes - freed, OwnContext()));
    freed += more;
  }
  return freed;
}

// Are all tasks of the stages that read `exchange` committed?
bool ExchangeStore::ReadersDone(int exchange) const {
  for (size_t s = 0; s < plan_->stages.size(); ++s) {
    if (!plan_->stages[s].Reads(exchange)) continue;
    const auto& source = plan_->stages[s].source;
    const int64_t partitions =
        source.kind == PlanSource::Kind::kScan ? scan_partitions_[s] : PartitionsOf(source.exchange);
    for (int64_t p = 0; p < partitions; ++p) {
      if (!directory_->log()->Contains(static_cast<int>(s), p)) return false;
    }
  }
  return true;
}

Status ExchangeStore::DropLost() {
  auto* log = directory_->log();
  // Later exchanges first: a reader that is dropped needs the files of the stage above it.
  for (size_t x = plan_->exchanges.size(); x-- > 0;) {
    const int exchange = static_cast<int>(x);
    if (ReadersDone(exchange)) continue;
    bool lost_volatile = false;
    for (const auto& writer : WritersOf(*plan_, exchange)) {
      for (const auto& commit : log->OfStage(writer.stage)) {
        if (commit.partition >= kRetryPartitions) continue;
        ARROW_ASSIGN_OR_RAISE(auto status,
                              env_->Stat(PathOf(exchange, writer.input_index, commit.partition)));
        if (status.exists) continue;
        log->Drop({writer.stage, commit.partition});
        directory_->NotComplete();
        lost_volatile = lost_volatile || plan_->stages[static_cast<size_t>(writer.stage)].is_volatile;
      }
    }
    if (!lost_volatile) continue;
    for (size_t s = 0; s < plan_->stages.size(); ++s) {
      if (!plan_->stages[s].Reads(exchange)) continue;
      for (const auto& commit : log->OfStage(static_cast<int>(s)))
        log->Drop({static_cast<int>(s), commit.partition});
    }
  }
  return Status::OK();
}

}  // namespace partita
