#include "partita/execute/task_run.h"

#include <arrow/api.h>

#include <algorithm>

#include "partita/block/logical_bytes.h"
#include "partita/execute/quarantine.h"
#include "partita/execute/worker_pool.h"

namespace partita {
namespace {

constexpr int64_t kMaxUnretired = 4096;  // tickets of a task with asynchronous steps
constexpr int64_t kFrugalBlockBytes = 64 << 10;

void AddTo(StepCounters* counters, const NodeDelta& delta, int sign) {
  const auto add = [&](std::atomic<int64_t>& counter, int64_t value) {
    if (value != 0) counter.fetch_add(sign * value, std::memory_order_relaxed);
  };
  add(counters->rows_in, delta.rows_in);
  add(counters->rows_out, delta.rows_out);
  add(counters->bytes_out, delta.bytes_out);
  add(counters->rows_skipped, delta.skipped);
  add(counters->rows_quarantined, delta.quarantined);
  add(counters->busy_ns, delta.busy_ns);
}

}  // namespace

// One call of an asynchronous step: it owns what the step borrows until `done`.
struct TaskRun::AsyncCall final : RowErrors {
  std::shared_ptr<TaskRun> task;
  std::shared_ptr<Ticket> ticket;
  size_t index = 0;  // in ticket->waiting
  OperatorContext ctx;
  OnError on_error = OnError::kFail;
  std::mutex mutex;
  std::vector<std::pair<int64_t, Status>> bad_rows;
  Result<std::vector<Block>> result = Status::UnknownError("not done");

