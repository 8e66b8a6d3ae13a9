#include "partita/execute/task_run.h"

#include <arrow/api.h>

#include <algorithm>

#include "partita/block/logical_bytes.h"
#include "partita/execute/quarantine.h"
#include "partita/execute/worker_pool.h"

namespace partita {

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

Status TaskRun::Consume(const Action& action) {
  const int index = action.lane;
  Ticket* ticket = action.ticket.get();
  Lane& lane = this->lane(index);
  if (lane.program->kind == LaneProgram::Kind::kQuarantine) return ConsumeQuarantine(ticket, &lane);
  if (lane.program->kind == LaneProgram::Kind::kBatches)
    return ConsumeBatches(ticket, index, action.most_batches);
  const OperatorContext ctx = LaneContext(index);
  const int64_t start = ctx.env->MonotonicNanos();
  auto& blocks = ticket->outputs[static_cast<size_t>(index)];
  Status status;
  while (lane.block < blocks.size() && !lane.saturated()) {
    if (lane.program->segment > 0 && lane.offset == 0) {
      // Batches may leave as more or fewer rows: what leaves is numbered here, where the order is known.
      blocks[lane.block].ordinals = RowOrdinals::Range(lane.rows, blocks[lane.block].num_rows());
    }
    status = WriteBlock(&lane, ctx, blocks[lane.block]);
    if (!status.ok()) break;
    blocks[lane.block] = Block();
    ++lane.block;
    lane.offset = 0;
  }
  ctx.counters->busy_ns.fetch_add(ctx.env->MonotonicNanos() - start, std::memory_order_relaxed);
  return status;
}

// The rows a ticket left for a step that takes batches; without one, more batches of what the lane has.
Status TaskRun::ConsumeBatches(Ticket* ticket, int index, int64_t most) {
  Lane& lane = this->lane(index);
  if (ticket == nullptr) return TakeBatches(&lane, /*last=*/false, most);
  auto& blocks = ticket->outputs[static_cast<size_t>(index)];
  for (; lane.block < blocks.size(); ++lane.block) {
    ARROW_RETURN_NOT_OK(lane.batcher->Add(blocks[lane.block]));
    blocks[lane.block] = Block();
  }
  return TakeBatches(&lane, /*last=*/false, most);
}

Status TaskRun::TakeBatches(Lane* lane, bool last, int64_t most) {
  const int segment = lane->program->target;
  const int root = init_.program->segments()[static_cast<size_t>(segment)].root;
  for (; most > 0 && lane->batcher->Has(last); --most) {
    ARROW_ASSIGN_OR_RAISE(Block batch, lane->batcher->Take(contexts_[static_cast<size_t>(root)].pool.get()));
    auto ticket = NewTicket(segment);
    ticket->rows = batch.num_rows();
    ARROW_ASSIGN_OR_RAISE(ticket->bytes, LogicalBytes(*batch.batch));
    ticket->first_ordinal = batch.ordinals.At(0);
    ticket->items.push_back({root, std::move(batch), true});
    lane->made.push_back(std::move(ticket));
  }
  return Status::OK();
}

Status TaskRun::ConsumeQuarantine(Ticket* ticket, Lane* lane) {
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
    auto& sink = lane->quarantine_sinks[node];
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
    lane->quarantine_rows[node] += batch->num_rows();
    for (auto& error : ticket->errors) {
      if (error.node == node)
        error.quarantined = false, error.row.reset();  // written: a retry after a refusal must not repeat it
    }
  }
  return Status::OK();
}

Status TaskRun::Finish(int index) {
  Lane& lane = this->lane(index);
  if (lane.program->kind == LaneProgram::Kind::kQuarantine) return FinishQuarantine(&lane);
  if (lane.program->kind == LaneProgram::Kind::kBatches) return TakeBatches(&lane, /*last=*/true, /*most=*/1);
  const OperatorContext ctx = LaneContext(index);
  const int64_t start = ctx.env->MonotonicNanos();
  auto files = lane.sink->Finish(ctx);
  ctx.counters->busy_ns.fetch_add(ctx.env->MonotonicNanos() - start, std::memory_order_relaxed);
  ARROW_RETURN_NOT_OK(files.status());
  lane.files = std::move(*files);
  return Status::OK();
}

Status TaskRun::FinishQuarantine(Lane* lane) {
  OperatorContext ctx = source_context_;
  ctx.cancel = cancel_;
  ctx.pool = init_.program->quarantine_pool;
  for (auto& [node, sink] : lane->quarantine_sinks) {
    if (!sink) continue;
    ARROW_ASSIGN_OR_RAISE(auto files, sink->Finish(ctx));
    lane->quarantined.push_back(
        {kQuarantineOutput + node + 1, lane->quarantine_rows[node], std::move(files), 0});
    sink.reset();
  }
  return Status::OK();
}

}  // namespace partita
