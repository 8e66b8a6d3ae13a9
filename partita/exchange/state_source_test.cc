// Windows of states by hand, with hashes that collide and go on from window to window: groups come in the order
// of (hash, first row), whatever the windows are and whenever memory is refused.
#include "partita/exchange/state_source.h"

#include <arrow/api.h>
#include <gtest/gtest.h>

#include <map>
#include <numeric>
#include <random>
#include <tuple>

namespace partita {
namespace {

using BatchPtr = std::shared_ptr<arrow::RecordBatch>;

struct Row {
  uint64_t hash = 0;
  int64_t key = -1;  // -1: null
  int64_t value = 0;
};

class StateSourceTest : public ::testing::TestWithParam<int> {
 protected:
  void SetUp() override {
    const auto rows =
        arrow::schema({arrow::field("k", arrow::int64()), arrow::field("v", arrow::int64())});
    std::vector<AggregateSpec> specs;
    for (const auto& [name, text] : std::vector<std::pair<std::string, std::string>>{
             {"n", "count()"}, {"s", "sum(v)"}, {"f", "first(v)"}, {"l", "last(v)"}})
      specs.push_back(*ParseAggregate(name, text));
    PlanExchange exchange;
    exchange.kind = PlanExchange::Kind::kHash;
    exchange.schema = rows;
    exchange.keys = {{.column = "k"}};
    plan_.exchanges.push_back(exchange);
    PlanStage stage;
    stage.source.kind = PlanSource::Kind::kExchange;
    stage.source.exchange = 0;
    stage.source.reduce = {{"op", "aggregate"}, {"aggregates", AggregatesToJson(specs)}};
    stage.source.schema = *AggregateSchema({"k"}, specs, *rows);
    plan_.stages.push_back(std::move(stage));
    states_ = *GroupStatesOf(plan_, 0, wide_->root());
  }

  // Rows of one run as states, one a row, with their hashes behind.
  BatchPtr StatesOf(const std::vector<Row>& rows) {
    arrow::Int64Builder keys, values;
    arrow::UInt64Builder hashes;
    for (const auto& row : rows) {
      EXPECT_TRUE((row.key < 0 ? keys.AppendNull() : keys.Append(row.key)).ok());
      EXPECT_TRUE(values.Append(row.value).ok());
      EXPECT_TRUE(hashes.Append(row.hash).ok());
    }
    const auto key = *keys.Finish(), value = *values.Finish();
    const auto input = arrow::RecordBatch::Make(plan_.exchanges[0].schema, key->length(), {key, value});
    std::vector<uint32_t> each(rows.size());
    std::iota(each.begin(), each.end(), 0);
    arrow::ArrayVector columns = {key};
    for (const auto& function : states_->functions) {
      auto aggregate = *states_->Make(function, wide_->root());
      const auto column = function.input.Of(*input);
      EXPECT_TRUE(aggregate->Update(column.get(), each, static_cast<uint32_t>(each.size())).ok());
      for (const auto& state : *aggregate->Export(each, arrow::default_memory_pool())) columns.push_back(state);
    }
    columns.push_back(*hashes.Finish());
    auto fields = states_->exchange.schema->fields();
    fields.push_back(arrow::field("hash", arrow::uint64()));
    return arrow::RecordBatch::Make(arrow::schema(std::move(fields)), key->length(), std::move(columns));
  }

