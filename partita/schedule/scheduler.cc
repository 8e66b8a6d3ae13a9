#include "partita/schedule/scheduler.h"

#include <algorithm>

#include "partita/schedule/stage_graph.h"

namespace partita {

Scheduler::Scheduler(StageGraph graph, SchedulerOptions options)
    : graph_(std::move(graph)), options_(options) {
  stages_.resize(graph_.stages.size());
  sink_prefix_.resize(graph_.sinks.size());
  exchange_prefix_.resize(graph_.exchanges.size());
  exchange_rows_.resize(graph_.exchanges.size(), 0);
  exchange_bytes_.resize(graph_.exchanges.size(), 0);
  for (size_t s = 0; s < stages_.size(); ++s) {
    stages_[s].partitions = graph_.stages[s].partitions;
    if (stages_[s].partitions >= 0) stages_[s].state.resize(static_cast<size_t>(stages_[s].partitions));
    for (size_t o = 0; o < graph_.stages[s].outputs.size(); ++o) {
      const auto& output = graph_.stages[s].outputs[o];
      auto* prefix = PrefixOf(output);
      const auto index = static_cast<size_t>(output.input_index);
      if (prefix->inputs.size() <= index) prefix->inputs.resize(index + 1);
      prefix->inputs[index] = {static_cast<int>(s), static_cast<int>(o)};
    }
  }
  for (auto* prefixes : {&sink_prefix_, &exchange_prefix_}) {
    for (auto& prefix : *prefixes) prefix.done_rows.resize(prefix.inputs.size());
  }
}

Scheduler::Prefix* Scheduler::PrefixOf(const StageGraph::Stage::Output& output) {
  auto& prefixes = output.exchange ? exchange_prefix_ : sink_prefix_;
  return &prefixes[static_cast<size_t>(output.target)];
}

void Scheduler::Restore(TaskId task, const std::vector<int64_t>& rows, const std::vector<int64_t>& bytes) {
  if (task.stage < 0 || task.stage >= static_cast<int>(stages_.size())) return;
  OpenStages();
  auto& stage = stages_[static_cast<size_t>(task.stage)];
  if (task.partition < 0 || task.partition >= stage.partitions) return;
  auto& state = stage.state[static_cast<size_t>(task.partition)];
  if (state == TaskState::kDone) return;
  state = TaskState::kDone;
  ++stage.done;
  ++done_;
  Count(task, rows, bytes);
  OpenStages();
}

std::vector<Instruction> Scheduler::Start(int64_t now_ms) {
  std::vector<Instruction> out;
  started_ = true;
  OpenStages();
  SkipUnneeded(&out);
  Fill(&out, now_ms);
  return out;
}

std::vector<Instruction> Scheduler::Step(const SchedulerEvent& event, int64_t now_ms) {
  std::vector<Instruction> out;
  using Kind = SchedulerEvent::Kind;
  if (finished_) {
    if (failed_ && event.kind == Kind::kTaskCommitted) CountLate(event.task);
    return out;
  }
  if (event.kind == Kind::kCancel) {
    Fail(Status::Cancelled("the run was cancelled"), &out);
    return out;
  }
  if (event.kind == Kind::kOutputsLost) TakeBack(event.tasks, &out);
  if (event.kind == Kind::kCapacity) options_.max_running_tasks = std::max(1, event.max_running);
  if (event.kind == Kind::kTaskCommitted || event.kind == Kind::kTaskFailed ||
      event.kind == Kind::kTaskPreempted) {
    auto& stage = stages_[static_cast<size_t>(event.task.stage)];
    auto& state = stage.state[static_cast<size_t>(event.task.partition)];
    // A cancelled task may still end, one way or the other: that is no news, but its slot is free.
    if (state == TaskState::kRunning || state == TaskState::kSkipped) {
      --running_;
      --stage.running;
    }
    if (event.kind == Kind::kTaskCommitted &&
        (state == TaskState::kRunning || state == TaskState::kWaiting)) {
      state = TaskState::kDone;
      ++stage.done;
      ++done_;
      if (counted_.erase(event.task) == 0) Count(event.task, event.rows, event.bytes);
      if (stage.stretches) stage.stretches->Follow(event.task.partition);
      OpenStages();
      SkipUnneeded(&out);
    } else if (event.kind == Kind::kTaskPreempted && state == TaskState::kRunning) {
      state = TaskState::kPending;
      stage.again.push(event.task.partition);
    } else if (event.kind == Kind::kTaskFailed && state == TaskState::kRunning) {
      const int attempt = ++stage.attempts[event.task.partition];
      if (!IsRetriable(event.status) || attempt >= options_.max_attempts) {
        state = TaskState::kPending;  // it has ended: there is nothing to cancel
        Fail(event.status, &out);
        return out;
      }
      state = TaskState::kWaiting;
      due_.push({now_ms + (options_.backoff_ms << (attempt - 1)), event.task});
      out.push_back({Instruction::Kind::kRetryLater, event.task, attempt, event.status});
    }
  }
  while (!due_.empty() && due_.top().at_ms <= now_ms) {
    const TaskId task = due_.top().task;
    due_.pop();
    auto& stage = stages_[static_cast<size_t>(task.stage)];
    auto& state = stage.state[static_cast<size_t>(task.partition)];
    if (state != TaskState::kWaiting) continue;
    state = TaskState::kPending;
    stage.again.push(task.partition);
  }
  Fill(&out, now_ms);
  return out;
}

int64_t Scheduler::next_tick_ms() const { return due_.empty() ? INT64_MAX : due_.top().at_ms; }

int64_t Scheduler::tasks_total() const {
  int64_t total = 0;
  for (const auto& stage : stages_) total += std::max<int64_t>(0, stage.partitions);
  return total;
}

bool Scheduler::IsDone(TaskId task) const {
  const auto& stage = stages_[static_cast<size_t>(task.stage)];
  return task.partition < stage.partitions &&
         stage.state[static_cast<size_t>(task.partition)] == TaskState::kDone;
}

void Scheduler::Count(TaskId task, const std::vector<int64_t>& rows, const std::vector<int64_t>& bytes) {
  const auto& outputs = graph_.stages[static_cast<size_t>(task.stage)].outputs;
  for (size_t o = 0; o < outputs.size() && o < rows.size(); ++o) {
    const auto& output = outputs[o];
    if (output.exchange) {
      exchange_rows_[static_cast<size_t>(output.target)] += rows[o];
      if (o < bytes.size()) exchange_bytes_[static_cast<size_t>(output.target)] += bytes[o];
    }
    const auto& target =
        (output.exchange ? graph_.exchanges : graph_.sinks)[static_cast<size_t>(output.target)];
    if (target.limit < 0) continue;
    auto* prefix = PrefixOf(output);
    prefix->done_rows[static_cast<size_t>(output.input_index)][task.partition] = rows[o];
    Advance(prefix, target);
  }
}

void Scheduler::Advance(Prefix* prefix, const StageGraph::Target& target) {
  while (!prefix->satisfied && prefix->input < prefix->inputs.size()) {
    const auto& stage = stages_[static_cast<size_t>(prefix->inputs[prefix->input].stage)];
    if (stage.partitions < 0) return;
    if (prefix->partition >= stage.partitions) {
      ++prefix->input;
      prefix->partition = 0;
      continue;
    }
    auto& rows = prefix->done_rows[prefix->input];
    auto it = rows.find(prefix->partition);
    if (it == rows.end()) return;
    prefix->rows += it->second;
    rows.erase(it);
    ++prefix->partition;
    if (prefix->rows >= target.limit) prefix->satisfied = true;
  }
}

bool Scheduler::StageComplete(int s) const {
  const auto& stage = stages_[static_cast<size_t>(s)];
  return stage.partitions >= 0 && stage.done >= stage.partitions;
}

bool Scheduler::ExchangeComplete(int exchange) const {
  const auto& prefix = exchange_prefix_[static_cast<size_t>(exchange)];
  if (prefix.satisfied) return true;
  return std::all_of(prefix.inputs.begin(), prefix.inputs.end(),
                     [&](const auto& i) { return StageComplete(i.stage); });
}

// A stage that reads an exchange opens when the exchange is complete (a join: both are); then its partitions
// are known.
void Scheduler::OpenStages() {
  for (size_t s = 0; s < stages_.size(); ++s) {
    auto& stage = stages_[s];
    const auto& tables = graph_.stages[s].tables;
    if (stage.ready ||
        !std::all_of(tables.begin(), tables.end(), [&](int table) { return ExchangeComplete(table); })) {
      continue;
    }
    const int read = graph_.stages[s].reads_exchange, also_read = graph_.stages[s].also_reads;
    if (read < 0) {
      stage.ready = true;
    } else if (ExchangeComplete(read) && (also_read < 0 || ExchangeComplete(also_read))) {
      int64_t rows = 0, bytes = 0;
      for (int x : {read, also_read}) {
        if (x < 0) continue;
        rows += exchange_rows_[static_cast<size_t>(x)];
        bytes += exchange_bytes_[static_cast<size_t>(x)];
      }
      stage.partitions = ExchangePartitions(graph_.exchanges[static_cast<size_t>(read)], rows, bytes);
      stage.state.resize(static_cast<size_t>(stage.partitions));
      stage.ready = true;
    }
  }
}

bool Scheduler::ReadersDone(int exchange) const {
  for (size_t s = 0; s < stages_.size(); ++s) {
    if (graph_.stages[s].Reads(exchange) && !StageComplete(static_cast<int>(s))) return false;
  }
  return true;
}

// Later stages first: what they must do again needs the earlier ones' outputs.
void Scheduler::TakeBack(const std::vector<TaskId>& lost, std::vector<Instruction>* out) {
  std::vector<TaskId> tasks = lost;
  std::sort(tasks.begin(), tasks.end(), std::greater<>());
  for (const TaskId& task : tasks) {
    auto& stage = stages_[static_cast<size_t>(task.stage)];
    if (!IsDone(task)) continue;
    const auto& outputs = graph_.stages[static_cast<size_t>(task.stage)].outputs;
    if (std::all_of(outputs.begin(), outputs.end(),
                    [&](const auto& output) { return !output.exchange || ReadersDone(output.target); }))
      continue;
    stage.state[static_cast<size_t>(task.partition)] = TaskState::kPending;
    --stage.done;
    --done_;
    stage.again.push(task.partition);
    counted_.insert(task);
    out->push_back({Instruction::Kind::kRedoTask, task, 0, {}});
    for (const auto& output : outputs) {
      if (output.exchange) Close(output.target, out);
    }
  }
}

// No task reads an exchange until it is whole again; OpenStages says when.
void Scheduler::Close(int exchange, std::vector<Instruction>* out) {
  for (size_t s = 0; s < stages_.size(); ++s) {
    if (!graph_.stages[s].Reads(exchange) || !stages_[s].ready) continue;
    stages_[s].ready = false;
    for (size_t p = 0; p < stages_[s].state.size(); ++p) {
      if (stages_[s].state[p] == TaskState::kRunning)
        out->push_back(
            {Instruction::Kind::kRecallTask, {static_cast<int>(s), static_cast<int64_t>(p)}, 0, {}});
    }
  }
}

// Tasks whose every output goes to a satisfied target need not run.
void Scheduler::SkipUnneeded(std::vector<Instruction>* out) {
  for (size_t s = 0; s < stages_.size(); ++s) {
    auto& stage = stages_[s];
    const auto& outputs = graph_.stages[s].outputs;
    const bool needed =
        std::any_of(outputs.begin(), outputs.end(), [&](const auto& o) { return !PrefixOf(o)->satisfied; });
    if (needed || outputs.empty() || stage.done >= stage.partitions) continue;
    for (int64_t p = 0; p < stage.partitions; ++p) {
      auto& state = stage.state[static_cast<size_t>(p)];
      if (state == TaskState::kDone || state == TaskState::kSkipped) continue;
      if (state == TaskState::kRunning)
        out->push_back({Instruction::Kind::kCancelTask, {static_cast<int>(s), p}, 0, {}});
      state = TaskState::kSkipped;
      ++stage.done;
      ++done_;
    }
    stage.again = {};
  }
  OpenStages();
}

// The partition of a stage that is begun next; -1: there is none.
int64_t Scheduler::NextOf(size_t s) {
  auto& stage = stages_[s];
  if (!graph_.stages[s].in_stretches) return stage.next < stage.partitions ? stage.next++ : -1;
  if (!stage.stretches) {
    stage.stretches.emplace();
    for (int64_t begin = 0, p = 0; p <= stage.partitions; ++p) {
      if (p < stage.partitions && stage.state[static_cast<size_t>(p)] == TaskState::kPending) continue;
      stage.stretches->Add(begin, p);
      begin = p + 1;
    }
  }
  return stage.stretches->Next();
}

void Scheduler::Fill(std::vector<Instruction>* out, int64_t now_ms) {
  (void)now_ms;
  if (failed_ || finished_ || !started_) return;
  const auto start = [&](size_t s, int64_t p) {
    auto& stage = stages_[s];
    stage.state[static_cast<size_t>(p)] = TaskState::kRunning;
    ++running_;
    ++stage.running;
    auto it = stage.attempts.find(p);
    out->push_back({Instruction::Kind::kStartTask,
                    {static_cast<int>(s), p},
                    it == stage.attempts.end() ? 0 : it->second,
                    {}});
  };
  // Later stages first: they drain what earlier ones hold.
  for (size_t s = stages_.size(); s-- > 0;) {
    auto& stage = stages_[s];
    if (!stage.ready) continue;
    const int most = graph_.stages[s].in_stretches ? options_.max_stretches : options_.max_running_tasks;
    const auto may_start = [&] { return running_ < options_.max_running_tasks && stage.running < most; };
    while (may_start() && !stage.again.empty()) {
      const int64_t p = stage.again.top();
      stage.again.pop();
      if (stage.state[static_cast<size_t>(p)] == TaskState::kPending) start(s, p);
    }
    while (may_start()) {
      const int64_t p = NextOf(s);
      if (p < 0) break;
      if (stage.state[static_cast<size_t>(p)] == TaskState::kPending) start(s, p);
    }
  }
  bool complete = true;
  for (size_t s = 0; s < stages_.size(); ++s) complete = complete && StageComplete(static_cast<int>(s));
  if (complete) {
    finished_ = true;
    out->push_back({Instruction::Kind::kFinishRun, {}, 0, {}});
  }
}

// While a run is stopped a task may still be committed. The next run begins with it, and this one says so.
void Scheduler::CountLate(TaskId task) {
  auto& stage = stages_[static_cast<size_t>(task.stage)];
  auto& state = stage.state[static_cast<size_t>(task.partition)];
  if (state != TaskState::kRunning) return;
  state = TaskState::kDone;
  ++stage.done;
  ++done_;
}

void Scheduler::Fail(const Status& status, std::vector<Instruction>* out) {
  failed_ = finished_ = true;
  for (size_t s = 0; s < stages_.size(); ++s) {
    for (size_t p = 0; p < stages_[s].state.size(); ++p) {
      if (stages_[s].state[p] == TaskState::kRunning) {
        out->push_back(
            {Instruction::Kind::kCancelTask, {static_cast<int>(s), static_cast<int64_t>(p)}, 0, {}});
      }
    }
  }
  out->push_back({Instruction::Kind::kFailRun, {}, 0, status});
}

}  // namespace partita
