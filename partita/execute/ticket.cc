#include "partita/execute/ticket.h"

#include <arrow/api.h>

#include "partita/block/block.h"
#include "partita/block/logical_bytes.h"

namespace partita {

struct TicketRunner::Mark {
  std::vector<size_t> outputs;
  size_t errors, waiting;
  std::vector<NodeDelta> deltas;
};

// Hands what a step emits to the steps and lanes below it.
class TicketRunner::Output final : public BlockOutput {
 public:
  Output(TicketRunner* runner, int node) : runner_(runner), node_(node) {}
  Status Emit(Block block) override {
    status = runner_->Deliver(node_, std::move(block));
    runner_->SwitchTo(node_);
    return status;
  }
  Status status;  // of the steps below: not this step's fault

 private:
  TicketRunner* runner_;
  int node_;
};

class TicketRunner::Errors final : public RowErrors {
 public:
  Errors(TicketRunner* runner, int node, const Block& block) : runner_(runner), node_(node), block_(block) {}
  Status Add(int64_t row, const Status& error) override {
    if (error.IsOutOfMemory()) return status = error;
    return status = runner_->AddRowError(node_, block_, row, error);
  }
  Status status;  // non-OK: the policy says that the run fails

 private:
  TicketRunner* runner_;
  int node_;
  const Block& block_;
};

TicketRunner::TicketRunner(const StageProgram* program, const std::vector<OperatorContext>* contexts,
                           Env* env, Ticket* ticket)
    : program_(program), contexts_(contexts), env_(env), ticket_(ticket) {}

Status TicketRunner::Run() {
  auto& items = ticket_->items;
  since_ns_ = env_->MonotonicNanos();
  current_ = -1;
  size_t done = 0;
  Status status;
  for (; done < items.size() && status.ok(); ++done) {
    const bool at_node = items[done].at_node;
    const int point = items[done].point;
    Block block = items[done].block;
    const Mark mark = Save();
    status = at_node ? RunNode(point, block) : Deliver(point, std::move(block));
    if (!status.ok()) {
      Rollback(mark);
      break;
    }
    items[done].block = Block();  // freed as soon as it is done with
  }
  SwitchTo(-1);
  items.erase(items.begin(), items.begin() + static_cast<std::ptrdiff_t>(done));
  // A refused item may be several rows at an inner step's limit already; hand it on in halves next time.
  const bool fixed = !items.empty() && items[0].at_node &&
                     program_->nodes()[static_cast<size_t>(items[0].point)].batch_rows > 0;
  if (status.IsOutOfMemory() && !items.empty() && !fixed && items[0].block.num_rows() > 1) {
    const int64_t rows = items[0].block.num_rows();
    Ticket::Item second = items[0];
    second.block = items[0].block.Slice(rows / 2, rows - rows / 2);
    items[0].block = items[0].block.Slice(0, rows / 2);
    items.insert(items.begin() + 1, std::move(second));
  }
  return status;
}

Status TicketRunner::Deliver(int point, Block block) {
  if (block.num_rows() == 0) return Status::OK();
  auto& delta = ticket_->deltas[static_cast<size_t>(point + 1)];
  delta.rows_out += block.num_rows();
  ARROW_ASSIGN_OR_RAISE(const int64_t bytes, LogicalBytes(*block.batch));
  delta.bytes_out += bytes;
  for (int lane : program_->lanes_of(point)) ticket_->outputs[static_cast<size_t>(lane)].push_back(block);
  const auto& children = program_->children_of(point);
  for (int child : children) ARROW_RETURN_NOT_OK(RunNode(child, block));
  return Status::OK();
}

Status TicketRunner::RunNode(int node, const Block& block) {
  const auto& program = program_->nodes()[static_cast<size_t>(node)];
  if (program.async) {
    ticket_->waiting.push_back({node, block, true});
    return Status::OK();
  }
  if (block.num_rows() <= program.max_rows) return RunSlice(node, block);
  for (int64_t offset = 0; offset < block.num_rows(); offset += program.max_rows) {
    ARROW_RETURN_NOT_OK(
        RunSlice(node, block.Slice(offset, std::min(program.max_rows, block.num_rows() - offset))));
  }
  return Status::OK();
}

Status TicketRunner::RunSlice(int node, const Block& block) {
  const auto& program = program_->nodes()[static_cast<size_t>(node)];
  const Mark mark = Save();
  OperatorContext ctx = (*contexts_)[static_cast<size_t>(node)];
  ARROW_RETURN_NOT_OK(ctx.cancel.Check());
  Errors errors(this, node, block);
  Output output(this, node);
  ctx.errors = &errors;
  SwitchTo(node);
  Status status = program.transform->Process(block, ctx, output);
  if (status.ok()) {
    ticket_->deltas[static_cast<size_t>(node + 1)].rows_in += block.num_rows();
    return status;
  }
  Rollback(mark);
  const bool refused = status.IsOutOfMemory();
  const bool below = !output.status.ok();   // a step below failed, and said so itself
  const bool policy = !errors.status.ok();  // a row error that fails the run
  const bool bad_rows = !below && !policy && !refused && KindOf(status) == ErrorKind::kData;
  const int64_t rows = block.num_rows();
  if (rows > 1 && (refused || bad_rows)) {
    ARROW_RETURN_NOT_OK(RunSlice(node, block.Slice(0, rows / 2)));
    return RunSlice(node, block.Slice(rows / 2, rows - rows / 2));
  }
  if (bad_rows) {
    ticket_->deltas[static_cast<size_t>(node + 1)].rows_in += 1;
    return AddRowError(node, block, 0, status);
  }
  if (below || policy) return status;
  ErrorContext where{.step = program.plan->step, .partition = ctx.partition};
  if (rows == 1) where.row = block.ordinals.At(0);
  return WithContext(std::move(status), std::move(where));
}

Status TicketRunner::AddRowError(int node, const Block& input, int64_t row, const Status& error) {
  const auto& program = program_->nodes()[static_cast<size_t>(node)];
  const auto& ctx = (*contexts_)[static_cast<size_t>(node)];
  const auto kind = KindOf(error);
  const bool of_row = kind == ErrorKind::kData || kind == ErrorKind::kUser;
  const int64_t ordinal = input.ordinals.At(row);
  if (program.plan->on_error == OnError::kFail || !of_row) {
    return WithContext(error, {.step = program.plan->step, .partition = ctx.partition, .row = ordinal});
  }
  auto& delta = ticket_->deltas[static_cast<size_t>(node + 1)];
  RowError entry{node, ordinal, error, false, nullptr};
  if (program.plan->on_error == OnError::kQuarantine) {
    ++delta.quarantined;
    entry.quarantined = true;
    entry.row = input.batch->Slice(row, 1);
  } else {
    ++delta.skipped;
  }
  ticket_->errors.push_back(std::move(entry));
  return Status::OK();
}

TicketRunner::Mark TicketRunner::Save() const {
  Mark mark{{}, ticket_->errors.size(), ticket_->waiting.size(), ticket_->deltas};
  mark.outputs.reserve(ticket_->outputs.size());
  for (const auto& output : ticket_->outputs) mark.outputs.push_back(output.size());
  return mark;
}

void TicketRunner::Rollback(const Mark& mark) {
  for (size_t i = 0; i < ticket_->outputs.size(); ++i) ticket_->outputs[i].resize(mark.outputs[i]);
  ticket_->errors.erase(ticket_->errors.begin() + static_cast<std::ptrdiff_t>(mark.errors),
                        ticket_->errors.end());
  ticket_->waiting.erase(ticket_->waiting.begin() + static_cast<std::ptrdiff_t>(mark.waiting),
                         ticket_->waiting.end());
  ticket_->deltas = mark.deltas;
}

void TicketRunner::SwitchTo(int node) {
  const int64_t now = env_->MonotonicNanos();
  if (current_ >= 0) ticket_->deltas[static_cast<size_t>(current_ + 1)].busy_ns += now - since_ns_;
  since_ns_ = now;
  current_ = node;
}

}  // namespace partita
