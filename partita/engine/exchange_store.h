// The exchanges of a run on its own storage: who writes which, what is committed, and how a task writes and
// reads one. The commit log is the only truth; files are found by stage, output and partition. Thread-safety:
// const methods from any thread; DropLost before the run starts.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "partita/dataset/run_directory.h"
#include "partita/engine/exchange_places.h"
#include "partita/engine/plan_exchanges.h"
#include "partita/operator/join_table.h"
#include "partita/operator/operator.h"
#include "partita/plan/plan.h"
#include "partita/schedule/scheduler.h"

namespace partita {

class ExchangeMemory;
class GroupStretches;
class SortedShares;
struct SortedSourceInit;
struct GroupStates;
struct ExchangeShare;

class ExchangeStore {
 public:
  // `plan` and `directory` outlive it. `threads`: how many tasks share the budget. `places`: whose shares may
  // stay in this process's memory, where all readers are, or in the node's folder; others are written to the
  // run's storage.
  ExchangeStore(const Plan* plan, Env* env, RunDirectory* directory, std::shared_ptr<Budget> budget,
                int threads, StagePlaces places = {});
  ~ExchangeStore();

  // `folder`: of this worker's node, where blocks go that stay there (node_path.h). Before any sink is made.
  void SetNodeFolder(std::string folder) { node_folder_ = std::move(folder); }
  // `on_storage`: not to the node, whatever may stay there.
  Result<std::unique_ptr<Sink>> MakeSink(int stage, const PlanOutput& output, int64_t partition,
                                         const std::string& attempt, bool on_storage = false) const;
  // Where blocks of an exchange are that are not on the run's storage, by (input, partition). Again, when
  // some were made anew elsewhere: what was known of them is forgotten.
  using NodeBlocks = std::map<std::pair<int, int64_t>, std::string>;
  void SetNodeBlocks(int exchange, NodeBlocks blocks);
  // All tasks that write it are committed (or not needed).
  Result<std::unique_ptr<Source>> MakeSource(const PlanSource& source, int64_t partition,
                                             const std::string& attempt);
  // A task is committed: what it alone read is let go.
  void OnCommit(int stage, int64_t partition);
  // Exchanged rows leave the budget, about so many bytes; those that did.
  Result<int64_t> GiveBack(int64_t bytes);
  // Do tables of groups that a task of the stage fills go on with the rows of the next partition? Then
  // neighbours had better follow each other, as many at once as there are threads.
  Result<bool> GoesInStretches(int stage) const;
  // All rows of an exchange of kind gather, as the right side of a broadcast join. One table an exchange;
  // not thread-safe.
  std::shared_ptr<JoinTable> TableOf(const PlanNode& node);
  // Partitions of the stages that scan; of others, anything. Before DropLost.
  void SetScanPartitions(std::vector<int64_t> partitions) { scan_partitions_ = std::move(partitions); }
  // Forgets commits whose exchange files are gone where a task that reads them must still run; with a
  // volatile writer, what was made from its lost rows too.
  Status DropLost();
  // Columns of its scan that the stage may meet as dictionaries: keys of groups that nothing else touches,
  // and CodedColumns.
  Result<std::vector<std::string>> EncodableColumns(const PlanStage& stage) const;

 private:
  struct Committed {
    int input_index = 0;
    int64_t partition = 0;
    int64_t rows = 0, bytes = 0;
  };
  std::vector<Committed> CommittedOf(int exchange) const;  // in (input, partition) order
  // Of the stage that reads it: a join's follow from both its sides.
  int64_t PartitionsOf(int exchange) const;
  std::string PathOf(int exchange, int input_index, int64_t partition) const;
  std::string FolderFor(int stage, int exchange, bool on_storage) const;  // of new blocks
  bool ReadersDone(int exchange) const;
  // The files of an exchange that is not sorted, and at which row of the whole each begins; at the end, all
  // rows.
  struct FileShares {
    std::vector<ExchangeShare> shares;
    std::vector<int64_t> begins;
    int64_t partitions = 0;  // of a rebalance
  };
  std::shared_ptr<const FileShares> FilesOf(int exchange);
  Result<std::shared_ptr<const SortedShares>> SharesOf(int exchange);
  Result<std::shared_ptr<SortedShares>> ReadShares(int exchange) const;  // [locked]
  Status CutJoin(const PlanSource& source);                              // [locked]
  // What the exchange carries instead of rows; null: rows.
  Result<const GroupStates*> StatesOf(int exchange) const;
  // A partition of a sorted exchange, in its order.
  Result<SortedSourceInit> SortedRange(int exchange, int64_t partition, const std::string& attempt);
  int64_t RowsOf(int exchange);
  std::unique_ptr<Source> RowRange(int exchange, int64_t partition);
  Result<std::unique_ptr<Source>> JoinedRows(const PlanSource& source, int64_t partition,
                                             const std::string& attempt);
  int64_t HoldBytes() const;
  // For the tasks of a stage that may be done again; null for others.
  std::shared_ptr<ExchangeMemory> MemoryOf(int stage) const;
  // How much of each file of a sorted exchange is left to the page cache: all of it where all files fit what
  // the budget leaves.
  int64_t CachedBytes(int exchange) const;
  // Of a task's share, in memory, where all of them may have this part of the budget.
  int64_t MostKeptBytes(int exchange, double part) const;
  int64_t SharesIn(int exchange) const;                              // by all tasks that write it
  GroupStretches* StretchesOf(int exchange, int input_index) const;  // null: none
  OperatorContext OwnContext() const;                                // for work of no task

  const Plan* plan_;
  Env* env_;
  RunDirectory* directory_;
  std::shared_ptr<Budget> budget_;
  std::shared_ptr<BudgetPool> pool_;
  int threads_;
  StagePlaces places_;
  int64_t cache_bytes_ = 0;                              // page cache for exchanged files
  mutable std::vector<std::atomic<int64_t>> shares_in_;  // by exchange; 0: not asked for yet
  std::shared_ptr<ExchangeMemory> memory_;               // null: everything is written
  std::vector<int64_t> scan_partitions_;
  std::string node_folder_;  // "": none
  mutable std::mutex blocks_mutex_;
  std::vector<NodeBlocks> node_blocks_;  // by exchange
  std::map<int, std::shared_ptr<JoinTable>> tables_;
  mutable std::mutex mutex_;
  // By exchange, once they are asked for.
  mutable std::vector<std::optional<std::unique_ptr<GroupStates>>> states_;
  std::vector<std::shared_ptr<const SortedShares>> shares_;  // by exchange, once they are read
  std::vector<int64_t> read_partitions_;                     // by exchange: committed readers
  std::vector<std::shared_ptr<const FileShares>> files_;     // likewise
  mutable std::mutex stretches_mutex_;
  mutable std::map<std::pair<int, int>, std::unique_ptr<GroupStretches>> stretches_;  // by exchange and input
};

}  // namespace partita