  Plan plan_;
  std::shared_ptr<Budget> wide_ = Budget::Make(int64_t{1} << 30);
  std::unique_ptr<GroupStates> states_;
};

// Cuts runs into windows as RunMerger does: up to a row of one run, with rows of the same hash of runs before it.
std::vector<RunMerger::Window> WindowsOf(const std::vector<std::vector<Row>>& runs,
                                         const std::vector<BatchPtr>& batches, std::mt19937_64* random) {
  std::vector<RunMerger::Window> windows;
  std::vector<size_t> taken(runs.size(), 0);
  for (int cut = 0; cut < 8; ++cut) {
    const size_t run = (*random)() % runs.size();
    if (taken[run] == runs[run].size()) continue;
    const size_t row = taken[run] + (*random)() % (runs[run].size() - taken[run]);
    RunMerger::Window window;
    window.open = runs[run][row].hash;
    for (size_t r = 0; r < runs.size(); ++r) {
      size_t end = taken[r];
      if (r == run) end = row + 1;
      const auto may_come = [&](uint64_t hash) { return hash < *window.open || (hash == *window.open && r < run); };
      while (r != run && end < runs[r].size() && may_come(runs[r][end].hash)) ++end;
      if (end > taken[r]) {
        window.parts.push_back(batches[r]->Slice(static_cast<int64_t>(taken[r]), static_cast<int64_t>(end - taken[r])));
      }
      taken[r] = end;
    }
    windows.push_back(std::move(window));
  }
  RunMerger::Window last;
  for (size_t r = 0; r < runs.size(); ++r) {
    if (taken[r] < runs[r].size()) last.parts.push_back(batches[r]->Slice(static_cast<int64_t>(taken[r])));
  }
  if (!last.parts.empty()) windows.push_back(std::move(last));
  return windows;
}

TEST_P(StateSourceTest, GroupsComeByHashAndFirstRow) {
  const auto seed = static_cast<uint64_t>(GetParam());
  std::mt19937_64 random(seed);
  const uint64_t hashes = 1 + random() % (seed % 2 == 0 ? 5 : 400);
  std::vector<std::vector<Row>> runs(1 + random() % 5);
  std::vector<BatchPtr> batches;
  std::map<uint64_t, std::vector<std::tuple<int64_t, int64_t, int64_t, int64_t, int64_t>>> expected;
  for (auto& run : runs) {
    run.resize(1 + random() % 600);
    for (auto& row : run) {
      row.key = static_cast<int64_t>(random() % 500) - 1;
      row.hash = static_cast<uint64_t>(row.key + 1) % hashes * 0x9e3779b97f4a7c15ULL;  // keys of one hash differ
      row.value = static_cast<int64_t>(random() % 1000);
    }
    std::stable_sort(run.begin(), run.end(), [](const Row& a, const Row& b) { return a.hash < b.hash; });
    batches.push_back(StatesOf(run));
    for (const auto& row : run) {
      auto& groups = expected[row.hash];
      auto found = std::find_if(groups.begin(), groups.end(), [&](const auto& g) { return std::get<0>(g) == row.key; });
      if (found == groups.end()) found = groups.insert(found, {row.key, 0, 0, row.value, 0});
      auto& [key, n, sum, first, last] = *found;
      ++n;
      sum += row.value;
      last = row.value;
    }
  }

  auto windows = WindowsOf(runs, batches, &random);
  size_t next = 0;
  const SortedWindows give = [&](const OperatorContext&) -> Result<RunMerger::Window> {
    return next < windows.size() ? windows[next++] : RunMerger::Window();
  };
  // Memory grows while it is refused.
  const auto tight = Budget::Make(1 << 20);
  auto ballast = *tight->root()->Reserve((1 << 20) - 256);
  auto source = *MakeStateSource(states_.get(), plan_.stages[0].source.schema, give, tight->root());
  OperatorContext ctx;
  ctx.pool = tight->root();
  ctx.env = Env::Default();
  std::vector<BatchPtr> given;
  int refusals = 0;
  while (true) {
    auto block = source->Next(ctx);
    if (block.status().IsOutOfMemory()) {
      ++refusals;
      ASSERT_GT(ballast.bytes(), 0) << block.status();
      ASSERT_TRUE(ballast.Resize(std::max<int64_t>(0, ballast.bytes() - 4096)).ok());
      continue;
    }
    ASSERT_TRUE(block.ok()) << block.status();
    if (!*block) break;
    given.push_back((*block)->batch);
  }
  EXPECT_GT(refusals, 0);
  const auto table = *(*arrow::Table::FromRecordBatches(plan_.stages[0].source.schema, given))->CombineChunksToBatch();
  const auto cell = [&](int column, int64_t row) {
    const auto& array = static_cast<const arrow::Int64Array&>(*table->column(column));
    return array.IsNull(row) ? -1 : array.Value(row);
  };
  int64_t row = 0;
  for (const auto& [hash, groups] : expected) {
    for (const auto& group : groups) {
      ASSERT_LT(row, table->num_rows());
      EXPECT_EQ(std::tuple(cell(0, row), cell(1, row), cell(2, row), cell(3, row), cell(4, row)), group)
          << "row " << row;
      ++row;
    }
  }
  EXPECT_EQ(row, table->num_rows());
}

INSTANTIATE_TEST_SUITE_P(Seeds, StateSourceTest, ::testing::Range(0, 40));

}  // namespace
}  // namespace partita
