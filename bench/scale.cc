// What a coordinator costs at scale: the real scheduler and the real commit log drive a simulated cluster.
//
//   partita_bench_scale TASKS [NODES] [SLOTS_A_NODE] [SEED]
//
// The run: a scan, an exchange cut by bytes, a stage, an exchange of a fixed number of partitions, a last
// stage with a sink; half, 3/10 and 2/10 of the tasks. Tasks last 1 to 30 s of simulated time. One in a
// hundred gives its memory back; every 30 s a node is lost with its tasks for a minute; once 99 % of the
// nodes are. Each commit goes to a commit log on disk, which is then read back as a resumed run would. One
// JSON object is printed; docs/scale.md explains it.
#include <malloc.h>
#include <sys/resource.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <queue>
#include <random>
#include <string>
#include <vector>

#include "partita/base/env.h"
#include "partita/base/json.h"
#include "partita/dataset/commit_log.h"
#include "partita/runs/run_file.h"
#include "partita/schedule/scheduler.h"
#include "partita/schedule/stage_graph.h"

namespace partita {
namespace {

constexpr int64_t kPartitionBytes = 128 << 20;
constexpr int64_t kRowsPerTask = 1'000'000;
constexpr int64_t kNodeLostEvery_ms = 30'000, kNodeBackAfter_ms = 60'000;

double CpuSeconds() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

int64_t HeapBytes() {
  const auto info = mallinfo2();
  return static_cast<int64_t>(info.uordblks + info.hblkhd);
}

StageGraph GraphOf(int64_t tasks) {
  StageGraph graph;
  graph.stages.resize(3);
  graph.stages[0].partitions = tasks / 2;
  graph.stages[0].outputs = {{.exchange = true, .target = 0}};
  graph.stages[1].reads_exchange = 0;
  graph.stages[1].outputs = {{.exchange = true, .target = 1}};
  graph.stages[2].reads_exchange = 1;
  graph.stages[2].outputs = {{.exchange = false, .target = 0}};
  graph.sinks.resize(1);
  graph.exchanges.resize(2);
  graph.exchanges[0] = {.exchange = true, .partition_bytes = kPartitionBytes};
  graph.exchanges[1] = {.exchange = true, .partitions = std::max<int64_t>(1, tasks / 5)};
  return graph;
}

// As the local engine writes it: an exchange's output has no file of its own name, a sink's has one.
TaskCommit CommitOf(TaskId task) {
  TaskCommit commit{
      .stage = task.stage, .partition = task.partition, .outputs = {}, .steps = {}, .dropped = {}};
  CommittedOutput output{.output = 0, .dataset = -1, .rows = kRowsPerTask, .files = {}, .bytes = 0};
  if (task.stage == 2) {
    char name[40];
    std::snprintf(name, sizeof name, "part-%05lld-000.parquet", static_cast<long long>(task.partition));
    output.dataset = 0;
    output.files.push_back({name, kRowsPerTask, kPartitionBytes});
  } else {
    output.bytes = task.stage == 0 ? kPartitionBytes * 6 / 10 : kPartitionBytes;
  }
  commit.outputs.push_back(std::move(output));
  commit.steps.resize(3, {kRowsPerTask, kRowsPerTask, 0, 0});
  return commit;
}

class Cluster {
 public:
  Cluster(Scheduler* scheduler, CommitLog* log, int nodes, int slots, uint64_t seed)
      : scheduler_(scheduler), log_(log), slots_(slots), random_(seed), nodes_(static_cast<size_t>(nodes)) {
    for (int n = 0; n < nodes; ++n) Join(n);
  }

  Status Run() {
    ARROW_RETURN_NOT_OK(Do(scheduler_->Start(now_ms_)));
    int64_t next_loss_ms = kNodeLostEvery_ms;
    bool collapsed = false;
    while (!scheduler_->finished()) {
      if (!collapsed && 2 * scheduler_->tasks_done() > graph_tasks_) {
        collapsed = true;
        for (size_t n = 0; n + nodes_.size() / 100 + 1 < nodes_.size(); ++n)
          ARROW_RETURN_NOT_OK(Lose(static_cast<int>(n)));
      }
      const int64_t end_ms = running_.empty() ? INT64_MAX : running_.top().at_ms;
      const int64_t back_ms = back_.empty() ? INT64_MAX : back_.top().at_ms;
      const int64_t next_ms = std::min({end_ms, back_ms, next_loss_ms, scheduler_->next_tick_ms()});
      now_ms_ = std::max(now_ms_, next_ms);
      if (next_ms == next_loss_ms) {
        next_loss_ms += kNodeLostEvery_ms;
        ARROW_RETURN_NOT_OK(Lose(static_cast<int>(random_() % nodes_.size())));
      } else if (next_ms == back_ms) {
        Join(back_.top().node);
        back_.pop();
        ARROW_RETURN_NOT_OK(Tell({.kind = SchedulerEvent::Kind::kCapacity,
                                  .task = {},
                                  .rows = {},
                                  .status = {},
                                  .max_running = capacity()}));
      } else if (next_ms == end_ms) {
        ARROW_RETURN_NOT_OK(End());
      } else {
        ARROW_RETURN_NOT_OK(
            Tell({.kind = SchedulerEvent::Kind::kTick, .task = {}, .rows = {}, .status = {}}));
      }
    }
    return failure_;
  }

