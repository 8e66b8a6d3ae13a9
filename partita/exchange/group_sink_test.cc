// Rows through the sink and back: in any memory that is enough the groups are those of all rows at once.
#include "partita/exchange/group_sink.h"

#include <arrow/api.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <random>

#include "partita/base/units.h"
#include "partita/exchange/exchange_memory.h"
#include "partita/exchange/group_source.h"
#include "partita/exchange/group_stretches.h"
#include "partita/exchange/sorted_source.h"
#include "partita/exchange/state_source.h"
#include "partita/runs/row_key.h"

namespace partita {
namespace {

using BatchPtr = std::shared_ptr<arrow::RecordBatch>;

const std::vector<std::pair<std::string, std::string>> kAggregates = {{"n", "count()"},
                                                                      {"s", "sum(v)"},
                                                                      {"lo", "min(w)"},
                                                                      {"f", "first(w)"},
                                                                      {"l", "last(v)"},
                                                                      {"u", "n_unique(w)"},
                                                                      {"m", "median(v)"},
                                                                      {"top", "largest(v, 2)"},
                                                                      {"d", "std(v)"},
                                                                      {"all", "any(b)"},
                                                                      {"i", "mean(i)"},
                                                                      {"r", "corr(v, i)"},
                                                                      {"many", "largest(i, 300)"},
                                                                      {"au", "approx_n_unique(w)"},
                                                                      {"aq", "approx_quantile(v, 0.4)"}};

std::shared_ptr<arrow::Schema> RowSchema() {
  return arrow::schema({arrow::field("k", arrow::utf8()), arrow::field("v", arrow::float64()),
                        arrow::field("w", arrow::utf8()), arrow::field("b", arrow::boolean()),
                        arrow::field("i", arrow::int32())});
}

BatchPtr Rows(uint64_t seed, int64_t rows, uint64_t groups) {
  std::mt19937_64 random(seed);
  arrow::StringBuilder k, w;
  arrow::DoubleBuilder v;
  arrow::BooleanBuilder b;
  arrow::Int32Builder i;
  for (int64_t row = 0; row < rows; ++row) {
    const uint64_t key = random() % groups;
    EXPECT_TRUE((key == 0 ? k.AppendNull() : k.Append("the key " + std::to_string(key * key))).ok());
    EXPECT_TRUE(
        v.Append(std::ldexp(static_cast<double>(random() >> 20), static_cast<int>(random() % 90) - 60)).ok());
    EXPECT_TRUE(w.Append(std::string(random() % 30, static_cast<char>('a' + random() % 3))).ok());
    EXPECT_TRUE((random() % 4 == 0 ? b.AppendNull() : b.Append(random() % 2 == 0)).ok());
    EXPECT_TRUE(i.Append(static_cast<int32_t>(random() % 1000)).ok());
  }
  return arrow::RecordBatch::Make(RowSchema(), rows,
                                  {*k.Finish(), *v.Finish(), *w.Finish(), *b.Finish(), *i.Finish()});
}

constexpr int64_t kSegmentRows = 700;

// The rows with their key as codes, a dictionary for each kSegmentRows, as row groups have them; every third
// segment has values.
std::vector<BatchPtr> Encoded(const BatchPtr& rows) {
  std::vector<BatchPtr> segments;
  for (int64_t begin = 0; begin < rows->num_rows(); begin += kSegmentRows) {
    const auto segment = rows->Slice(begin, kSegmentRows);
    segments.push_back(segment);
    if (segments.size() % 3 == 0) continue;
    arrow::StringDictionary32Builder builder;
    EXPECT_TRUE(builder.AppendArray(*segment->column(0)).ok());
    const std::shared_ptr<arrow::Array> codes = *builder.Finish();
    segments.back() = *segment->SetColumn(0, arrow::field("k", codes->type()), codes);
  }
  return segments;
}

Plan PlanOf() {
  std::vector<AggregateSpec> specs;
  for (const auto& [name, text] : kAggregates) specs.push_back(*ParseAggregate(name, text));
  Plan plan;
  PlanExchange exchange;
  exchange.kind = PlanExchange::Kind::kHash;
  exchange.schema = RowSchema();
  exchange.keys = {{.column = "k"}};
  exchange.partitions = 1;
  plan.exchanges.push_back(exchange);
  PlanStage stage;
  stage.source.kind = PlanSource::Kind::kExchange;
  stage.source.exchange = 0;
  stage.source.reduce = {{"op", "aggregate"}, {"aggregates", AggregatesToJson(specs)}};
  stage.source.schema = *AggregateSchema({"k"}, specs, *RowSchema());
  plan.stages.push_back(std::move(stage));
  return plan;
}

OperatorContext ContextOf(const std::shared_ptr<BudgetPool>& pool) {
  OperatorContext ctx;
  ctx.pool = pool;
  ctx.env = Env::Default();
  return ctx;
}

std::shared_ptr<arrow::Table> Drain(Source* source, const std::shared_ptr<BudgetPool>& pool,
                                    const std::shared_ptr<arrow::Schema>& schema) {
  std::vector<BatchPtr> batches;
  while (true) {
    auto block = source->Next(ContextOf(pool));
    EXPECT_TRUE(block.ok()) << block.status();
    if (!block.ok() || !*block) break;
    batches.push_back((*block)->batch);
  }
  return *(*arrow::Table::FromRecordBatches(schema, batches))->CombineChunks();
}

// Gives rows in the order of (hash, position) with their hashes, as an exchange that carries rows does.
class OrderedRows final : public Source {
 public:
  explicit OrderedRows(const BatchPtr& rows) {
    const auto keys =
        *(*KeyEncoder::Make(*rows->schema(), {KeyColumn{}})).Encode(*rows, arrow::default_memory_pool());
    const auto hashes = *HashKeys(keys, arrow::default_memory_pool());
    std::vector<int64_t> order(static_cast<size_t>(rows->num_rows()));
    for (size_t i = 0; i < order.size(); ++i) order[i] = static_cast<int64_t>(i);
    std::stable_sort(order.begin(), order.end(),
                     [&](int64_t a, int64_t b) { return hashes.prefix(a).hi < hashes.prefix(b).hi; });
    arrow::UInt64Builder numbers;
    for (int64_t row = 0; row < rows->num_rows(); ++row)
      EXPECT_TRUE(numbers.Append(hashes.prefix(row).hi).ok());
    const auto hashed = *rows->AddColumn(rows->num_columns(), "hash", *numbers.Finish());
    for (const int64_t row : order) rows_.push_back(hashed->Slice(row, 1));
  }
  Result<std::optional<Block>> Next(const OperatorContext&) override {
    if (next_ == rows_.size()) return std::nullopt;
    const auto end = std::min(next_ + 1000, rows_.size());
    const auto table = *(*arrow::Table::FromRecordBatches({rows_.begin() + static_cast<std::ptrdiff_t>(next_),
                                                           rows_.begin() + static_cast<std::ptrdiff_t>(end)}))
                            ->CombineChunksToBatch();
    next_ = end;
    return Block{table, RowOrdinals::Range(0, table->num_rows())};
  }

