#include "partita/session/summary.h"

#include <algorithm>

#include "partita/base/json.h"
#include "partita/base/units.h"

namespace partita {
namespace {

constexpr size_t kTopReasons = 5;

std::string Plural(int64_t count, const std::string& noun) {
  return FormatCount(count) + " " + noun + (count == 1 ? "" : "s");
}

// What a step counted by name, the most frequent first. Amounts of bytes and time are no reasons.
std::string ReasonsOf(const StepCounters& step) {
  auto details = step.Details();
  std::erase_if(details, [](const auto& detail) {
    return detail.first.ends_with("_bytes") || detail.first.ends_with("_ms") || detail.second <= 0;
  });
  std::stable_sort(details.begin(), details.end(),
                   [](const auto& a, const auto& b) { return a.second > b.second; });
  std::string text;
  for (size_t i = 0; i < details.size() && i < kTopReasons; ++i) {
    text += (i > 0 ? ", " : "") + details[i].first + " " + FormatCount(details[i].second);
  }
  if (details.size() > kTopReasons)
    text += ", and " + Plural(static_cast<int64_t>(details.size() - kTopReasons), "more reason");
  return text;
}

std::string BadRowsText(const StepCounters& step) {
  const int64_t skipped = step.rows_skipped.load(), quarantined = step.rows_quarantined.load();
  if (skipped == 0 && quarantined == 0) return "";
  std::string text = step.step + ": ";
  if (skipped > 0) text += FormatCount(skipped) + " skipped";
  if (quarantined > 0) text += (skipped > 0 ? ", " : "") + FormatCount(quarantined) + " quarantined";
  const std::string reasons = ReasonsOf(step);
  return text + (reasons.empty() ? "" : " (" + reasons + ")") + "\n";
}

int64_t BytesOf(const Manifest& manifest) {
  int64_t bytes = 0;
  for (const auto& partition : manifest.partitions) {
    for (const auto& file : partition.files) bytes += file.size_bytes;
  }
  return bytes;
}

int64_t FilesOf(const Manifest& manifest) {
  int64_t files = 0;
  for (const auto& partition : manifest.partitions) files += static_cast<int64_t>(partition.files.size());
  return files;
}

std::string DatasetText(const WrittenDataset& dataset) {
  return dataset.step + ": " + Plural(dataset.manifest.num_rows, "row") + " in " +
         Plural(FilesOf(dataset.manifest), "file") + ", " + FormatBytes(BytesOf(dataset.manifest)) + " -> " +
         dataset.path + "\n";
}

Json DatasetJson(const WrittenDataset& dataset) {
  return {{"step", dataset.step},
          {"path", dataset.path},
          {"format", dataset.format},
          {"rows", dataset.manifest.num_rows},
          {"files", FilesOf(dataset.manifest)},
          {"bytes", BytesOf(dataset.manifest)},
          {"partitions", dataset.manifest.partitions.size()}};
}

}  // namespace

std::string SummaryText(const RunResult& result, const Observer& observer, double seconds, bool on_workers) {
  std::string text;
  if (result.was_complete) text += "nothing to do: complete\n";
  for (const auto& dataset : result.datasets) text += DatasetText(dataset);
  if (result.quarantine) text += DatasetText(*result.quarantine);
  if (result.was_complete) return text;
  for (const auto& step : observer.steps()) text += BadRowsText(step);
  text += FormatSeconds(seconds) + ", peak memory " + FormatBytes(observer.memory_peak.load()) + " of " +
          FormatBytes(observer.memory_limit.load()) + (on_workers ? " a worker" : "");
  if (const int64_t read = observer.source_bytes_read.load(); read > 0)
    text += ", " + FormatBytes(read) + " read";
  if (const int64_t resumed = observer.tasks_resumed.load(); resumed > 0) {
    text +=
        ", " + FormatCount(resumed) + " of " + Plural(observer.tasks_total.load(), "task") + " done before";
  }
  return text + "\n";
}

std::string UnfinishedText(const Status& status, const Observer& observer) {
  const int64_t done = observer.tasks_done.load(), total = observer.tasks_total.load();
  if (total == 0) return "";
  const std::string tasks =
      FormatCount(done) + " of " + Plural(total, "task") + (done == 1 ? " is" : " are") + " done";
  if (status.IsCancelled()) return "stopped: " + tasks + "; the same command resumes from here\n";
  return done == 0 ? "" : tasks + "; once the fault is mended, the same command resumes from here\n";
}

Json SummaryJson(const RunResult& result, const Observer& observer, double seconds) {
  Json datasets = Json::array();
  for (const auto& dataset : result.datasets) datasets.push_back(DatasetJson(dataset));
  return {{"status", "ok"},
          {"was_complete", result.was_complete},
          {"datasets", std::move(datasets)},
          {"quarantine", result.quarantine ? DatasetJson(*result.quarantine) : Json()},
          {"seconds", seconds},
          {"stats", observer.ToJson()},
          {"record", result.record_path}};
}

Json FailureJson(const Status& status, const Observer& observer, double seconds) {
  return {{"status", status.IsCancelled() ? "cancelled" : "failed"},
          {"error", ErrorJson(status)},
          {"seconds", seconds},
          {"stats", observer.ToJson()}};
}

Json ErrorJson(const Status& status) {
  Json error = {{"kind", std::string(ErrorKindName(KindOf(status)))},
                {"message", MessageOf(status)},
                {"exit_code", ExitCodeOf(status)}};
  if (const auto* detail = DetailOf(status)) {
    if (!detail->context.step.empty()) error["step"] = detail->context.step;
    if (detail->context.partition >= 0) error["partition"] = detail->context.partition;
    if (!detail->context.file.empty()) error["file"] = detail->context.file;
    if (detail->context.row >= 0) error["row"] = detail->context.row;
    if (!detail->context.hint.empty()) error["hint"] = detail->context.hint;
  }
  return error;
}

}  // namespace partita
