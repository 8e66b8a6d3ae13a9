#include "partita/execute/task_run.h"

#include <arrow/api.h>

#include <algorithm>

#include "partita/execute/task_async.h"
#include "partita/execute/worker_pool.h"
#include "partita/storage/staged_file.h"

namespace partita {
namespace {

constexpr int64_t kFrugalBlockBytes = 64 << 10;

}  // namespace

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
  const auto& program = *init_.program;
  segments_.resize(program.segments().size());
  lanes_.resize(program.lanes().size());
  for (size_t i = 0; i < lanes_.size(); ++i) {
    lanes_[i].program = &program.lanes()[i];
    if (lanes_[i].program->kind != LaneProgram::Kind::kBatches) continue;
    const int root = program.segments()[static_cast<size_t>(lanes_[i].program->target)].root;
    const NodeProgram& node = program.nodes()[static_cast<size_t>(root)];
    lanes_[i].batcher.emplace(node.batch_rows, node.async->NewCutter());
  }
  for (size_t i = 0; i < outputs(); ++i) {
    const auto& output = init_.program->stage().outputs[i];
    lanes_[i].limit = output.limit;
    lanes_[i].measured = output.kind == PlanOutput::Kind::kExchange;
  }
  totals_.resize(init_.program->nodes().size() + 1);
}

TaskRun::~TaskRun() = default;

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
      action->result = Consume(*action);
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
  for (size_t i = 0; i < outputs(); ++i) {
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
    auto ticket = NewTicket(0);
    ticket->rows = std::min(slice, rows - offset);
    ticket->bytes = buffer_bytes / rows * ticket->rows;
    Block part = ticket->rows == rows ? block : block.Slice(offset, ticket->rows);
    ticket->first_ordinal = part.ordinals.At(0);
    ticket->items.push_back({-1, std::move(part), false});
    read_.push_back(std::move(ticket));
  }
  return Status::OK();
}

std::shared_ptr<Ticket> TaskRun::NewTicket(int segment) const {
  auto ticket = std::make_shared<Ticket>();
  ticket->segment = segment;
  ticket->outputs.resize(lanes_.size());
  ticket->deltas.resize(init_.program->nodes().size() + 1);
  return ticket;
}

// A row that the source cannot parse: the next call goes on behind it. It travels as a ticket of its own, so
// that order is kept.
bool TaskRun::ReadBadRow(const Status& status) {
  const auto policy = init_.program->stage().source.on_error;
  const auto* detail = DetailOf(status);
  if (policy == OnError::kFail || detail == nullptr || KindOf(status) != ErrorKind::kData ||
      detail->context.row < 0)
    return false;
  auto ticket = NewTicket(0);
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
  if (ticket->segment == 0) init_.program->async_rows_now.fetch_add(rows, std::memory_order_relaxed);
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
      pool->Notify();
    });
  }
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
    for (auto& lane : lanes_) {
      std::move(lane.quarantined.begin(), lane.quarantined.end(), std::back_inserter(end_.outputs));
    }
    for (const auto& total : totals_)
      end_.steps.push_back({total.rows_in, total.rows_out, total.skipped, total.quarantined});
  } else {
    for (const auto& lane : lanes_) {  // a quarantine that was finished already
      for (const auto& output : lane.quarantined) {
        for (const auto& file : output.files) (void)DiscardStaged(pool_->options().env, file.temporary);
      }
      for (const auto& [node, sink] : lane.quarantine_sinks) {
        if (sink) sink->Abort();
      }
    }
    for (size_t i = 0; i < init_.program->stage().outputs.size(); ++i) {
      if (lanes_[i].sink) lanes_[i].sink->Abort();
      for (const auto& file : lanes_[i].files) (void)DiscardStaged(pool_->options().env, file.temporary);
      init_.program->output_counters[i]->rows_in.fetch_sub(lanes_[i].rows, std::memory_order_relaxed);
      init_.program->output_counters[i]->rows_out.fetch_sub(lanes_[i].rows, std::memory_order_relaxed);
    }
    Ticket undo;
    undo.deltas = totals_;
    BookDeltas(undo, -1);
  }
  std::deque<Segment> segments;
  std::deque<Lane> lanes;
  {
    std::lock_guard lock(pool_->mutex());  // others look at them to say why the run waits
    segments.swap(segments_);
    lanes.swap(lanes_);
  }
  segments.clear();
  read_.clear();
  source_.reset();
  lanes.clear();
  pool_->options().on_end(std::move(end_));
}

// -----------------------------------------------------------------------------------------------------------------
// booking

OperatorContext TaskRun::LaneContext(int lane) const {
  OperatorContext ctx = source_context_;
  ctx.cancel = cancel_;
  const auto index = static_cast<size_t>(lane);
  switch (lanes_[index].program->kind) {
    case LaneProgram::Kind::kOutput:
      ctx.step = init_.program->output_counters[index]->step;
      ctx.counters = init_.program->output_counters[index];
      ctx.pool = init_.program->output_pools[index];
      break;
    case LaneProgram::Kind::kBatches:
      return contexts_[static_cast<size_t>(
          init_.program->segments()[static_cast<size_t>(lanes_[index].program->target)].root)];
    case LaneProgram::Kind::kQuarantine:
      ctx.step = "quarantine";
      ctx.pool = init_.program->quarantine_pool;
      ctx.counters = nullptr;
      break;
  }
  return ctx;
}

std::pair<WaitReason, StepCounters*> TaskRun::WhyWaiting() const {
  const auto& program = *init_.program;
  if (blocked_on_memory()) return {WaitReason::kMemory, program.source_counters};
  if (async_calls_ > 0) {
    for (const auto& node : program.nodes()) {
      if (node.async) return {node.async->waits_for(), node.counters};
    }
  }
  for (size_t i = 0; i < outputs() && i < lanes_.size(); ++i) {
    const auto& done = segments_[static_cast<size_t>(lanes_[i].program->segment)].done;
    if (done.contains(lanes_[i].next_seq) && !lanes_[i].busy && lanes_[i].sink && !lanes_[i].sink->ready()) {
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
