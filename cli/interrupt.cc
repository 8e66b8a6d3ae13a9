#include "cli/interrupt.h"

#include <atomic>
#include <csignal>
#include <cstdlib>

namespace partita::cli {
namespace {

std::atomic<std::atomic<bool>*> g_flag{nullptr};
static_assert(std::atomic<bool>::is_always_lock_free && std::atomic<void*>::is_always_lock_free);

void OnSignal(int) {
  auto* flag = g_flag.load(std::memory_order_acquire);
  if (flag == nullptr || flag->exchange(true)) std::_Exit(kInterruptedExitCode);
}

}  // namespace

Interruptible::Interruptible(CancelToken token) : token_(std::move(token)) {
  g_flag.store(token_.flag(), std::memory_order_release);
  for (int number : {SIGINT, SIGTERM}) {
    // A parent that had it ignored (nohup, a job in the background) keeps it so.
    if (std::signal(number, OnSignal) == SIG_IGN) std::signal(number, SIG_IGN);
  }
}

Interruptible::~Interruptible() { g_flag.store(nullptr, std::memory_order_release); }

}  // namespace partita::cli
