#include "partita/engine/task_report.h"

#include <arrow/util/base64.h>

#include <algorithm>
#include <exception>

#include "partita/base/json.h"

namespace partita {
namespace {

constexpr size_t kMaxEventsToTell = 20;

StepCounters* FindStepCounters(Observer* observer, const std::string& step) {
  for (const auto& counters : observer->steps()) {
    if (counters.step == step) return const_cast<StepCounters*>(&counters);
  }
  return nullptr;
}

Json EndToJson(const TaskEnd& end) {
  Json outputs = Json::array();
  for (const auto& output : end.outputs) {
    Json files = Json::array();
    for (const auto& file : output.files)
      files.push_back({file.path, file.temporary, file.rows, file.size_bytes});
    outputs.push_back({{"output", output.output},
                       {"rows", output.rows},
                       {"bytes", output.bytes},
                       {"files", std::move(files)}});
  }
  Json steps = Json::array();
  for (const auto& step : end.steps)
    steps.push_back({step.rows_in, step.rows_out, step.skipped, step.quarantined});
  return {{"stage", end.stage},
          {"partition", end.partition},
          {"status", StatusToJson(end.status)},
          {"outputs", std::move(outputs)},
          {"steps", std::move(steps)}};
}

int64_t Count(const Json& json) {
  const auto value = json.get<int64_t>();
  if (value < 0) throw std::out_of_range("a negative count");
  return value;
}

TaskEnd EndFromJson(const Json& json) {
  TaskEnd end;
  end.stage = json.at("stage").get<int>();
  end.partition = Count(json.at("partition"));
  for (const auto& entry : json.at("outputs")) {
    TaskOutput output;
    output.output = entry.at("output").get<int>();
    output.rows = Count(entry.at("rows"));
    output.bytes = Count(entry.at("bytes"));
    for (const auto& file : entry.at("files")) {
      output.files.push_back({file.at(0).get<std::string>(), file.at(1).get<std::string>(), Count(file.at(2)),
                              Count(file.at(3))});
    }
    end.outputs.push_back(std::move(output));
  }
  for (const auto& step : json.at("steps"))
    end.steps.push_back({Count(step.at(0)), Count(step.at(1)), Count(step.at(2)), Count(step.at(3))});
  return end;
}

Json CountedToJson(const CountedSince& counted) {
  Json steps = Json::array();
  for (const auto& step : counted.steps) {
    Json details = Json::object();
    for (const auto& [key, count] : step.details) details[key] = count;
    steps.push_back({{"step", step.step},
                     {"bytes_out", step.bytes_out},
                     {"busy_ns", step.busy_ns},
                     {"wait_ns", step.wait_ns},
                     {"details", std::move(details)}});
  }
  Json events = Json::array();
  for (const auto& event : counted.events) {
    events.push_back({{"stall", event.kind == EventKind::kStall},
                      {"time_us", event.time_us},
                      {"stage", event.stage},
                      {"partition", event.partition},
                      {"step", event.step},
                      {"message", event.message}});
  }
  return {{"steps", std::move(steps)},
          {"source_bytes_read", counted.source_bytes_read},
          {"memory_peak", counted.memory_peak},
          {"memory_limit", counted.memory_limit},
          {"events", std::move(events)}};
}

CountedSince CountedFromJson(const Json& json) {
  CountedSince counted;
  for (const auto& entry : json.at("steps")) {
    CountedSince::Step step;
    step.step = entry.at("step").get<std::string>();
    step.bytes_out = entry.at("bytes_out").get<int64_t>();
    step.busy_ns = entry.at("busy_ns").get<int64_t>();
    step.wait_ns = entry.at("wait_ns").get<std::array<int64_t, kWaitReasons>>();
    for (const auto& [key, count] : entry.at("details").items())
      step.details.emplace_back(key, count.get<int64_t>());
    counted.steps.push_back(std::move(step));
  }
  counted.source_bytes_read = json.at("source_bytes_read").get<int64_t>();
  counted.memory_peak = json.at("memory_peak").get<int64_t>();
  counted.memory_limit = json.at("memory_limit").get<int64_t>();
  for (const auto& entry : json.at("events")) {
    if (counted.events.size() >= kMaxEventsToTell) break;
    counted.events.push_back({entry.at("stall").get<bool>() ? EventKind::kStall : EventKind::kNotice,
                              entry.at("time_us").get<int64_t>(), entry.at("stage").get<int>(),
                              entry.at("partition").get<int64_t>(), entry.at("step").get<std::string>(),
                              entry.at("message").get<std::string>()});
  }
  return counted;
}

}  // namespace

Json StatusToJson(const Status& status) {
  if (status.ok()) return nullptr;
  Json json = {{"code", static_cast<int>(status.code())}, {"message", MessageOf(status)}};
  if (const auto* detail = DetailOf(status)) {
    json["kind"] = std::string(ErrorKindName(detail->kind));
    json["retriable"] = detail->retriable;
    json["step"] = detail->context.step;
    json["partition"] = detail->context.partition;
    json["file"] = detail->context.file;
    json["row"] = detail->context.row;
    json["hint"] = detail->context.hint;
  }
  return json;
}

Status StatusFromJson(const Json& json, Status* out) {
  *out = Status::OK();
  if (json.is_null()) return Status::OK();
  ARROW_ASSIGN_OR_RAISE(const int64_t number, GetInt(json, "code"));
  ARROW_ASSIGN_OR_RAISE(std::string message, GetString(json, "message"));
  if (number <= 0 || number > static_cast<int64_t>(arrow::StatusCode::AlreadyExists))
    return BugError("a report with the unknown status " + std::to_string(number));
  const auto code = static_cast<arrow::StatusCode>(number);
  ARROW_ASSIGN_OR_RAISE(const std::string kind_name, GetStringOr(json, "kind", ""));
  if (kind_name.empty()) {
    *out = Status(code, std::move(message));
    return Status::OK();
  }
  ARROW_ASSIGN_OR_RAISE(const ErrorKind kind, ParseErrorKind(kind_name));
  ARROW_ASSIGN_OR_RAISE(const bool retriable, GetBoolOr(json, "retriable", false));
  ErrorContext context;
  ARROW_ASSIGN_OR_RAISE(context.step, GetStringOr(json, "step", ""));
  ARROW_ASSIGN_OR_RAISE(context.partition, GetIntOr(json, "partition", -1));
  ARROW_ASSIGN_OR_RAISE(context.file, GetStringOr(json, "file", ""));
  ARROW_ASSIGN_OR_RAISE(context.row, GetIntOr(json, "row", -1));
  ARROW_ASSIGN_OR_RAISE(context.hint, GetStringOr(json, "hint", ""));
  *out = Status(code, std::move(message), std::make_shared<ErrorDetail>(kind, retriable, std::move(context)));
  return Status::OK();
}

void CountedSince::AddTo(Observer* observer) const {
  for (const auto& step : steps) {
    StepCounters* counters = FindStepCounters(observer, step.step);
    if (counters == nullptr) continue;
    counters->bytes_out += step.bytes_out;
    counters->busy_ns += step.busy_ns;
    for (size_t i = 0; i < step.wait_ns.size(); ++i) counters->wait_ns[i] += step.wait_ns[i];
    for (const auto& [key, count] : step.details) counters->AddDetail(key, count);
  }
  observer->source_bytes_read += source_bytes_read;
  // The run holds what its largest worker holds: budgets are a worker's.
  observer->memory_peak.store(std::max(observer->memory_peak.load(), memory_peak));
  observer->memory_limit.store(std::max(observer->memory_limit.load(), memory_limit));
  for (const auto& event : events) observer->Emit(event);
}

CountedSince CountedReader::Next() {
  CountedSince since;
  size_t index = 0;
  for (const auto& counters : observer_->steps()) {
    if (index == told_.size()) told_.push_back({.step = counters.step, .wait_ns = {}, .details = {}});
    auto& told = told_[index++];
    CountedSince::Step now{.step = counters.step,
                           .bytes_out = counters.bytes_out.load(),
                           .busy_ns = counters.busy_ns.load(),
                           .wait_ns = {},
                           .details = counters.Details()};
    CountedSince::Step news = now;
    news.bytes_out -= told.bytes_out;
    news.busy_ns -= told.busy_ns;
    for (size_t i = 0; i < now.wait_ns.size(); ++i) {
      now.wait_ns[i] = counters.wait_ns[i].load();
      news.wait_ns[i] = now.wait_ns[i] - told.wait_ns[i];
    }
    for (auto& [key, count] : news.details) {
      for (const auto& [known, before] : told.details) {
        if (known == key) count -= before;
      }
    }
    std::erase_if(news.details, [](const auto& detail) { return detail.second == 0; });
    told = std::move(now);
    const bool waited =
        std::any_of(news.wait_ns.begin(), news.wait_ns.end(), [](int64_t ns) { return ns != 0; });
    if (news.bytes_out != 0 || news.busy_ns != 0 || waited || !news.details.empty())
      since.steps.push_back(std::move(news));
  }
  const int64_t read = observer_->source_bytes_read.load();
  since.source_bytes_read = read - told_read_;
  told_read_ = read;
  since.memory_limit = observer_->memory_limit.load();
  for (auto& event : observer_->EventsSince(&events_)) {
    if (since.events.size() >= kMaxEventsToTell) break;
    if (event.kind == EventKind::kStall || event.kind == EventKind::kNotice)
      since.events.push_back(std::move(event));
  }
  return since;
}

std::string TaskReport::ToText() const {
  Json json = {{"end", EndToJson(end)}, {"counted", CountedToJson(counted)}};
  if (!place.at.empty()) json["place"] = {{"at", place.at}, {"root", place.root}};
  for (const auto& one : carried)
    json["carried"].push_back({one.output, one.file, arrow::util::base64_encode(one.taken)});
  return CanonicalJson(json);
}

Result<TaskReport> TaskReport::FromText(std::string_view text) {
  ARROW_ASSIGN_OR_RAISE(const Json json, ParseJson(text));
  TaskReport report;
  try {  // the accessors throw where a report has another layout: a worker of another build
    report.end = EndFromJson(json.at("end"));
    report.counted = CountedFromJson(json.at("counted"));
    if (json.contains("place")) {
      report.place = {json.at("place").at("at").get<std::string>(),
                      json.at("place").at("root").get<std::string>()};
    }
    for (const auto& one : json.value("carried", Json::array())) {
      ARROW_ASSIGN_OR_RAISE(auto taken, arrow::util::base64_decode(one.at(2).get<std::string>()));
      report.carried.push_back({one.at(0).get<int>(), one.at(1).get<size_t>(), std::move(taken)});
    }
    ARROW_RETURN_NOT_OK(StatusFromJson(json.at("end").at("status"), &report.end.status));
  } catch (const std::exception& error) {
    return BugError(std::string("a worker's report cannot be read: ") + error.what());
  }
  return report;
}

}  // namespace partita
