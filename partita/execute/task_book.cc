#include "partita/execute/task_run.h"

#include <arrow/api.h>

#include <algorithm>

#include "partita/execute/task_async.h"
#include "partita/execute/worker_pool.h"

namespace partita {
namespace {

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
  for (const Segment& segment : segments_) {
    for (const auto& ticket : segment.ready) {
      if (ticket->blocked_epoch >= 0) return true;
    }
  }
  return std::any_of(lanes_.begin(), lanes_.end(), [](const Lane& lane) { return lane.blocked_epoch >= 0; });
}

std::string TaskRun::LaneStep(int lane) const { return std::string(LaneContext(lane).step); }

void TaskRun::Requeue(const std::shared_ptr<Ticket>& ticket) {
  auto& ready = segment(ticket->segment).ready;
  auto at = std::find_if(ready.begin(), ready.end(), [&](const auto& t) { return t->seq > ticket->seq; });
  ready.insert(at, ticket);
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

  if (action->lane >= 0 && !draining_) {
    // Also of a call that was refused after some batches.
    for (auto& ticket : lane(action->lane).made) AddTicket(std::move(ticket));
    lane(action->lane).made.clear();
  }
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
      lane(action->lane).blocked_epoch = pool_->epoch();
    }
    return;
  }
  switch (action->kind) {
    case Kind::kOpen:
      opened_ = true;
      break;
    case Kind::kRead:
      if (read_end_) segments_.front().closed = true;
      for (auto& ticket : read_) AddTicket(std::move(ticket));
      read_.clear();
      break;
    case Kind::kProcess:
      if (action->started_async) break;  // AsyncDone goes on with it
      action->ticket->blocked_epoch = -1;
      Done(action->ticket);
      break;
    case Kind::kConsume:
      CompleteConsume(action);
      break;
    case Kind::kFinish:
      lane(action->lane).blocked_epoch = -1;
      lane(action->lane).finished = true;
      if (lane(action->lane).batcher) segment(lane(action->lane).program->target).closed = true;
      break;
    default:
      break;
  }
}

void TaskRun::CompleteConsume(Action* action) {
  Lane& lane = this->lane(action->lane);
  lane.blocked_epoch = -1;
  if (draining_ || action->ticket == nullptr) return;
  lane.block = 0;
  lane.offset = 0;
  action->ticket->outputs[static_cast<size_t>(action->lane)].clear();
  if (!action->partial) {
    ++lane.next_seq;
    if (--action->ticket->lanes_left == 0) {
      Segment& segment = this->segment(action->ticket->segment);
      segment.done.erase(action->ticket->seq);
      --segment.unretired;
    }
  }
  if (AllSaturated()) Drain();
}

void TaskRun::AddTicket(std::shared_ptr<Ticket> ticket) {
  Segment& segment = this->segment(ticket->segment);
  ticket->seq = segment.next_seq++;
  ticket->lanes_left =
      static_cast<int>(init_.program->segments()[static_cast<size_t>(ticket->segment)].lanes.size());
  ++segment.unretired;
  segment.ready.push_back(std::move(ticket));
}

// Every lane has the rows it wants: nothing more is read, and what is on its way is dropped when it comes
// back.
void TaskRun::Drain() {
  draining_ = true;
  work_cancel_.Cancel();
  for (auto& lane : lanes_) {
    lane.next_seq = segment(lane.program->segment).next_seq;
    if (lane.batcher) lane.batcher.emplace(1);
  }
  for (Segment& segment : segments_) {
    segment.closed = true;
    segment.ready.clear();
    segment.done.clear();
    segment.unretired = 0;
  }
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
  Segment& segment = this->segment(ticket->segment);
  if (ticket->lanes_left == 0) {
    --segment.unretired;
    return;
  }
  segment.done[ticket->seq] = ticket;
}

void TaskRun::AsyncDone(const std::shared_ptr<AsyncCall>& call, Result<std::vector<Block>> result) {
  if (call->ticket->segment == 0) {
    init_.program->async_rows_now.fetch_sub(call->ticket->waiting[call->index].block.num_rows(),
                                            std::memory_order_relaxed);
  }
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
      const bool fixed = init_.program->nodes()[static_cast<size_t>(item.point)].batch_rows > 0;
      if (rows > 1 && !fixed) {
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
  if (!refused) pool_->NoteProgress();
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

}  // namespace partita
