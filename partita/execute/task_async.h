// One call of an asynchronous step. Private to this room.
#pragma once

#include <mutex>
#include <utility>
#include <vector>

#include "partita/execute/task_run.h"

namespace partita {

// It owns what the step borrows until `done`.
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

}  // namespace partita
