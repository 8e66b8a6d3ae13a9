// The process that forks the workers of a step (python/partita/worker/server.py), itself forked from the base
// process, and what it and the workers print. Private to this room; for one thread.
#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "components/python/base_process.h"
#include "partita/base/process.h"

namespace partita {

class ForkServer {
 public:
  // `step`: the head of every line that is printed.
  ForkServer(std::string step, std::vector<std::string> command)
      : step_(std::move(step)), command_(std::move(command)) {}

  Status Start();
  bool is_started() const { return base_ != nullptr; }
  // A worker that has `socket` as its own; its pid comes with Hear.
  Status Fork(int64_t id, const Descriptor& socket);
  // Workers are forked by the process behind `socket` from now on, which has the function ready and so shares
  // its memory with them, until it ends.
  void ForkFrom(Descriptor socket, int pid);
  bool has_template() const { return template_.valid(); }

  // Takes what it has said: forked() and ends() know more. False: it is gone.
  bool Hear();
  // Pids of workers by id; and how workers ended, by pid. Entries are taken out by the reader.
  std::map<int64_t, int>* forked() { return &forked_; }
  std::map<int, int>* ends() { return &ends_; }
  // Waits a little for the end of a worker that is known to have ended.
  bool WaitForEnd(int pid, int* code);

  // Shows what was printed since.
  void ReadLog();
  // What was printed last, as the end of an error's text; "" where that is nothing.
  std::string LogTail() const;

  // What can become readable.
  std::vector<int> descriptors() const;

  // Ends it, and with it the workers: by themselves within the time, else by force.
  void End(const std::vector<int>& workers, double seconds);

 private:
  void TellLine(std::string line);
  bool HearFrom(Descriptor* socket);  // false: its end

  const std::string step_;
  const std::vector<std::string> command_;
  std::shared_ptr<BaseProcess> base_;
  Descriptor socket_, template_, log_;
  int pid_ = -1, template_pid_ = -1;  // pid_: once it has said so
  std::map<int64_t, int> forked_;
  std::map<int, int> ends_;
  std::string log_rest_;
  std::deque<std::string> log_lines_;
};

}  // namespace partita
