#include "partita/execute/task_run.h"

#include <algorithm>

#include "partita/execute/worker_pool.h"

namespace partita {
namespace {

constexpr int64_t kMaxUnretired = 4096;  // tickets of a task with asynchronous steps

}  // namespace

bool TaskRun::MayRetry(int64_t blocked_epoch, int64_t bytes, bool oldest, int64_t epoch) const {
  if (blocked_epoch < 0) return true;
  if (blocked_epoch == epoch || !pool_->retries_left()) return false;
  if (oldest) return true;
  const auto* budget = pool_->options().budget;
  return budget->available_bytes() >= std::max(4 * bytes, budget->limit_bytes() / 8);
}

bool TaskRun::AllSaturated() const {
  return std::all_of(lanes_.begin(), lanes_.end(), [](const Lane& lane) {
    return lane.program->kind == LaneProgram::Kind::kBatches || lane.saturated();
  });
}

bool TaskRun::MayRead(bool oldest, int64_t epoch) const {
  const auto& options = pool_->options();
  if (!MayRetry(source_blocked_epoch_, source_context_.target_block_bytes, oldest, epoch)) return false;
  if (init_.frugal) return Unretired() == 0;
  const auto& program = *init_.program;
  const Segment& first = segments_.front();
  if (static_cast<int64_t>(first.ready.size()) >= 2 * options.threads + 2) return false;
  if (program.async_rows > 0) {
    if (program.async_rows_now.load(std::memory_order_relaxed) >= program.async_rows) return false;
    if (first.unretired >= kMaxUnretired) return false;
  } else if (first.unretired >= (program.nodes().empty() ? options.threads + 2 : 4 * options.threads + 8)) {
    return false;  // where no step is between source and sink, more would only wait for the sink
  }
  if (oldest && Unretired() == 0) return true;
  return options.budget->available_bytes() >=
         std::max(8 * source_context_.target_block_bytes, options.budget->limit_bytes() / 8);
}

int64_t TaskRun::Unretired() const {
  int64_t unretired = 0;
  for (const Segment& segment : segments_) unretired += segment.unretired;
  return unretired;
}

bool TaskRun::HasOutput(const Ticket& ticket, int lane) const {
  if (lanes_[static_cast<size_t>(lane)].program->kind == LaneProgram::Kind::kQuarantine) {
    return std::any_of(ticket.errors.begin(), ticket.errors.end(),
                       [](const RowError& e) { return e.quarantined; });
  }
  return !ticket.outputs[static_cast<size_t>(lane)].empty();
}

// Whether what is behind a lane takes more now.
bool TaskRun::LaneReady(const Lane& lane) const {
  switch (lane.program->kind) {
    case LaneProgram::Kind::kOutput:
      return lane.saturated() || lane.sink->ready();
    case LaneProgram::Kind::kBatches:
      return BatchesWanted(lane) > 0;
    case LaneProgram::Kind::kQuarantine:
      return true;
  }
  return true;
}

// Batches that a lane may make now: one always, more while there is room for what becomes of them.
int64_t TaskRun::BatchesWanted(const Lane& lane) const {
  const auto next = static_cast<size_t>(lane.program->target);
  const int64_t waiting = segments_[next].unretired;
  const auto* budget = pool_->options().budget;
  const bool one = init_.frugal || budget->available_bytes() < budget->limit_bytes() / 4;
  return (one ? 1 : init_.program->segments()[next].batches_in_flight) - waiting;
}

bool TaskRun::ClaimLane(int index, bool oldest, int64_t epoch, Action* action) {
  Lane& lane = this->lane(index);
  if (lane.busy || lane.finished) return false;
  const Segment& from = segment(lane.program->segment);
  const auto it = from.done.find(lane.next_seq);
  if (lane.batcher && lane.batcher->Has(/*last=*/false)) {
    // Of what it has already; no ticket is needed.
    if (!LaneReady(lane) || !MayRetry(lane.blocked_epoch, 0, oldest, epoch)) return false;
    action->kind = Action::Kind::kConsume;
  } else if (it != from.done.end()) {
    if (!LaneReady(lane) || !MayRetry(lane.blocked_epoch, it->second->bytes, oldest, epoch)) return false;
    action->kind = Action::Kind::kConsume;
    action->ticket = it->second;
  } else if (!from.ready.empty() && from.ready.front()->seq == lane.next_seq &&
             from.ready.front()->blocked_epoch >= 0 && HasOutput(*from.ready.front(), index) &&
             LaneReady(lane) && MayRetry(lane.blocked_epoch, 0, oldest, epoch)) {
    // The oldest ticket was refused: what it has so far leaves first, so that a step that makes much of
    // little can go on.
    ++from.ready.front()->draining;
    action->kind = Action::Kind::kConsume;
    action->ticket = from.ready.front();
    action->partial = true;
  } else if (from.closed && lane.next_seq == from.next_seq &&
             MayRetry(lane.blocked_epoch, 0, oldest, epoch)) {
    action->kind = Action::Kind::kFinish;
  } else {
    return false;
  }
  if (lane.batcher) action->most_batches = std::max<int64_t>(1, BatchesWanted(lane));
  lane.busy = true;
  action->lane = index;
  ++running_;
  return true;
}

// The oldest ticket of the segment nearest to the outputs: it frees memory first.
bool TaskRun::ClaimTicket(bool oldest, int64_t epoch, Action* action) {
  for (auto segment = segments_.rbegin(); segment != segments_.rend(); ++segment) {
    for (auto it = segment->ready.begin(); it != segment->ready.end(); ++it) {
      if ((*it)->draining > 0 || !MayRetry((*it)->blocked_epoch, (*it)->bytes, oldest, epoch)) continue;
      action->kind = Action::Kind::kProcess;
      action->ticket = *it;
      segment->ready.erase(it);
      ++running_;
      return true;
    }
  }
  return false;
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
  for (size_t i = 0; i < lanes_.size(); ++i) {
    if (ClaimLane(static_cast<int>(i), oldest, epoch, &action)) return action;
  }
  if (idle() && std::all_of(lanes_.begin(), lanes_.end(), [](const Lane& lane) { return lane.finished; })) {
    ending_ = true;
    ++running_;
    action.kind = Action::Kind::kEnd;
    return action;
  }
  if (ClaimTicket(oldest, epoch, &action)) return action;
  if (!segments_.front().closed && !source_busy_ && MayRead(oldest, epoch)) {
    source_busy_ = true;
    source_blocked_epoch_ = -1;
    ++running_;
    action.kind = Action::Kind::kRead;
  }
  return action;
}

}  // namespace partita