 private:
  std::vector<BatchPtr> rows_;
  size_t next_ = 0;
};

void ExpectSame(const arrow::Table& expected, const arrow::Table& found) {
  ASSERT_EQ(found.num_rows(), expected.num_rows());
  for (int c = 0; c < expected.num_columns(); ++c) {
    EXPECT_TRUE(found.column(c)->Equals(*expected.column(c), arrow::EqualOptions().nans_equal(true)))
        << expected.field(c)->name() << ": " << expected.column(c)->ToString() << found.column(c)->ToString();
  }
}

class GroupSinkTest : public testing::Test {
 protected:
  GroupSinkTest()
      : folder_(std::filesystem::temp_directory_path() / ("group-sink-" + Env::Default()->RandomHex(8))) {
    std::filesystem::create_directories(folder_);
  }
  ~GroupSinkTest() override { std::filesystem::remove_all(folder_); }

  // What the reader makes of what the sink wrote in `limit_bytes`; null where that was not enough.
  std::shared_ptr<arrow::Table> RoundTrip(const BatchPtr& rows, int64_t limit_bytes, int64_t hold_bytes,
                                          uint64_t seed, int* refusals) {
    const Plan plan = PlanOf();
    auto wide = Budget::Make(256 * kMiB);
    const auto states = *GroupStatesOf(plan, 0, wide->root());
    EXPECT_NE(states, nullptr);
    auto tight = Budget::Make(limit_bytes);
    GroupSinkInit init{.env = Env::Default(),
                       .states = states.get(),
                       .folder = folder_.string(),
                       .name = "share",
                       .attempt = "a",
                       .hold_bytes = hold_bytes};
    auto sink = *MakeGroupSink(std::move(init));
    if (!Fill(sink.get(), rows, tight, seed, refusals)) {
      sink->Abort();
      EXPECT_TRUE(std::filesystem::is_empty(folder_));
      return nullptr;
    }
    auto files = sink->Finish(ContextOf(tight->root()));
    if (!files.ok()) {
      EXPECT_TRUE(files.status().IsOutOfMemory()) << files.status();
      return nullptr;
    }
    sink.reset();
    EXPECT_EQ(tight->root()->bytes_allocated(), 0);
    auto table = ReadBack(plan, states.get(), {{(*files)[0].temporary, 0, 0}}, wide->root());
    std::filesystem::remove((*files)[0].temporary);
    return table;
  }

