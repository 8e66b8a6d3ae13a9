#include "partita/exchange/group_sink.h"

#include <arrow/api.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "partita/exchange/exchange_memory.h"
#include "partita/exchange/group_stretches.h"
#include "partita/exchange/group_writer.h"

namespace partita {
namespace {

class GroupSink final : public Sink {
 public:
  GroupSink(GroupSinkInit init, std::shared_ptr<arrow::Schema> key_schema)
      : init_(std::move(init)), started_ns_(init_.env->MonotonicNanos()) {
    if (init_.stretches != nullptr) stretch_ = init_.stretches->Begin(init_.partition);
    if (!stretch_) {
      stretch_.emplace();
      stretch_->writer = std::make_unique<GroupWriter>(init_, std::move(key_schema));
      stretch_->first = init_.partition;
    }
    left_out_ = stretch_->rows;
  }
  ~GroupSink() override { Abort(); }

  Status Write(const Block& block, const OperatorContext& ctx, int64_t* taken) override {
    const int64_t known = std::min(left_out_, block.num_rows() - *taken);
    left_out_ -= known;
    *taken += known;
    const int64_t before = *taken;
    const Status status = stretch_->writer->Write(block, ctx, taken);
    stretch_->rows += *taken - before;
    return status;
  }

  Result<std::vector<OutputFile>> Finish(const OperatorContext& ctx) override {
    auto& writer = *stretch_->writer;
    if (init_.stretches == nullptr) return writer.Finish(ctx);
    ARROW_RETURN_NOT_OK(writer.GoOn(ctx));
    const int64_t task_ns = init_.env->MonotonicNanos() - started_ns_;
    if (stretch_->committed > 0) {
      init_.memory->Lose(task_ns);
      if (ctx.counters != nullptr) ctx.counters->AddDetail("continued_tables", 1);
    } else if (!writer.is_open() || !init_.memory->MayLose(task_ns)) {
      return writer.Finish(ctx);
    }
    stretch_->task_ns = std::max(stretch_->task_ns, task_ns);
    Leave();
    return std::vector<OutputFile>{};
  }

  // A table that earlier tasks have filled cannot forget the rows of this one: it is left with them, and
  // whoever does the task again leaves out as many of its first rows.
  void Abort() override {
    if (stretch_ && stretch_->committed > 0) return Leave();
    stretch_.reset();
  }

 private:
  void Leave() {
    init_.stretches->Leave(init_.partition, std::move(*stretch_));
    stretch_.reset();
  }

  const GroupSinkInit init_;
  const int64_t started_ns_;
  std::optional<GroupStretch> stretch_;  // none: it was left
  int64_t left_out_ = 0;                 // rows to come that the table has
};

}  // namespace

Result<std::unique_ptr<Sink>> MakeGroupSink(GroupSinkInit init) {
  arrow::FieldVector keys(
      init.states->exchange.schema->fields().begin(),
      init.states->exchange.schema->fields().begin() + static_cast<std::ptrdiff_t>(init.states->keys.size()));
  return std::make_unique<GroupSink>(std::move(init), arrow::schema(std::move(keys)));
}

}  // namespace partita
