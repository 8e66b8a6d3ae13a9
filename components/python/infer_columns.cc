#include "components/python/infer_columns.h"

#include <csignal>
#include <cstring>

#include "components/python/fork_server.h"
#include "components/python/python_command.h"
#include "components/python/worker_process.h"
#include "partita/base/json.h"

namespace partita {
namespace {

constexpr int kTickMs = 50;
constexpr double kLeaveSeconds = 2;
constexpr int64_t kId = 1;

// Reads until the process has ended: its descriptors may live on in processes that the function started.
Status Listen(ForkServer* server, const Descriptor& answer, const std::function<Status()>& poll, int* pid,
              Inferred* out) {
  while (true) {
    std::vector<int> fds = server->descriptors();
    fds.push_back(answer.get());
    (void)WaitReadable(fds, kTickMs);
    const bool is_there = server->Hear();
    server->ReadLog();
    for (std::string text = ReadAvailable(answer); !text.empty(); text = ReadAvailable(answer))
      out->answer += text;
    if (!is_there)
      return EnvironmentError("the process that starts Python workers ended" + server->LogTail(), "",
                              /*retriable=*/false);
    const auto forked = server->forked()->find(kId);
    if (forked != server->forked()->end()) *pid = forked->second;
    if (const auto end = server->ends()->find(*pid); end != server->ends()->end()) {
      for (std::string text = ReadAvailable(answer); !text.empty(); text = ReadAvailable(answer))
        out->answer += text;
      out->end = EndText(end->second);
      return Status::OK();
    }
    ARROW_RETURN_NOT_OK(poll());
  }
}

}  // namespace

Result<Inferred> InferColumns(const std::string& name, const std::string& question,
                              const std::function<Status()>& poll) {
  ForkServer server(name, PythonCommand());
  ARROW_RETURN_NOT_OK(server.Start());
  int pid = -1;
  Inferred found;
  const auto ask = [&]() -> Status {
    ARROW_ASSIGN_OR_RAISE(auto pair, MessagePair());
    ARROW_ASSIGN_OR_RAISE(auto answer, PipePair());
    const auto bytes = static_cast<int64_t>(question.size());
    ARROW_ASSIGN_OR_RAISE(auto memory, SharedMemory::Make("partita-question", std::max<int64_t>(1, bytes)));
    std::memcpy(memory->data(), question.data(), question.size());
    const Json words = {{"op", "infer"}, {"bytes", bytes}};
    ARROW_RETURN_NOT_OK(
        SendMessage(pair.first, CanonicalJson(words), {memory->fd(), answer.second.get()}).status());
    ARROW_RETURN_NOT_OK(server.Fork(kId, pair.second));
    pair.second.Close();
    answer.second.Close();
    return Listen(&server, answer.first, poll, &pid, &found);
  };
  const Status status = ask();
  if (!status.ok() && pid > 0) {
    KillGroup(pid);
    SendSignal(pid, SIGKILL);
  }
  server.End(pid > 0 ? std::vector<int>{pid} : std::vector<int>{}, kLeaveSeconds);
  ARROW_RETURN_NOT_OK(status);
  return found;
}

}  // namespace partita