  std::shared_ptr<arrow::Table> ReadBack(const Plan& plan, const GroupStates* states,
                                         std::vector<SortedShare> committed,
                                         const std::shared_ptr<BudgetPool>& pool) const {
    auto shares = SortedShares::Make(Env::Default(), states->exchange, std::move(committed), 1, pool);
    EXPECT_TRUE(shares.ok()) << shares.status();
    SortedSourceInit source;
    source.env = Env::Default();
    source.exchange = &states->exchange;
    source.shares = *shares;
    source.scratch = (folder_ / "scratch").string();
    auto made = MakeStateSource(states, plan.stages[0].source.schema, *MakeSortedWindows(source), pool);
    EXPECT_TRUE(made.ok()) << made.status();
    return Drain(made->get(), pool, plan.stages[0].source.schema);
  }

  // Some rows to a sink, slice by slice; what is refused comes again.
  static void Bring(Sink* sink, const BatchPtr& rows, const OperatorContext& ctx, std::mt19937_64* random) {
    for (int64_t at = 0; at < rows->num_rows();) {
      const auto slice = std::min(1 + static_cast<int64_t>((*random)() % 400), rows->num_rows() - at);
      int64_t taken = 0;
      if ((*random)() % 4 == 0)
        ctx.pool->budget()->FailNthAllocation(1 + static_cast<int64_t>((*random)() % 30));
      const Status status = sink->Write({rows->Slice(at, slice), RowOrdinals::Range(at, slice)}, ctx, &taken);
      ctx.pool->budget()->FailNthAllocation(0);
      EXPECT_TRUE(status.ok() || status.IsOutOfMemory()) << status;
      at += taken;
    }
  }

  // As an executor does it: what is refused comes again, in smaller slices; others take and give memory
  // meanwhile.
  static bool Fill(Sink* sink, const BatchPtr& rows, const std::shared_ptr<Budget>& budget, uint64_t seed,
                   int* refusals) {
    std::mt19937_64 random(seed);
    int64_t slice = 3000;
    Reservation other;
    const auto encoded = seed % 2 == 0 ? std::vector<BatchPtr>() : Encoded(rows);
    for (int64_t at = 0; at < rows->num_rows();) {
      other.Release();
      const auto share = static_cast<double>(random() % 1000) / 1000;
      if (auto taken = budget->root()->Reserve(
              static_cast<int64_t>(share * static_cast<double>(budget->available_bytes())));
          taken.ok()) {
        other = *std::move(taken);
      }
      slice = std::min(slice, rows->num_rows() - at);
      auto block = rows->Slice(at, slice);
      if (!encoded.empty()) {
        slice = std::min(slice, kSegmentRows - at % kSegmentRows);
        block = encoded[static_cast<size_t>(at / kSegmentRows)]->Slice(at % kSegmentRows, slice);
      }
      int64_t taken = 0;
      const Status status =
          sink->Write({block, RowOrdinals::Range(at, slice)}, ContextOf(budget->root()), &taken);
      at += taken;
      if (status.ok()) {
        slice = 3000;
        continue;
      }
      EXPECT_TRUE(status.IsOutOfMemory()) << status;
      ++*refusals;
      if (taken == 0 && slice == 1 && random() % 50 == 0) return false;
      slice = std::max<int64_t>(1, slice / 2);
    }
    return true;
  }