  void set_tasks(int64_t tasks) { graph_tasks_ = tasks; }
  int64_t decisions() const { return decisions_; }
  int64_t events() const { return events_; }
  int64_t simulated_ms() const { return now_ms_; }
  int64_t nodes_lost() const { return nodes_lost_; }

 private:
  struct Node {
    bool alive = false;
    int life = 0;               // grows when it is lost: what it ran is void
    std::vector<TaskId> tasks;  // running
  };
  struct Running {
    int64_t at_ms;
    TaskId task;
    int node, life;
    bool operator>(const Running& other) const {
      return std::tie(at_ms, task) > std::tie(other.at_ms, other.task);
    }
  };
  struct Back {
    int64_t at_ms;
    int node;
    bool operator>(const Back& other) const {
      return std::tie(at_ms, node) > std::tie(other.at_ms, other.node);
    }
  };

  int capacity() const { return std::max(1, alive_ * slots_); }

  void Join(int node) {
    nodes_[static_cast<size_t>(node)].alive = true;
    ++alive_;
    for (int s = 0; s < slots_; ++s) free_.emplace_back(node, nodes_[static_cast<size_t>(node)].life);
  }

  Status Lose(int index) {
    auto& node = nodes_[static_cast<size_t>(index)];
    if (!node.alive) return Status::OK();
    node.alive = false;
    ++node.life;
    --alive_;
    ++nodes_lost_;
    back_.push({now_ms_ + kNodeBackAfter_ms, index});
    ARROW_RETURN_NOT_OK(Tell({.kind = SchedulerEvent::Kind::kCapacity,
                              .task = {},
                              .rows = {},
                              .status = {},
                              .max_running = capacity()}));
    for (const TaskId task : std::exchange(node.tasks, {})) {
      ARROW_RETURN_NOT_OK(Tell({.kind = SchedulerEvent::Kind::kTaskFailed,
                                .task = task,
                                .rows = {},
                                .status = EnvironmentError("the node was lost", "", /*retriable=*/true)}));
    }
    return Status::OK();
  }

  Status End() {
    const Running ended = running_.top();
    running_.pop();
    auto& node = nodes_[static_cast<size_t>(ended.node)];
    if (node.life != ended.life) return Status::OK();  // it was lost with its node
    std::erase(node.tasks, ended.task);
    free_.emplace_back(ended.node, ended.life);
    if (random_() % 100 == 0) {
      return Tell(
          {.kind = SchedulerEvent::Kind::kTaskPreempted, .task = ended.task, .rows = {}, .status = {}});
    }
    TaskCommit commit = CommitOf(ended.task);
    SchedulerEvent event{.kind = SchedulerEvent::Kind::kTaskCommitted,
                         .task = ended.task,
                         .rows = {commit.outputs[0].rows},
                         .status = {}};
    event.bytes = {commit.outputs[0].bytes};
    if (log_) ARROW_RETURN_NOT_OK(log_->Append(std::move(commit)));
    return Tell(event);
  }

  Status Tell(const SchedulerEvent& event) {
    ++events_;
    return Do(scheduler_->Step(event, now_ms_));
  }