  Status Add(int64_t row, const Status& error) override {
    const auto kind = KindOf(error);
    const bool of_row = kind == ErrorKind::kData || kind == ErrorKind::kUser;
    const auto& item = ticket->waiting[index];
    if (on_error == OnError::kFail || !of_row) {
      if (error.IsOutOfMemory()) return error;
      return WithContext(
          error,
          {.step = std::string(ctx.step), .partition = ctx.partition, .row = item.block.ordinals.At(row)});
    }
    std::lock_guard lock(mutex);
    bad_rows.emplace_back(row, error);
    return Status::OK();
  }
};

TaskRun::TaskRun(TaskInit init, WorkerPool* pool, int64_t age)
    : init_(std::move(init)), pool_(pool), age_(age) {
  const auto& options = pool_->options();
  OperatorContext ctx;
  ctx.partition = init_.partition;
  ctx.env = options.env;
  ctx.cancel = work_cancel_;
  ctx.target_block_bytes = init_.frugal ? kFrugalBlockBytes : options.target_block_bytes;
  source_context_ = ctx;
  source_context_.step = init_.program->source_counters->step;
  source_context_.counters = init_.program->source_counters;
  source_context_.pool = init_.program->source_pool;
  for (const auto& node : init_.program->nodes()) {
    ctx.step = node.plan->step;
    ctx.counters = node.counters;
    ctx.pool = node.pool;
    contexts_.push_back(ctx);
  }
  lanes_.resize(init_.program->stage().outputs.size() + (init_.program->quarantines ? 1 : 0));
  for (size_t i = 0; i < init_.program->stage().outputs.size(); ++i) {
    const auto& output = init_.program->stage().outputs[i];
    lanes_[i].limit = output.limit;
    lanes_[i].measured = output.kind == PlanOutput::Kind::kExchange;
  }
  totals_.resize(init_.program->nodes().size() + 1);
}

TaskRun::~TaskRun() = default;

// ----------------------------------------------------------------------------------------------------------------
// claiming

bool TaskRun::MayRetry(int64_t blocked_epoch, int64_t bytes, bool oldest, int64_t epoch) const {
  if (blocked_epoch < 0) return true;
  if (blocked_epoch == epoch || !pool_->retries_left()) return false;
  if (oldest) return true;
  const auto* budget = pool_->options().budget;
  return budget->available_bytes() >= std::max(4 * bytes, budget->limit_bytes() / 8);
}

bool TaskRun::AllSaturated() const {
  return std::all_of(lanes_.begin(), lanes_.end(), [](const Lane& lane) { return lane.saturated(); });
}

bool TaskRun::MayRead(bool oldest, int64_t epoch) const {
  const auto& options = pool_->options();
  if (!MayRetry(source_blocked_epoch_, source_context_.target_block_bytes, oldest, epoch)) return false;
  if (init_.frugal) return unretired_ == 0;
  const auto& program = *init_.program;
  if (static_cast<int64_t>(ready_.size()) >= 2 * options.threads + 2) return false;
  if (program.async_rows > 0) {
    if (program.async_rows_now.load(std::memory_order_relaxed) >= program.async_rows) return false;
    if (unretired_ >= kMaxUnretired) return false;
  } else if (unretired_ >= 4 * options.threads + 8) {
    return false;
  }
  if (oldest && unretired_ == 0) return true;
  return options.budget->available_bytes() >=
         std::max(8 * source_context_.target_block_bytes, options.budget->limit_bytes() / 8);
}

bool TaskRun::HasOutput(const Ticket& ticket, int lane) const {
  if (lane == quarantine_lane()) {
    return std::any_of(ticket.errors.begin(), ticket.errors.end(),
                       [](const RowError& e) { return e.quarantined; });
  }
  return !ticket.outputs[static_cast<size_t>(lane)].empty();
}

Action TaskRun::Claim(bool oldest, int64_t epoch) {
  Action action;
  if (ending_) return action;
  if (stopping_) {
    if (idle()) {
      ending_ = true;
      action.kind = Action::Kind::kEnd;
      ++running_;
    }
    return action;
  }
  if (!opened_) {
    if (running_ > 0) return action;
    action.kind = Action::Kind::kOpen;
    ++running_;
    return action;
  }
  // Drain first: it frees memory.
  bool all_finished = true;
  for (size_t i = 0; i < lanes_.size(); ++i) {
    Lane& lane = lanes_[i];
    all_finished = all_finished && lane.finished;
    if (lane.busy || lane.finished) continue;
    const bool quarantine = static_cast<int>(i) == quarantine_lane();
    auto it = done_.find(lane.next_seq);
    if (it != done_.end()) {
      if (!quarantine && !lane.saturated() && !lane.sink->ready()) continue;
      if (!MayRetry(lane.blocked_epoch, it->second->bytes, oldest, epoch)) continue;
      lane.busy = true;
      ++running_;
      return {Action::Kind::kConsume, it->second, static_cast<int>(i)};
    }
    // The oldest ticket was refused: what it has so far leaves first, so that a step that makes much of
    // little can go on.
    if (!ready_.empty() && ready_.front()->seq == lane.next_seq && ready_.front()->blocked_epoch >= 0 &&
        HasOutput(*ready_.front(), static_cast<int>(i)) &&
        (quarantine || lane.saturated() || lane.sink->ready()) &&
        MayRetry(lane.blocked_epoch, 0, oldest, epoch)) {
      lane.busy = true;
      ++ready_.front()->draining;
      ++running_;
      Action drain;
      drain.kind = Action::Kind::kConsume;
      drain.ticket = ready_.front();
      drain.lane = static_cast<int>(i);
      drain.partial = true;
      return drain;
    }
    if (source_done_ && lane.next_seq == next_seq_ && MayRetry(lane.blocked_epoch, 0, oldest, epoch)) {
      lane.busy = true;
      ++running_;
      return {Action::Kind::kFinish, nullptr, static_cast<int>(i)};
    }
  }
  if (all_finished && idle()) {
    ending_ = true;
    ++running_;
    action.kind = Action::Kind::kEnd;
    return action;
  }
  for (auto it = ready_.begin(); it != ready_.end(); ++it) {
    if ((*it)->draining > 0 || !MayRetry((*it)->blocked_epoch, (*it)->bytes, oldest, epoch)) continue;
    action.kind = Action::Kind::kProcess;
    action.ticket = *it;
    ready_.erase(it);
    ++running_;
    return action;
  }
  if (!source_done_ && !source_busy_ && MayRead(oldest, epoch)) {
    source_busy_ = true;
    source_blocked_epoch_ = -1;
    ++running_;
    action.kind = Action::Kind::kRead;
  }
  return action;
}

// ---------------------------------------------------------------------------------------------------------------
// executing

void TaskRun::Execute(Action* action) {
  switch (action->kind) {
    case Action::Kind::kNone:
      break;
    case Action::Kind::kOpen:
      action->result = Open();
      break;
    case Action::Kind::kRead:
      action->result = Read();
      break;
    case Action::Kind::kProcess:
      action->result = Process(action);
      break;
    case Action::Kind::kConsume:
      action->result = Consume(action->ticket.get(), action->lane);
      break;
    case Action::Kind::kFinish:
      action->result = Finish(action->lane);
      break;
    case Action::Kind::kEnd:
      End();
      break;
  }
}

Status TaskRun::Open() {
  ARROW_ASSIGN_OR_RAISE(source_, init_.make_source());
  for (size_t i = 0; i < init_.program->stage().outputs.size(); ++i) {
    ARROW_ASSIGN_OR_RAISE(lanes_[i].sink, init_.make_sink(static_cast<int>(i)));
  }
  return Status::OK();
}

Status TaskRun::Read() {
  read_.clear();
  const auto& options = pool_->options();
  const int64_t start = options.env->MonotonicNanos();
  auto next = source_->Next(source_context_);
  init_.program->source_counters->busy_ns.fetch_add(options.env->MonotonicNanos() - start,
                                                    std::memory_order_relaxed);
  const int64_t bytes = source_->bytes_read();
  options.observer->source_bytes_read.fetch_add(bytes - source_bytes_, std::memory_order_relaxed);
  source_bytes_ = bytes;
  if (!next.ok() && ReadBadRow(next.status())) return Status::OK();
  ARROW_RETURN_NOT_OK(next.status());
  read_end_ = !next->has_value();
  if (read_end_) return Status::OK();
  Block block = std::move(**next);
  const auto& program = *init_.program;
  const int64_t buffer_bytes = BufferBytes(*block.batch);
  const int64_t rows = block.num_rows();
  const int64_t slice = std::min(rows, program.ticket_rows);
  for (int64_t offset = 0; offset < rows; offset += slice) {
    auto ticket = std::make_shared<Ticket>();
    ticket->rows = std::min(slice, rows - offset);
    ticket->bytes = buffer_bytes / rows * ticket->rows;
    Block part = ticket->rows == rows ? block : block.Slice(offset, ticket->rows);
    ticket->first_ordinal = part.ordinals.At(0);
    ticket->items.push_back({-1, std::move(part), false});
    ticket->outputs.resize(program.stage().outputs.size());
    ticket->deltas.resize(program.nodes().size() + 1);
    read_.push_back(std::move(ticket));
  }
  return Status::OK();
}

// A row that the source cannot parse: the next call goes on behind it. It travels as a ticket of its own, so
// that order is kept.
bool TaskRun::ReadBadRow(const Status& status) {
  const auto policy = init_.program->stage().source.on_error;
  const auto* detail = DetailOf(status);
  if (policy == OnError::kFail || detail == nullptr || KindOf(status) != ErrorKind::kData ||
      detail->context.row < 0)
    return false;
  auto ticket = std::make_shared<Ticket>();
  ticket->outputs.resize(init_.program->stage().outputs.size());
  ticket->deltas.resize(init_.program->nodes().size() + 1);
  ticket->first_ordinal = detail->context.row;
  const bool keep = policy == OnError::kQuarantine;
  (keep ? ticket->deltas[0].quarantined : ticket->deltas[0].skipped) = 1;
  ticket->errors.push_back({-1, detail->context.row, status, keep, nullptr});
  read_end_ = false;
  read_.push_back(std::move(ticket));
  return true;
}

// Errors of steps know a row by its ordinal; people want file and row.
Status TaskRun::Located(Status status) const {
  const auto* detail = DetailOf(status);
  if (detail == nullptr || detail->context.row < 0 || !detail->context.file.empty() ||
      init_.scan.fragments.empty())
    return status;
  auto context = detail->context;
  const auto at = CoordinateOf(init_.scan, context.row);
  context.file = at.file;
  context.row = at.row;
  return status.WithDetail(
      std::make_shared<ErrorDetail>(detail->kind, detail->retriable, std::move(context)));
}

Status TaskRun::Process(Action* action) {
  TicketRunner runner(init_.program.get(), &contexts_, pool_->options().env, action->ticket.get());
  ARROW_RETURN_NOT_OK(runner.Run());
  if (!action->ticket->waiting.empty()) {
    action->started_async = true;  // from here on the ticket may be with another thread
    StartAsync(action->ticket);
  }
  return Status::OK();
}

void TaskRun::StartAsync(const std::shared_ptr<Ticket>& ticket) {
  // Slices first: calls may end at once, in any order, and refer to their place.
  std::vector<Ticket::Item> slices;
  for (auto& item : ticket->waiting) {
    const int64_t most = init_.program->nodes()[static_cast<size_t>(item.point)].max_rows;
    for (int64_t offset = 0; offset < item.block.num_rows(); offset += most) {
      slices.push_back(
          {item.point, item.block.Slice(offset, std::min(most, item.block.num_rows() - offset)), true});
    }
  }
  ticket->waiting = std::move(slices);
  std::vector<std::shared_ptr<AsyncCall>> calls;
  int64_t rows = 0;
  for (size_t i = 0; i < ticket->waiting.size(); ++i) {
    auto call = std::make_shared<AsyncCall>();
    call->task = shared_from_this();
    call->ticket = ticket;
    call->index = i;
    call->ctx = contexts_[static_cast<size_t>(ticket->waiting[i].point)];
    call->ctx.errors = call.get();
    call->on_error = init_.program->nodes()[static_cast<size_t>(ticket->waiting[i].point)].plan->on_error;
    rows += ticket->waiting[i].block.num_rows();
    calls.push_back(std::move(call));
  }
  init_.program->async_rows_now.fetch_add(rows, std::memory_order_relaxed);
  {
    std::lock_guard lock(pool_->mutex());
    ticket->async_pending = static_cast<int>(calls.size());
    async_calls_ += ticket->async_pending;
  }
  for (auto& call : calls) {
    const auto& item = call->ticket->waiting[call->index];
    const auto& node = init_.program->nodes()[static_cast<size_t>(item.point)];
    Block block = item.block;
    node.async->Start(std::move(block), call->ctx, [call](Result<std::vector<Block>> result) {
      auto* pool = call->task->pool_;
      {
        std::lock_guard lock(pool->mutex());
        call->task->AsyncDone(call, std::move(result));
      }
      pool->Wake();
    });
  }
}

Status TaskRun::WriteBlock(Lane* lane, const OperatorContext& ctx, const Block& block) {
  // Rows from lane->offset on; a refusal is tried again with halves, down to one row.
  int64_t rows = block.num_rows() - lane->offset;
  if (lane->limit >= 0) rows = std::min(rows, lane->limit - lane->rows);
  int64_t slice = rows;
  while (rows > 0) {
    int64_t taken = 0;
    ARROW_RETURN_NOT_OK(ctx.cancel.Check());
    Status status = lane->sink->Write(block.Slice(lane->offset, slice), ctx, &taken);
    if (lane->measured && taken > 0) {
      ARROW_ASSIGN_OR_RAISE(const int64_t bytes, LogicalBytes(*block.batch->Slice(lane->offset, taken)));
      lane->bytes += bytes;
    }
    lane->offset += taken;
    lane->rows += taken;
    rows -= taken;
    if (ctx.counters != nullptr && taken > 0) {
      ctx.counters->rows_in.fetch_add(taken, std::memory_order_relaxed);
      ctx.counters->rows_out.fetch_add(taken, std::memory_order_relaxed);
    }
    if (status.IsOutOfMemory() && taken == 0 && slice > 1) {
      slice /= 2;
      continue;
    }
    if (!status.ok() && !(status.IsOutOfMemory() && taken > 0 && rows > 0)) return status;
    slice = std::min(rows, std::max<int64_t>(1, status.ok() ? slice * 2 : slice));
  }
  return Status::OK();
}

Status TaskRun::Consume(Ticket* ticket, int index) {
  if (index == quarantine_lane()) return ConsumeQuarantine(ticket);
  Lane& lane = lanes_[static_cast<size_t>(index)];
  const OperatorContext ctx = LaneContext(index);
  const int64_t start = ctx.env->MonotonicNanos();
  auto& blocks = ticket->outputs[static_cast<size_t>(index)];
  Status status;
  while (lane.block < blocks.size() && !lane.saturated()) {
    status = WriteBlock(&lane, ctx, blocks[lane.block]);
    if (!status.ok()) break;
    blocks[lane.block] = Block();
    ++lane.block;
    lane.offset = 0;
  }
  ctx.counters->busy_ns.fetch_add(ctx.env->MonotonicNanos() - start, std::memory_order_relaxed);
  return status;
}

Status TaskRun::ConsumeQuarantine(Ticket* ticket) {
  if (ticket->errors.empty()) return Status::OK();
  OperatorContext ctx = source_context_;
  ctx.pool = init_.program->quarantine_pool;
  ctx.counters = nullptr;
  // Asynchronous and halved calls report in any order; the dataset is in row order.
  std::stable_sort(ticket->errors.begin(), ticket->errors.end(), [](const RowError& a, const RowError& b) {
    return std::tie(a.node, a.ordinal) < std::tie(b.node, b.ordinal);
  });
  for (size_t begin = 0; begin < ticket->errors.size();) {
    const int node = ticket->errors[begin].node;
    std::vector<const RowError*> rows;
    size_t end = begin;
    for (; end < ticket->errors.size() && ticket->errors[end].node == node; ++end) {
      if (ticket->errors[end].quarantined) rows.push_back(&ticket->errors[end]);
    }
    begin = end;
    if (rows.empty()) continue;
    const auto& stage_plan = init_.program->stage();
    const auto& step = node < 0 ? stage_plan.source.step : stage_plan.nodes[static_cast<size_t>(node)].step;
    ARROW_ASSIGN_OR_RAISE(auto batch,
                          QuarantineBatch(rows, step, stage(), partition(), init_.scan, ctx.pool.get()));
    auto& sink = quarantine_sinks_[node];
    if (!sink) {
      ARROW_ASSIGN_OR_RAISE(sink, init_.make_quarantine(node, batch->schema()));
    }
    Lane pseudo;  // same retry rules as a lane, with this step's own sink
    pseudo.sink = std::move(sink);
    Status status = WriteBlock(&pseudo, ctx, {batch, RowOrdinals::Range(0, batch->num_rows())});
    sink = std::move(pseudo.sink);
    if (status.IsOutOfMemory() && pseudo.rows > 0) {
      return BugError("a quarantine batch was half written");  // batches are a ticket's rows: small
    }
    ARROW_RETURN_NOT_OK(status);
    quarantine_rows_[node] += batch->num_rows();
    for (auto& error : ticket->errors) {
      if (error.node == node)
        error.quarantined = false, error.row.reset();  // written: a retry after a refusal must not repeat it
    }
  }
  return Status::OK();
}

Status TaskRun::Finish(int index) {
  if (index == quarantine_lane()) {
    OperatorContext ctx = source_context_;
    ctx.cancel = cancel_;
    ctx.pool = init_.program->quarantine_pool;
    for (auto& [node, sink] : quarantine_sinks_) {
      if (!sink) continue;
      ARROW_ASSIGN_OR_RAISE(auto files, sink->Finish(ctx));
      end_.outputs.push_back({kQuarantineOutput + node + 1, quarantine_rows_[node], std::move(files), 0});
      sink.reset();
    }
    return Status::OK();
  }
  Lane& lane = lanes_[static_cast<size_t>(index)];
  const OperatorContext ctx = LaneContext(index);
  const int64_t start = ctx.env->MonotonicNanos();
  auto files = lane.sink->Finish(ctx);
  ctx.counters->busy_ns.fetch_add(ctx.env->MonotonicNanos() - start, std::memory_order_relaxed);
  ARROW_RETURN_NOT_OK(files.status());
  lane.files = std::move(*files);
  return Status::OK();
}

void TaskRun::End() {
  end_.stage = stage();
  end_.partition = partition();
  end_.status = status_;
  end_.preempted = preempted_ && status_.ok();
  end_.frugal_next = frugal_next_;
  if (status_.ok() && !preempted_) {
    for (size_t i = 0; i < init_.program->stage().outputs.size(); ++i) {
      for (const auto& file : lanes_[i].files) {
        init_.program->output_counters[i]->bytes_out.fetch_add(file.size_bytes, std::memory_order_relaxed);
      }
      end_.outputs.push_back(
          {static_cast<int>(i), lanes_[i].rows, std::move(lanes_[i].files), lanes_[i].bytes});
    }
    for (const auto& total : totals_)
      end_.steps.push_back({total.rows_in, total.rows_out, total.skipped, total.quarantined});
  } else {
    for (const auto& output : end_.outputs) {  // a quarantine that was finished already
      for (const auto& file : output.files) (void)pool_->options().env->RemoveFile(file.temporary);
    }
    end_.outputs.clear();
    for (size_t i = 0; i < init_.program->stage().outputs.size(); ++i) {
      if (lanes_[i].sink) lanes_[i].sink->Abort();
      for (const auto& file : lanes_[i].files) (void)pool_->options().env->RemoveFile(file.temporary);
      init_.program->output_counters[i]->rows_in.fetch_sub(lanes_[i].rows, std::memory_order_relaxed);
      init_.program->output_counters[i]->rows_out.fetch_sub(lanes_[i].rows, std::memory_order_relaxed);
    }
    for (auto& [node, sink] : quarantine_sinks_) {
      if (sink) sink->Abort();
    }
    Ticket undo;
    undo.deltas = totals_;
    BookDeltas(undo, -1);
  }
  ready_.clear();
  done_.clear();
  read_.clear();
  source_.reset();
  quarantine_sinks_.clear();
  for (auto& lane : lanes_) lane.sink.reset();
  pool_->options().on_end(std::move(end_));
}

// -----------------------------------------------------------------------------------------------------------------
// booking

void TaskRun::BookDeltas(const Ticket& ticket, int sign) {
  AddTo(init_.program->source_counters, ticket.deltas[0], sign);
  for (size_t i = 0; i < init_.program->nodes().size(); ++i) {
    AddTo(init_.program->nodes()[i].counters, ticket.deltas[i + 1], sign);
  }
}

void TaskRun::Refused(const Status& status) {
  refusal_ = status;
  pool_->NoteRefusal();
}

bool TaskRun::blocked_on_memory() const {
  if (source_blocked_epoch_ >= 0) return true;
  for (const auto& ticket : ready_) {
    if (ticket->blocked_epoch >= 0) return true;
  }
  return std::any_of(lanes_.begin(), lanes_.end(), [](const Lane& lane) { return lane.blocked_epoch >= 0; });
}

std::string TaskRun::LaneStep(int lane) const {
  return lane == quarantine_lane() ? "quarantine"
                                   : init_.program->output_counters[static_cast<size_t>(lane)]->step;
}

void TaskRun::Requeue(const std::shared_ptr<Ticket>& ticket) {
  auto at = std::find_if(ready_.begin(), ready_.end(), [&](const auto& t) { return t->seq > ticket->seq; });
  ready_.insert(at, ticket);
}

void TaskRun::Complete(Action* action) {
  --running_;
  using Kind = Action::Kind;
  if (action->kind == Kind::kEnd) {
    ended_ = true;
    return;
  }
  if (action->kind == Kind::kRead) source_busy_ = false;
  if (action->lane >= 0) lanes_[static_cast<size_t>(action->lane)].busy = false;
  if (action->partial) --action->ticket->draining;
  const bool of_work = action->kind == Kind::kRead || action->kind == Kind::kProcess;
  if (stopping_ || (draining_ && of_work)) return;

  Status& result = action->result;
  if (!result.ok()) {
    ErrorContext where{.step = std::string(source_context_.step), .partition = partition()};
    if (action->lane >= 0) where.step = LaneStep(action->lane);
    if (action->kind == Kind::kProcess) where.step.clear();  // the runner named the step
    if (action->ticket && result.IsOutOfMemory()) where.row = action->ticket->first_ordinal;
    result = WithContext(std::move(result), std::move(where));
    if (!result.IsOutOfMemory() || action->kind == Kind::kOpen) return Stop(result, false, false);
    Refused(result);
    if (action->kind == Kind::kRead) {
      source_blocked_epoch_ = pool_->epoch();
    } else if (action->kind == Kind::kProcess) {
      action->ticket->blocked_epoch = pool_->epoch();
      Requeue(action->ticket);
    } else {
      auto& lane = lanes_[static_cast<size_t>(action->lane)];
      lane.blocked_epoch = pool_->epoch();
    }
    return;
  }
  switch (action->kind) {
    case Kind::kOpen:
      opened_ = true;
      break;
    case Kind::kRead:
      if (read_end_) source_done_ = true;
      for (auto& ticket : read_) {
        ticket->seq = next_seq_++;
        ticket->lanes_left = static_cast<int>(lanes_.size());
        ++unretired_;
        ready_.push_back(std::move(ticket));
      }
      read_.clear();
      break;
    case Kind::kProcess:
      if (action->started_async) break;  // AsyncDone goes on with it
      action->ticket->blocked_epoch = -1;
      Done(action->ticket);
      break;
    case Kind::kConsume: {
      Lane& lane = lanes_[static_cast<size_t>(action->lane)];
      lane.blocked_epoch = -1;
      if (draining_) break;
      lane.block = 0;
      lane.offset = 0;
      if (action->partial) {
        if (action->lane != quarantine_lane())
          action->ticket->outputs[static_cast<size_t>(action->lane)].clear();
        if (AllSaturated()) Drain();
        break;
      }
      ++lane.next_seq;
      if (action->lane != quarantine_lane())
        action->ticket->outputs[static_cast<size_t>(action->lane)].clear();
      if (--action->ticket->lanes_left == 0) {
        done_.erase(action->ticket->seq);
        --unretired_;
      }
      if (AllSaturated()) Drain();
      break;
    }
    case Kind::kFinish:
      lanes_[static_cast<size_t>(action->lane)].blocked_epoch = -1;
      lanes_[static_cast<size_t>(action->lane)].finished = true;
      break;
    default:
      break;
  }
}

// Every lane has the rows it wants: nothing more is read, and what is on its way is dropped when it comes
// back.
void TaskRun::Drain() {
  draining_ = true;
  source_done_ = true;
  work_cancel_.Cancel();
  for (auto& lane : lanes_) lane.next_seq = next_seq_;
  ready_.clear();
  done_.clear();
  unretired_ = 0;
}

void TaskRun::Done(const std::shared_ptr<Ticket>& ticket) {
  BookDeltas(*ticket, 1);
  for (size_t i = 0; i < totals_.size(); ++i) {
    totals_[i].rows_in += ticket->deltas[i].rows_in;
    totals_[i].rows_out += ticket->deltas[i].rows_out;
    totals_[i].bytes_out += ticket->deltas[i].bytes_out;
    totals_[i].skipped += ticket->deltas[i].skipped;
    totals_[i].quarantined += ticket->deltas[i].quarantined;
    totals_[i].busy_ns += ticket->deltas[i].busy_ns;
  }
  if (ticket->lanes_left == 0) {
    --unretired_;
    return;
  }
  done_[ticket->seq] = ticket;
}

void TaskRun::AsyncDone(const std::shared_ptr<AsyncCall>& call, Result<std::vector<Block>> result) {
  init_.program->async_rows_now.fetch_sub(call->ticket->waiting[call->index].block.num_rows(),
                                          std::memory_order_relaxed);
  call->result = std::move(result);
  auto& ticket = call->ticket;
  ticket->calls.push_back(call);
  --async_calls_;
  if (--ticket->async_pending > 0) return;
  if (stopping_ || draining_) {
    ticket->calls.clear();
    return;
  }
  AsyncComplete(ticket);
}

void TaskRun::AsyncComplete(const std::shared_ptr<Ticket>& ticket) {
  auto calls = std::move(ticket->calls);
  ticket->calls.clear();
  std::vector<std::shared_ptr<AsyncCall>> ordered(calls.size());
  for (auto& call : calls) {
    auto typed = std::static_pointer_cast<AsyncCall>(call);
    ordered[typed->index] = std::move(typed);
  }
  TicketRunner runner(init_.program.get(), &contexts_, pool_->options().env, ticket.get());
  std::vector<Ticket::Item> items;
  bool refused = false;
  for (auto& call : ordered) {
    const auto item = ticket->waiting[call->index];
    if (!call->result.ok()) {
      if (!call->result.status().IsOutOfMemory()) {
        Stop(WithContext(call->result.status(),
                         {.step = std::string(call->ctx.step), .partition = partition()}),
             false, false);
        return;
      }
      refused = true;
      Refused(WithContext(
          call->result.status(),
          {.step = std::string(call->ctx.step), .partition = partition(), .row = item.block.ordinals.At(0)}));
      const int64_t rows = item.block.num_rows();
      if (rows > 1) {
        items.push_back({item.point, item.block.Slice(0, rows / 2), true});
        items.push_back({item.point, item.block.Slice(rows / 2, rows - rows / 2), true});
      } else {
        items.push_back(item);
      }
      continue;
    }
    for (const auto& [row, error] : call->bad_rows) {
      Status status = runner.AddRowError(item.point, item.block, row, error);
      if (!status.ok()) {
        Stop(status, false, false);
        return;
      }
    }
    ticket->deltas[static_cast<size_t>(item.point + 1)].rows_in += item.block.num_rows();
    for (auto& block : *call->result) items.push_back({item.point, std::move(block), false});
  }
  ticket->waiting.clear();
  ticket->items = std::move(items);
  ticket->blocked_epoch = refused ? pool_->epoch() : -1;
  Requeue(ticket);
}

void TaskRun::Stop(Status status, bool preempted, bool frugal_next) {
  if (stopping_ || ending_) return;
  stopping_ = true;
  preempted_ = preempted;
  frugal_next_ = frugal_next;
  status_ = Located(std::move(status));
  cancel_.Cancel();
  work_cancel_.Cancel();
}

OperatorContext TaskRun::LaneContext(int lane) const {
  OperatorContext ctx = source_context_;
  ctx.cancel = cancel_;
  ctx.step = init_.program->output_counters[static_cast<size_t>(lane)]->step;
  ctx.counters = init_.program->output_counters[static_cast<size_t>(lane)];
  ctx.pool = init_.program->output_pools[static_cast<size_t>(lane)];
  return ctx;
}

std::pair<WaitReason, StepCounters*> TaskRun::WhyWaiting() const {
  const auto& program = *init_.program;
  if (blocked_on_memory()) return {WaitReason::kMemory, program.source_counters};
  if (async_calls_ > 0) {
    for (const auto& node : program.nodes()) {
      if (node.async) return {WaitReason::kNetwork, node.counters};
    }
  }
  for (size_t i = 0; i < program.output_counters.size(); ++i) {
    if (done_.contains(lanes_[i].next_seq) && !lanes_[i].busy && lanes_[i].sink && !lanes_[i].sink->ready()) {
      return {WaitReason::kOutputFull, program.output_counters[i]};
    }
  }
  if (running_ > 0) return {WaitReason::kWorker, program.source_counters};
  return {WaitReason::kNeedsInput, program.source_counters};
}

std::string TaskRun::Describe() const {
  const auto [reason, counters] = WhyWaiting();
  std::string text =
      "partition " + std::to_string(partition()) + " waits for " + std::string(WaitReasonName(reason));
  for (const auto& node : init_.program->nodes()) {
    if (!node.async) continue;
    for (const auto& flight : node.async->Slowest(1)) {
      text += "; step '" + node.plan->step + "', row " +
              std::to_string(CoordinateOf(init_.scan, flight.row).row) + ": " + flight.what + " for " +
              std::to_string(static_cast<int64_t>(flight.seconds)) + " s";
    }
  }
  return text;
}

}  // namespace partita
