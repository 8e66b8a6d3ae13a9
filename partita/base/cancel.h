// A shared flag that asks work to stop. Copy it freely; all copies are one token. Thread-safe, async-signal-safe to set.
#pragma once

#include <atomic>
#include <memory>

#include "partita/base/error.h"

namespace partita {

class CancelToken {
 public:
  CancelToken() : flag_(std::make_shared<std::atomic<bool>>(false)) {}
  void Cancel() const { flag_->store(true, std::memory_order_release); }
  bool cancelled() const { return flag_->load(std::memory_order_acquire); }
  // Status::Cancelled when asked to stop, else OK.
  Status Check() const { return cancelled() ? Status::Cancelled("the run was cancelled") : Status::OK(); }
  std::atomic<bool>* flag() const { return flag_.get(); }

 private:
  std::shared_ptr<std::atomic<bool>> flag_;
};

}  // namespace partita