  Status Do(const std::vector<Instruction>& instructions) {
    for (const auto& instruction : instructions) {
      ++decisions_;
      if (instruction.kind == Instruction::Kind::kFailRun) failure_ = instruction.status;
      if (instruction.kind != Instruction::Kind::kStartTask) continue;
      while (!free_.empty() && nodes_[static_cast<size_t>(free_.back().first)].life != free_.back().second)
        free_.pop_back();  // a slot of a node that was lost
      if (free_.empty()) return BugError("the scheduler started more tasks than there are slots");
      const auto [node, life] = free_.back();
      free_.pop_back();
      nodes_[static_cast<size_t>(node)].tasks.push_back(instruction.task);
      running_.push(
          {now_ms_ + 1000 + static_cast<int64_t>(random_() % 29'000), instruction.task, node, life});
    }
    return Status::OK();
  }

  Scheduler* scheduler_;
  CommitLog* log_;
  int slots_;
  std::mt19937_64 random_;
  std::vector<Node> nodes_;
  std::vector<std::pair<int, int>> free_;  // node, its life
  std::priority_queue<Running, std::vector<Running>, std::greater<>> running_;
  std::priority_queue<Back, std::vector<Back>, std::greater<>> back_;
  Status failure_;
  int alive_ = 0;
  int64_t now_ms_ = 0, graph_tasks_ = 0, decisions_ = 0, events_ = 0, nodes_lost_ = 0;
};

// What a reader of a sorted exchange keeps of one run file with `frames` frames.
int64_t IndexBytes(int64_t frames) {
  RunIndex index;
  index.runs.resize(1);
  index.runs[0].resize(static_cast<size_t>(frames));
  return index.size_bytes();
}

Result<Json> Measure(int64_t tasks, int nodes, int slots, uint64_t seed, const std::string& folder) {
  Env* env = Env::Default();
  const SchedulerOptions options{.max_running_tasks = nodes * slots, .max_attempts = 8};
  Json json = {{"tasks", tasks}, {"nodes", nodes}, {"slots", slots}};
  const auto per = [](double value, int64_t of) { return value / static_cast<double>(of); };

  double cpu = CpuSeconds();
  int64_t heap = HeapBytes();
  auto scheduler = std::make_unique<Scheduler>(GraphOf(tasks), options);
  auto cluster = std::make_unique<Cluster>(scheduler.get(), nullptr, nodes, slots, seed);
  cluster->set_tasks(tasks);
  ARROW_RETURN_NOT_OK(cluster->Run());
  const int64_t simulated_ms = cluster->simulated_ms(), decisions = cluster->decisions();
  json["simulated_s"] = simulated_ms / 1000;
  json["nodes_lost"] = cluster->nodes_lost();
  json["decisions"] = decisions;
  cluster.reset();
  cpu = CpuSeconds() - cpu;
  json["seconds"] = cpu;  // CPU, the simulation included
  json["decisions_a_second"] = static_cast<double>(decisions) / cpu;
  json["tasks_run"] = scheduler->tasks_done();
  json["scheduler_bytes_a_task"] = per(static_cast<double>(HeapBytes() - heap), tasks);
  scheduler.reset();

  const std::string path = JoinPath(folder, "commits.log");
  scheduler = std::make_unique<Scheduler>(GraphOf(tasks), options);
  cpu = CpuSeconds();
  heap = HeapBytes();
  ARROW_ASSIGN_OR_RAISE(auto log, CommitLog::Open(env, path));
  for (int stage = 0; stage < 3; ++stage) {
    const int64_t partitions = stage == 0 ? tasks / 2 : stage == 1 ? tasks * 3 / 10 : tasks / 5;
    for (int64_t p = 0; p < partitions; ++p) ARROW_RETURN_NOT_OK(log->Append(CommitOf({stage, p})));
  }
  const auto commits = static_cast<int64_t>(log->commits().size());
  json["commits_a_second"] = static_cast<double>(commits) / (CpuSeconds() - cpu);
  json["log_memory_bytes_a_task"] = per(static_cast<double>(HeapBytes() - heap), commits);
  ARROW_ASSIGN_OR_RAISE(const auto status, env->Stat(path));
  json["log_file_bytes_a_task"] = per(static_cast<double>(status.size_bytes), commits);
  log.reset();

  cpu = CpuSeconds();
  ARROW_ASSIGN_OR_RAISE(log, CommitLog::Open(env, path));
  for (const auto& [key, commit] : log->commits())
    scheduler->Restore({key.first, key.second}, {commit.outputs[0].rows}, {commit.outputs[0].bytes});
  (void)scheduler->Start(0);
  json["resume_seconds"] = CpuSeconds() - cpu;
  json["resumed_to_the_end"] = scheduler->finished();

  json["index_bytes_a_frame"] = static_cast<double>(IndexBytes(100'000) - IndexBytes(0)) / 1e5;
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  json["peak_bytes"] = usage.ru_maxrss * 1024;
  return json;
}

}  // namespace
}  // namespace partita

int main(int argc, char** argv) {
  if (argc < 2) {
    std::fprintf(stderr, "usage: partita_bench_scale TASKS [NODES] [SLOTS_A_NODE] [SEED]\n");
    return 2;
  }
  const auto argument = [&](int i, int64_t otherwise) { return argc > i ? std::atoll(argv[i]) : otherwise; };
  auto folder = std::filesystem::temp_directory_path() / "partita-bench-scale-XXXXXX";
  std::string name = folder.string();
  if (mkdtemp(name.data()) == nullptr) {
    std::perror("mkdtemp");
    return 1;
  }
  const auto json =
      partita::Measure(argument(1, 0), static_cast<int>(argument(2, 1000)), static_cast<int>(argument(3, 8)),
                       static_cast<uint64_t>(argument(4, 1)), name);
  std::filesystem::remove_all(name);
  if (!json.ok()) {
    std::fprintf(stderr, "%s\n", json.status().ToString().c_str());
    return 1;
  }
  std::printf("%s\n", json->dump().c_str());
  return 0;
}
