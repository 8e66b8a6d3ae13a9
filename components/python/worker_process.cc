#include "components/python/worker_process.h"

namespace partita {

std::string EndText(int code) { return code < 0 ? SignalName(-code) : "exit code " + std::to_string(code); }

std::string StackText(std::string_view dump, std::string_view own_folder) {
  // The dump has a section for each thread: the current one is marked; where it is a thread that Python does
  // not know, the main thread is the last.
  std::string out;
  bool keeps = true, is_current = false;
  while (!dump.empty() && !(is_current && !keeps)) {
    const size_t end = dump.find('\n');
    const std::string_view line = dump.substr(0, end);
    dump.remove_prefix(end == std::string_view::npos ? dump.size() : end + 1);
    if (line.find("most recent call first") != std::string_view::npos) {
      if (is_current) break;
      is_current = line.starts_with("Current");
      keeps = true;
      out.clear();
    } else if (keeps && line.starts_with("  File")) {
      keeps = line.find(own_folder) == std::string_view::npos;
      if (keeps) out += (out.empty() ? "" : "\n") + std::string(line);
    }
  }
  return out;
}

Json SegmentWords(const Segment& segment, WorkerProcess* worker, std::vector<int>* fds) {
  const bool is_new = worker->known_segments.insert(segment.id).second;
  if (is_new) fds->push_back(segment.memory->fd());
  return {{"seg", segment.id}, {"size", segment.memory->size()}, {"new", is_new}};
}

Json RunMessage(const RunningJob& job, WorkerProcess* worker, const SegmentPool& segments,
                std::vector<int>* fds) {
  Json drop = Json::array();
  for (const int64_t id : segments.DroppedSince(&worker->dropped_cursor)) {
    if (worker->known_segments.erase(id) > 0) drop.push_back(id);
  }
  Json message = {{"op", "run"},
                  {"id", job.id},
                  {"bytes", job.job.input_bytes},
                  {"rows", job.job.rows},
                  {"drop", std::move(drop)}};
  if (!job.job.groups.empty()) message["groups"] = job.job.groups;
  message["in"] = SegmentWords(*job.job.input, worker, fds);
  if (job.output != nullptr) message["out"] = SegmentWords(*job.output, worker, fds);
  return message;
}

}  // namespace partita
