// How tasks read exchanges: see exchange_store.h.
#include <algorithm>

#include "partita/base/json.h"
#include "partita/engine/coded_columns.h"
#include "partita/engine/exchange_store.h"
#include "partita/exchange/asof_source.h"
#include "partita/exchange/exchange_memory.h"
#include "partita/exchange/file_exchange.h"
#include "partita/exchange/group_source.h"
#include "partita/exchange/group_states.h"
#include "partita/exchange/group_stretches.h"
#include "partita/exchange/join_source.h"
#include "partita/exchange/sorted_source.h"
#include "partita/exchange/state_source.h"
#include "partita/exchange/zip_source.h"
#include "partita/pipeline/join.h"
#include "partita/runs/kept_rows.h"

namespace partita {

Result<std::shared_ptr<const SortedShares>> ExchangeStore::SharesOf(int exchange) {
  ARROW_ASSIGN_OR_RAISE(const GroupStates* states, StatesOf(exchange));
  std::lock_guard lock(mutex_);
  auto& known = shares_[static_cast<size_t>(exchange)];
  if (known) return known;
  if (const PlanSource* join = HashJoinOf(*plan_, exchange)) {
    ARROW_RETURN_NOT_OK(CutJoin(*join));
    return known;
  }
  for (const auto& writer : WritersOf(*plan_, exchange)) {
    if (auto* stretches = StretchesOf(exchange, writer.input_index))
      ARROW_RETURN_NOT_OK(stretches->Close(OwnContext()));
  }
  ARROW_ASSIGN_OR_RAISE(known, ReadShares(exchange));
  // Tables of groups are gone, and whoever reads what they wrote has no use for blocks of their size.
  if (states != nullptr) pool_->ReleaseUnused();
  return known;
}

// Where a side is cut follows from the rows of both.
Status ExchangeStore::CutJoin(const PlanSource& source) {
  ARROW_ASSIGN_OR_RAISE(const Join join, JoinFromJson(source.reduce));
  ARROW_ASSIGN_OR_RAISE(auto left, ReadShares(source.exchange));
  ARROW_ASSIGN_OR_RAISE(auto right, ReadShares(source.right_exchange));
  const auto bytes_of = [this](int exchange) {
    int64_t bytes = 0;
    for (const auto& share : CommittedOf(exchange)) bytes += share.bytes;
    return bytes;
  };
  SortedShares::CutJoin(left.get(), bytes_of(source.exchange), right.get(), bytes_of(source.right_exchange),
                        !join.gives_left_only(), join.may_lack_left());
  shares_[static_cast<size_t>(source.exchange)] = std::move(left);
  shares_[static_cast<size_t>(source.right_exchange)] = std::move(right);
  return Status::OK();
}

Result<std::shared_ptr<SortedShares>> ExchangeStore::ReadShares(int exchange) const {
  const auto committed = CommittedOf(exchange);
  std::vector<SortedShare> shares;
  const int64_t cached_bytes = CachedBytes(exchange);
  for (const auto& share : committed) {
    const auto* stretches = StretchesOf(exchange, share.input_index);
    if (stretches != nullptr && stretches->IsElsewhere(share.partition)) continue;
    const std::string path = PathOf(exchange, share.input_index, share.partition);
    shares.push_back({path, share.input_index, share.partition, cached_bytes,
                      memory_ ? memory_->Find<KeptRuns>(path) : nullptr});
  }
  return SortedShares::Make(env_, plan_->exchanges[static_cast<size_t>(exchange)], std::move(shares),
                            PartitionsOf(exchange), pool_);
}

// Gathered once: each reader would go through all that was written, and together they would through readers
// times writers.
std::shared_ptr<const ExchangeStore::FileShares> ExchangeStore::FilesOf(int exchange) {
  std::lock_guard lock(mutex_);
  auto& known = files_[static_cast<size_t>(exchange)];
  if (known) return known;
  auto files = std::make_shared<FileShares>();
  files->begins.push_back(0);
  for (const auto& share : CommittedOf(exchange)) {
    if (share.rows == 0) continue;
    const std::string path = PathOf(exchange, share.input_index, share.partition);
    files->shares.push_back({path, share.rows, memory_ ? memory_->Find<KeptRows>(path) : nullptr});
    files->begins.push_back(files->begins.back() + share.rows);
  }
  if (plan_->exchanges[static_cast<size_t>(exchange)].kind == PlanExchange::Kind::kRebalance)
    files->partitions = PartitionsOf(exchange);
  known = std::move(files);
  return known;
}

int64_t ExchangeStore::RowsOf(int exchange) {
  const int64_t rows = FilesOf(exchange)->begins.back();
  const int64_t limit = plan_->exchanges[static_cast<size_t>(exchange)].limit;
  return limit >= 0 ? std::min(rows, limit) : rows;
}

// A partition of an exchange that keeps the order of its rows.
std::unique_ptr<Source> ExchangeStore::RowRange(int index, int64_t partition) {
  const auto& exchange = plan_->exchanges[static_cast<size_t>(index)];
  const auto files = FilesOf(index);
  const int64_t rows = RowsOf(index);
  int64_t first = 0, end = rows;
  if (exchange.rows_per_partition > 0) {
    first = std::min(rows, partition * exchange.rows_per_partition);
    end = std::min(rows, first + exchange.rows_per_partition);
  } else if (exchange.kind == PlanExchange::Kind::kRebalance) {
    const auto cut = [&](int64_t p) {
      return static_cast<int64_t>(static_cast<__int128>(rows) * p / files->partitions);
    };
    first = cut(partition);
    end = cut(partition + 1);
  }
  if (first >= end) return MakeExchangeSource({}, 0, 0);
  // The files that hold rows of [first, end).
  const auto& begins = files->begins;
  const auto from = std::upper_bound(begins.begin(), begins.end(), first) - begins.begin() - 1;
  const auto to = std::lower_bound(begins.begin(), begins.end(), end) - begins.begin();
  std::vector<ExchangeShare> shares(files->shares.begin() + from, files->shares.begin() + to);
  return MakeExchangeSource(std::move(shares), first - begins[static_cast<size_t>(from)], end - first);
}

Result<SortedSourceInit> ExchangeStore::SortedRange(int exchange, int64_t partition,
                                                    const std::string& attempt) {
  SortedSourceInit init;
  init.env = env_;
  ARROW_ASSIGN_OR_RAISE(const GroupStates* states, StatesOf(exchange));
  init.exchange = states != nullptr ? &states->exchange : &plan_->exchanges[static_cast<size_t>(exchange)];
  ARROW_ASSIGN_OR_RAISE(init.shares, SharesOf(exchange));
  init.partition = partition;
  init.scratch = JoinPath(directory_->SpillDir(), "merge-" + attempt);
  init.hold_bytes = HoldBytes();
  return init;
}

std::shared_ptr<JoinTable> ExchangeStore::TableOf(const PlanNode& node) {
  const int exchange = node.table;
  auto& table = tables_[exchange];
  if (!table) {
    const auto& schema = plan_->exchanges[static_cast<size_t>(exchange)].schema;
    std::vector<int> columns;
    for (const auto& key : GetStringsOr(node.args, "right_on", {}).ValueOr({}))
      columns.push_back(schema->GetFieldIndex(key));
    const auto asof = AsofFromJson(node.args.value("asof", Json()));
    const int order = asof.ok() ? schema->GetFieldIndex(asof->right) : -1;
    table = std::make_shared<JoinTable>(schema, std::move(columns), order, [this, exchange] {
      return Result<std::unique_ptr<Source>>(RowRange(exchange, 0));
    });
    if (MayCodeTable(*plan_, exchange)) table->GiveCodes();
  }
  return table;
}

Result<std::unique_ptr<Source>> ExchangeStore::JoinedRows(const PlanSource& source, int64_t partition,
                                                          const std::string& attempt) {
  JoinSourceInit init;
  init.env = env_;
  init.source = &source;
  init.left_exchange = &plan_->exchanges[static_cast<size_t>(source.exchange)];
  init.right_exchange = &plan_->exchanges[static_cast<size_t>(source.right_exchange)];
  ARROW_ASSIGN_OR_RAISE(init.left, SharesOf(source.exchange));
  ARROW_ASSIGN_OR_RAISE(init.right, SharesOf(source.right_exchange));
  init.partition = partition;
  init.scratch = JoinPath(directory_->SpillDir(), "join-" + attempt);
  init.hold_bytes = HoldBytes();
  return source.reduce.contains("asof") ? MakeAsofSource(std::move(init)) : MakeJoinSource(std::move(init));
}

Result<std::unique_ptr<Source>> ExchangeStore::MakeSource(const PlanSource& source, int64_t partition,
                                                          const std::string& attempt) {
  const auto& exchange = plan_->exchanges[static_cast<size_t>(source.exchange)];
  if (exchange.is_sorted()) {
    if (source.right_exchange >= 0) return JoinedRows(source, partition, attempt);
    ARROW_ASSIGN_OR_RAISE(auto range, SortedRange(source.exchange, partition, attempt));
    ARROW_ASSIGN_OR_RAISE(const GroupStates* states, StatesOf(source.exchange));
    if (states != nullptr) {
      ARROW_ASSIGN_OR_RAISE(auto windows, MakeSortedWindows(range));
      return MakeStateSource(states, source.schema, std::move(windows), pool_);
    }
    range.with_keys = !source.reduce.is_null();
    ARROW_ASSIGN_OR_RAISE(auto rows, MakeSortedSource(std::move(range)));
    if (source.reduce.is_null()) return rows;
    return MakeGroupSource(exchange, source, std::move(rows), pool_);
  }
  if (source.right_exchange < 0) return RowRange(source.exchange, partition);
  const int64_t rows = RowsOf(source.exchange), others = RowsOf(source.right_exchange);
  if (rows != others) {
    return DataError("zip needs inputs with as many rows as each other: the left one has " +
                         std::to_string(rows) + ", the right one " + std::to_string(others),
                     "cut the longer one with limit, or join them by a key");
  }
  return MakeZipSource(source, exchange, plan_->exchanges[static_cast<size_t>(source.right_exchange)],
                       RowRange(source.exchange, partition), RowRange(source.right_exchange, partition));
}

}  // namespace partita
