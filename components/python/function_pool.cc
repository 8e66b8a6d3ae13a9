#include "components/python/function_pool.h"

#include <algorithm>

#include "partita/base/json.h"
#include "partita/base/units.h"

namespace partita {

std::string WhereText(const std::string& stack) {
  return stack.empty() ? "the Python function" : "the Python function at\n" + stack + "\n ";
}

Event StuckEvent(const std::string& step, const WorkerJob& job, const std::string& stack, double seconds,
                 int64_t now_us) {
  Event event{EventKind::kStall, now_us, -1, job.partition, step, ""};
  event.message = "the function is at rows " + std::to_string(job.first_row) + " to " +
                  std::to_string(job.last_row) + " for " + FormatSeconds(seconds) +
                  (stack.empty() ? "" : ":\n" + stack);
  return event;
}

WorkerAnswer AnswerOf(const Json& words, SegmentPool::Lease output, const Status& refusal) {
  using Kind = WorkerAnswer::Kind;
  const std::string op = words.value("op", "");
  WorkerAnswer answer;
  answer.worker_ns = std::max<int64_t>(0, words.value("worker_ns", int64_t{0}));
  answer.function_ns = std::clamp<int64_t>(words.value("function_ns", int64_t{0}), 0, answer.worker_ns);
  answer.waiting_ns = std::max<int64_t>(0, words.value("waiting_ns", int64_t{0}));
  if (op == "done") {
    answer.output_bytes = words.value("bytes", int64_t{0});
    answer.origins_at = words.value("origins_at", int64_t{-1});
    answer.origins_count = words.value("origins", int64_t{0});
    const int64_t size = output == nullptr ? 0 : output->memory->size();
    const bool fits = answer.output_bytes >= 0 && answer.output_bytes <= size &&
                      (answer.origins_at < 0 ||
                       (answer.origins_count >= 0 && answer.origins_at % 4 == 0 &&
                        answer.origins_at <= size && answer.origins_count <= (size - answer.origins_at) / 4));
    if (!fits)
      return {.kind = Kind::kError, .error = BugError("a worker's answer points outside its memory")};
    answer.output = std::move(output);
  } else if (op == "bad_rows") {
    answer.kind = Kind::kBadRows;
    for (const auto& row : words.value("rows", Json::array())) {
      if (row.is_array() && row.size() == 2 && row[0].is_number_integer() && row[1].is_string())
        answer.bad_rows.emplace_back(row[0].get<int64_t>(), row[1].get<std::string>());
    }
  } else if (op == "refused") {
    answer.kind = Kind::kRefused;
    answer.error = refusal.ok() ? OutOfMemoryError("a result does not fit in the budget") : refusal;
  } else if (op == "memory") {
    answer.kind = Kind::kMemory;
    answer.error = ResourceError(words.value("text", "out of memory"),
                                 "give the step more with memory, or fewer rows with batch_size");
  } else {
    answer.kind = Kind::kError;
    answer.error = words.value("data", false) ? DataError(words.value("text", "failed"))
                                              : UserError(words.value("text", "failed"));
  }
  return answer;
}

}  // namespace partita