  std::filesystem::path folder_;
};

TEST_F(GroupSinkTest, GroupsDoNotDependOnMemory) {
  for (const uint64_t groups : {3, 2000, 1'000'000}) {
    const auto rows = Rows(groups, 5'000, groups);
    const Plan plan = PlanOf();
    auto budget = Budget::Make(256 * kMiB);
    auto whole = *MakeGroupSource(plan.exchanges[0], plan.stages[0].source,
                                  std::make_unique<OrderedRows>(rows), budget->root());
    const auto expected = Drain(whole.get(), budget->root(), plan.stages[0].source.schema);
    int whole_runs = 0, refusals = 0;
    for (uint64_t seed = 0; seed < 16; ++seed) {
      SCOPED_TRACE(std::to_string(groups) + " groups, seed " + std::to_string(seed));
      const auto limit = static_cast<int64_t>(640 * 1024 + seed % 8 * 1024 * 1024);
      const int64_t hold = seed % 3 == 0 ? 200'000 : 64 * kMiB;
      const auto found = RoundTrip(rows, limit, hold, seed, &refusals);
      if (!found) continue;
      ++whole_runs;
      ExpectSame(*expected, *found);
    }
    EXPECT_GT(whole_runs, 5);
    EXPECT_GT(refusals, 8);
  }
}

TEST_F(GroupSinkTest, RowsAreNotLookedUpWhereKeysDoNotRepeat) {
  const auto rows = Rows(5, 140'000, 100'000'000);
  const Plan plan = PlanOf();
  auto budget = Budget::Make(512 * kMiB);
  auto whole = *MakeGroupSource(plan.exchanges[0], plan.stages[0].source, std::make_unique<OrderedRows>(rows),
                                budget->root());
  int refusals = 0;
  const auto found = RoundTrip(rows, 256 * kMiB, 128 * kMiB, 1, &refusals);
  ASSERT_NE(found, nullptr);
  ExpectSame(*Drain(whole.get(), budget->root(), plan.stages[0].source.schema), *found);
}

// Tasks of neighbouring partitions, two at a time, that fail after some of their rows, or after all of them,
// and are done again; tables that are given back between them; runs that overflow.
TEST_F(GroupSinkTest, TablesGoOnFromTaskToTask) {
  constexpr int64_t kPartitions = 12, kRowsOfEach = 500;
  const auto rows = Rows(11, kPartitions * kRowsOfEach, 700);
  const Plan plan = PlanOf();
  auto wide = Budget::Make(256 * kMiB);
  auto whole = *MakeGroupSource(plan.exchanges[0], plan.stages[0].source, std::make_unique<OrderedRows>(rows),
                                wide->root());
  const auto expected = Drain(whole.get(), wide->root(), plan.stages[0].source.schema);
  const auto states = *GroupStatesOf(plan, 0, wide->root());
  for (uint64_t seed = 0; seed < 24; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 random(seed);
    auto budget = Budget::Make(256 * kMiB);
    const auto ctx = ContextOf(budget->root());
    {
      const bool may_lose = seed % 6 != 5;
      auto memory =
          std::make_shared<ExchangeMemory>(Env::Default(), budget->root(), folder_ / "scratch/kept",
                                           seed % 4 == 3 ? 30'000 : 64 * kMiB, may_lose ? INT64_MAX / 4 : 0);
      GroupStretches stretches(memory);
      std::map<int64_t, SortedShare> shares;
      const auto attempt = [&](int64_t p, int number, bool good) {
        const std::string name = "share-" + std::to_string(p);
        auto sink = *MakeGroupSink({.env = Env::Default(),
                                    .states = states.get(),
                                    .folder = folder_.string(),
                                    .name = name,
                                    .attempt = std::to_string(number),
                                    .hold_bytes = seed % 5 == 4 ? 1'500'000 : 64 * kMiB,
                                    .memory = memory,
                                    .stretches = &stretches,
                                    .partition = p});
        const auto part = rows->Slice(p * kRowsOfEach, kRowsOfEach);
        const auto few = static_cast<int64_t>(random() % kRowsOfEach);
        const bool to_the_end = good || random() % 3 == 0;
        Bring(sink.get(), to_the_end ? part : part->Slice(0, few), ctx, &random);
        if (!to_the_end) return sink->Abort();
        auto files = sink->Finish(ctx);
        ASSERT_TRUE(files.ok()) << files.status();
        sink.reset();
        if (!good) {
          for (const auto& file : *files) std::filesystem::remove(file.temporary);
          return;
        }
        stretches.OnCommit(p, p + 1 < kPartitions, ctx);
        shares[p] = {files->empty() ? (folder_ / name).string() : (*files)[0].temporary, 0, p};
      };
      std::vector<int64_t> next = {0, kPartitions / 2}, ends = {kPartitions / 2, kPartitions};
      while (next != ends) {
        const size_t hand = next[0] == ends[0] ? 1 : next[1] == ends[1] ? 0 : random() % 2;
        const int failures = static_cast<int>(random() % 3);
        for (int number = 0; number <= failures; ++number) attempt(next[hand], number, number == failures);
        ++next[hand];
        if (random() % 8 == 0) {
          ASSERT_TRUE(stretches.GiveBack(1, ctx).ok());
        }
      }
      ASSERT_TRUE(stretches.Close(ctx).ok());
      std::vector<SortedShare> read;
      for (auto& [p, share] : shares) {
        if (stretches.IsElsewhere(p)) continue;
        share.kept = memory->Find<KeptRuns>(share.path);
        read.push_back(share);
      }
      if (may_lose) {
        EXPECT_LT(read.size(), static_cast<size_t>(kPartitions));
      } else {
        EXPECT_EQ(read.size(), static_cast<size_t>(kPartitions));
      }
      EXPECT_TRUE(!may_lose || seed % 5 == 4 || shares.size() >= read.size() + 4) << read.size();
      const auto found = ReadBack(plan, states.get(), std::move(read), wide->root());
      ExpectSame(*expected, *found);
    }
    EXPECT_EQ(budget->root()->bytes_allocated(), 0);
    std::filesystem::remove_all(folder_ / "scratch");
  }
}

}  // namespace
}  // namespace partita
