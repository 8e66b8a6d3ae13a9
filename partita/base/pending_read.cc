#include "partita/base/pending_read.h"

#include <arrow/io/interfaces.h>
#include <arrow/util/thread_pool.h>
#include <linux/aio_abi.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <condition_variable>
#include <future>
#include <mutex>
#include <utility>

#include "partita/base/env_files.h"

namespace partita {

struct PendingRead::State {
  iocb control{};
  bool submitted = false, done = false;  // [kernel's mutex]
  int64_t got = 0;
  std::shared_ptr<arrow::io::RandomAccessFile>
      file;                                // keeps the descriptor, and reads what the kernel leaves
  std::future<Result<int64_t>> elsewhere;  // where the kernel does not take it
};

namespace {

constexpr int kMostReads = 512;  // that the kernel has at once; more wait in threads

// The reads that the kernel has. Whoever waits collects for all.
class KernelReads {
 public:
  // Of the process, for ever: the kernel takes long to end one.
  static KernelReads& Get() {
    static auto* reads = new KernelReads();
    return *reads;
  }

  bool Submit(iocb* control) {
    if (!ready_) return false;
    return syscall(SYS_io_submit, context_, 1, &control) == 1;
  }

  template <typename State>
  int64_t Wait(State* state) {
    std::unique_lock lock(mutex_);
    while (!state->done) {
      if (collecting_) {
        collected_.wait(lock);
        continue;
      }
      collecting_ = true;
      lock.unlock();
      std::array<io_event, 64> events;
      const long count = syscall(SYS_io_getevents, context_, 1, events.size(), events.data(), nullptr);
      const int error = count < 0 ? errno : 0;
      lock.lock();
      collecting_ = false;
      for (long i = 0; i < count; ++i) {
        auto* other = reinterpret_cast<State*>(events[static_cast<size_t>(i)].data);
        other->got = events[static_cast<size_t>(i)].res;
        other->done = true;
      }
      // Not this process's any more: nothing is under way.
      if (error != 0 && error != EINTR) state->done = true;
      collected_.notify_all();
    }
    return state->got;
  }

 private:
  KernelReads() { ready_ = syscall(SYS_io_setup, kMostReads, &context_) == 0; }

  aio_context_t context_ = 0;
  bool ready_ = false;
  std::mutex mutex_;
  std::condition_variable collected_;
  bool collecting_ = false;
};

}  // namespace

PendingRead::PendingRead() = default;
PendingRead::PendingRead(PendingRead&&) noexcept = default;
PendingRead& PendingRead::operator=(PendingRead&& other) noexcept {
  if (this == &other) return *this;
  if (state_) (void)Wait();
  state_ = std::move(other.state_);
  return *this;
}
PendingRead::~PendingRead() {
  if (state_) (void)Wait();
}

PendingRead PendingRead::Begin(std::shared_ptr<arrow::io::RandomAccessFile> file, int64_t position,
                               int64_t nbytes, uint8_t* out) {
  PendingRead read;
  read.state_ = std::make_unique<State>();
  State& state = *read.state_;
  if (const int fd = DirectDescriptor(*file, position, nbytes, out); fd >= 0) {
    state.control.aio_data = reinterpret_cast<uintptr_t>(&state);
    state.control.aio_lio_opcode = IOCB_CMD_PREAD;
    state.control.aio_fildes = static_cast<uint32_t>(fd);
    state.control.aio_buf = reinterpret_cast<uintptr_t>(out);
    state.control.aio_nbytes = static_cast<uint64_t>(nbytes);
    state.control.aio_offset = position;
    state.submitted = KernelReads::Get().Submit(&state.control);
  }
  if (state.submitted) {
    state.file = std::move(file);
    return read;
  }
  auto promise = std::make_shared<std::promise<Result<int64_t>>>();
  state.elsewhere = promise->get_future();
  const auto run = [promise, file = std::move(file), position, nbytes, out] {
    promise->set_value(file->ReadAt(position, nbytes, out));
  };
  if (!arrow::io::default_io_context().executor()->Spawn(run).ok()) run();
  return read;
}

Result<int64_t> PendingRead::Wait() {
  const auto state = std::move(state_);
  if (!state->submitted) return state->elsewhere.get();
  const auto nbytes = static_cast<int64_t>(state->control.aio_nbytes);
  const int64_t got = std::max<int64_t>(0, KernelReads::Get().Wait(state.get()));
  if (got == nbytes) return got;
  // The end of the file, or an error, of which who reads again is told.
  auto* out = reinterpret_cast<uint8_t*>(state->control.aio_buf);
  ARROW_ASSIGN_OR_RAISE(const int64_t rest,
                        state->file->ReadAt(state->control.aio_offset + got, nbytes - got, out + got));
  return got + rest;
}

}  // namespace partita
