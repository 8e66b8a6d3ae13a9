#include "partita/dataset/commit_log.h"

#include <arrow/buffer.h>
#include <arrow/io/interfaces.h>

#include <charconv>
#include <cstdio>

#include "partita/base/digest.h"
#include "partita/base/json.h"

namespace partita {
namespace {

std::string ToLine(const TaskCommit& commit) {
  Json outputs = Json::array();
  for (const auto& output : commit.outputs) {
    Json files = Json::array();
    for (const auto& file : output.files) files.push_back({file.path, file.rows, file.size_bytes});
    Json entry = {{"o", output.output}, {"d", output.dataset}, {"r", output.rows}, {"f", std::move(files)}};
    if (output.bytes > 0) entry["b"] = output.bytes;
    outputs.push_back(std::move(entry));
  }
  Json steps = Json::array();
  for (const auto& s : commit.steps) steps.push_back({s.rows_in, s.rows_out, s.skipped, s.quarantined});
  Json line = {
      {"s", commit.stage}, {"p", commit.partition}, {"out", std::move(outputs)}, {"steps", std::move(steps)}};
  if (!commit.dropped.empty()) {
    Json dropped = Json::array();
    for (const auto& d : commit.dropped) dropped.push_back({d.stage, d.partition, d.output});
    line["drop"] = std::move(dropped);
  }
  const std::string body = CanonicalJson(line);
  char head[24];
  std::snprintf(head, sizeof head, "%016llx ",
                static_cast<unsigned long long>(Checksum64(body.data(), static_cast<int64_t>(body.size()))));
  return head + body + "\n";
}

// False for a line that is torn or damaged.
bool ParseLine(std::string_view line, TaskCommit* out) {
  if (line.size() < 18 || line[16] != ' ') return false;
  uint64_t sum = 0;
  auto [end, ec] = std::from_chars(line.data(), line.data() + 16, sum, 16);
  if (ec != std::errc() || end != line.data() + 16) return false;
  const auto body = line.substr(17);
  if (Checksum64(body.data(), static_cast<int64_t>(body.size())) != sum) return false;
  auto parsed = ParseJson(body);
  if (!parsed.ok()) return false;
  const Json& json = *parsed;
  try {  // the checksum held, so this is our own text; the accessors throw only on another version's layout
    out->stage = json.at("s").get<int>();
    out->partition = json.at("p").get<int64_t>();
    for (const auto& o : json.at("out")) {
      CommittedOutput output{.output = o.at("o").get<int>(),
                             .dataset = o.at("d").get<int>(),
                             .rows = o.at("r").get<int64_t>(),
                             .files = {},
                             .bytes = o.value("b", int64_t{0})};
      for (const auto& f : o.at("f")) {
        output.files.push_back({f.at(0).get<std::string>(), f.at(1).get<int64_t>(), f.at(2).get<int64_t>()});
      }
      out->outputs.push_back(std::move(output));
    }
    for (const auto& s : json.at("steps")) {
      out->steps.push_back(
          {s.at(0).get<int64_t>(), s.at(1).get<int64_t>(), s.at(2).get<int64_t>(), s.at(3).get<int64_t>()});
    }
    if (json.contains("drop")) {
      for (const auto& d : json.at("drop")) {
        out->dropped.push_back({d.at(0).get<int>(), d.at(1).get<int64_t>(), d.at(2).get<int>()});
      }
    }
  } catch (const std::exception&) {
    return false;
  }
  return true;
}

}  // namespace

Result<std::unique_ptr<CommitLog>> CommitLog::Open(Env* env, const std::string& path) {
  auto log = std::make_unique<CommitLog>();
  ARROW_ASSIGN_OR_RAISE(auto status, env->Stat(path));
  bool torn = false;
  if (status.exists) {
    ARROW_ASSIGN_OR_RAISE(auto text, ReadSmallFile(env, path, int64_t{4} << 30));
    std::string_view rest = text;
    while (!rest.empty()) {
      const auto newline = rest.find('\n');
      TaskCommit commit;
      // A last line that lacks nothing but its end is whole: the checksum says so, now and when it is read again.
      if (ParseLine(rest.substr(0, newline), &commit)) log->Apply(std::move(commit));
      if (newline == std::string_view::npos) {
        torn = true;
        break;
      }
      rest.remove_prefix(newline + 1);
    }
  }
  ARROW_ASSIGN_OR_RAISE(log->stream_, env->OpenAppend(path));
  if (torn) ARROW_RETURN_NOT_OK(log->stream_->Write("\n", 1));
  return log;
}

std::unique_ptr<CommitLog> CommitLog::InMemory() { return std::make_unique<CommitLog>(); }

Status CommitLog::Append(TaskCommit commit) {
  const std::string line = stream_ ? ToLine(commit) : std::string();
  std::lock_guard lock(mutex_);
  if (stream_) {
    // Part of a line that did not fit on the disk must not swallow the next one.
    if (torn_) ARROW_RETURN_NOT_OK(stream_->Write("\n", 1));
    const Status written = stream_->Write(line.data(), static_cast<int64_t>(line.size()));
    torn_ = !written.ok();
    ARROW_RETURN_NOT_OK(written);
  }
  Apply(std::move(commit));
  return Status::OK();
}

void CommitLog::Apply(TaskCommit commit) {
  for (const auto& d : commit.dropped) {
    auto it = commits_.find({d.stage, d.partition});
    if (it != commits_.end())
      std::erase_if(it->second.outputs, [&](const auto& o) { return o.output == d.output; });
  }
  const Key key{commit.stage, commit.partition};
  commits_[key] = std::move(commit);
}

void CommitLog::Drop(const Key& key) {
  std::lock_guard lock(mutex_);
  commits_.erase(key);
}

bool CommitLog::Contains(int stage, int64_t partition) const {
  std::lock_guard lock(mutex_);
  return commits_.contains({stage, partition});
}

std::vector<TaskCommit> CommitLog::OfStage(int stage) const {
  std::lock_guard lock(mutex_);
  std::vector<TaskCommit> result;
  for (auto it = commits_.lower_bound({stage, 0}); it != commits_.end() && it->first.first == stage; ++it) {
    result.push_back(it->second);
  }
  return result;
}

}  // namespace partita
