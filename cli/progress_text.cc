#include "cli/progress_text.h"

#include <algorithm>
#include <cmath>

#include "cli/table.h"
#include "partita/base/units.h"

namespace partita::cli {
namespace {

constexpr double kLeastSeconds = 1.0;    // before that a pace says nothing
constexpr double kLeastFraction = 0.01;  // of the work, likewise
constexpr int64_t kManyTasks = 20;  // then tasks measure progress; else rows do where their number is known
constexpr size_t kMaxStepName = 28;

int64_t Load(const std::atomic<int64_t>& counter) { return counter.load(std::memory_order_relaxed); }

std::string Rate(int64_t amount, double seconds) {
  if (seconds <= 0) return "0";
  return FormatCount(
      static_cast<int64_t>(std::llround(static_cast<double>(std::max<int64_t>(0, amount)) / seconds)));
}

std::string BytesRate(int64_t bytes, double seconds) {
  if (seconds <= 0) return "0 B/s";
  return FormatBytes(static_cast<int64_t>(static_cast<double>(std::max<int64_t>(0, bytes)) / seconds)) + "/s";
}

std::string Percent(int64_t ns, double seconds, int threads) {
  if (seconds <= 0) return "0 %";
  const double share = static_cast<double>(ns) / (seconds * 1e9 * std::max(1, threads));
  return std::to_string(static_cast<int>(std::lround(100 * std::clamp(share, 0.0, 1.0)))) + " %";
}

const StepSample& StepBefore(const ProgressSample& before, size_t i) {
  static const StepSample kNothing;
  return i < before.steps.size() ? before.steps[i] : kNothing;
}

// The part of the work that is done, 0 to 1; negative: unknown.
double Fraction(const ProgressSample& sample, const ProgressFacts& facts) {
  if (facts.source_rows > 0 && sample.tasks_total < kManyTasks) {
    int64_t rows = 0;
    for (const auto& step : sample.steps) {
      const auto& sources = facts.source_steps;
      if (std::find(sources.begin(), sources.end(), step.step) != sources.end()) rows += step.rows_out;
    }
    return std::min(1.0, static_cast<double>(rows) / static_cast<double>(facts.source_rows));
  }
  if (sample.tasks_total <= 0) return -1;
  return static_cast<double>(sample.tasks_done) / static_cast<double>(sample.tasks_total);
}

// A guess is told without fractions.
std::string AboutSeconds(double seconds) {
  return seconds < 60 ? std::to_string(std::lround(std::ceil(seconds))) + " s"
                      : FormatSeconds(std::round(seconds));
}

std::string BottomText(const ProgressSample& now, const ProgressSample& before, const ProgressSample& first,
                       const ProgressFacts& facts) {
  std::string text = "tasks " + FormatCount(now.tasks_done) + "/" + FormatCount(now.tasks_total);
  if (now.tasks_resumed > 0) text += " (" + FormatCount(now.tasks_resumed) + " from before)";
  text += " | " + FormatSeconds(std::floor(now.seconds * 10) / 10);
  const double left = SecondsLeft(now, first, facts);
  if (left >= 0) text += " | about " + AboutSeconds(left) + " left";
  text += " | memory " + FormatBytes(now.memory_used) + " of " + FormatBytes(now.memory_limit);
  text +=
      " | read " + BytesRate(now.source_bytes_read - before.source_bytes_read, now.seconds - before.seconds);
  if (now.wait != WaitReason::kNone) text += " | waits: " + std::string(WaitReasonName(now.wait));
  return text;
}

std::string SkippedText(const StepSample& step) {
  std::string text;
  if (step.rows_skipped > 0) text = FormatCount(step.rows_skipped) + " skipped";
  if (step.rows_quarantined > 0)
    text += (text.empty() ? "" : ", ") + FormatCount(step.rows_quarantined) + " quarantined";
  return text;
}

}  // namespace

ProgressSample Sample(const Observer& observer, double seconds) {
  ProgressSample sample;
  sample.seconds = seconds;
  for (const auto& counters : observer.steps()) {
    StepSample step;
    step.step = counters.step;
    step.op = counters.op;
    step.rows_in = Load(counters.rows_in);
    step.rows_out = Load(counters.rows_out);
    step.bytes_out = Load(counters.bytes_out);
    step.rows_skipped = Load(counters.rows_skipped);
    step.rows_quarantined = Load(counters.rows_quarantined);
    step.busy_ns = Load(counters.busy_ns);
    for (size_t i = 0; i < step.wait_ns.size(); ++i) step.wait_ns[i] = Load(counters.wait_ns[i]);
    sample.steps.push_back(std::move(step));
  }
  sample.tasks_total = Load(observer.tasks_total);
  sample.tasks_done = Load(observer.tasks_done);
  sample.tasks_resumed = Load(observer.tasks_resumed);
  sample.memory_used = Load(observer.memory_used);
  sample.memory_limit = Load(observer.memory_limit);
  sample.source_bytes_read = Load(observer.source_bytes_read);
  sample.wait = static_cast<WaitReason>(observer.current_wait.load(std::memory_order_relaxed));
  return sample;
}

std::string WaitText(const StepSample& now, const StepSample& before, double seconds, int threads) {
  size_t longest = 0;
  const auto waited = [&](size_t i) { return now.wait_ns[i] - before.wait_ns[i]; };
  for (size_t i = 1; i < now.wait_ns.size(); ++i) {
    if (longest == 0 || waited(i) > waited(longest)) longest = i;
  }
  const double share =
      seconds <= 0 ? 0 : static_cast<double>(waited(longest)) / (seconds * 1e9 * std::max(1, threads));
  if (share < 0.01) return "";
  return std::string(WaitReasonName(static_cast<WaitReason>(longest))) + " " +
         Percent(waited(longest), seconds, threads);
}

double SecondsLeft(const ProgressSample& now, const ProgressSample& first, const ProgressFacts& facts) {
  const double begin = Fraction(first, facts), end = Fraction(now, facts);
  const double seconds = now.seconds - first.seconds;
  if (begin < 0 || seconds < kLeastSeconds || end - begin < kLeastFraction) return -1;
  return seconds * (1 - end) / (end - begin);
}

std::vector<std::string> ProgressLines(const ProgressSample& now, const ProgressSample& before,
                                       const ProgressSample& first, const ProgressFacts& facts, size_t width,
                                       size_t height) {
  const double seconds = now.seconds - before.seconds;
  TextTable table;
  table.columns = {{"step", false}, {"rows out", true},   {"rows/s", true},   {"bytes", true},
                   {"busy", true},  {"waits for", false}, {"bad rows", false}};
  const size_t most_steps = height > 4 ? height - 3 : 1;  // header, rule and bottom line
  const bool cut = now.steps.size() > most_steps;
  const size_t top = cut ? most_steps / 2 : now.steps.size();
  const size_t bottom =
      cut ? now.steps.size() - (most_steps - top - (most_steps > 1 ? 1 : 0)) : now.steps.size();
  for (size_t i = 0; i < now.steps.size(); ++i) {
    if (cut && i >= top && i < bottom) {
      if (i == top && most_steps > 1) {
        table.rows.push_back({"… " + std::to_string(bottom - top) + " more steps", "", "", "", "", "", ""});
      }
      continue;
    }
    const auto& step = now.steps[i];
    const auto& old = StepBefore(before, i);
    table.rows.push_back({Ellipsize(step.step, kMaxStepName), FormatCount(step.rows_out),
                          Rate(step.rows_out - old.rows_out, seconds), FormatBytes(step.bytes_out),
                          Percent(step.busy_ns - old.busy_ns, seconds, facts.threads),
                          WaitText(step, old, seconds, facts.threads), SkippedText(step)});
  }
  std::vector<std::string> lines;
  const std::string text = table.Render(0);
  for (size_t begin = 0; begin < text.size();) {
    const size_t end = text.find('\n', begin);
    lines.push_back(Ellipsize(text.substr(begin, end - begin), width));
    begin = end + 1;
  }
  lines.push_back(Ellipsize(BottomText(now, before, first, facts), width));
  return lines;
}

std::string ProgressLine(const ProgressSample& now, const ProgressSample& before, const ProgressSample& first,
                         const ProgressFacts& facts) {
  const double seconds = now.seconds - before.seconds;
  std::string text = BottomText(now, before, first, facts);
  int64_t skipped = 0, quarantined = 0;
  for (const auto& step : now.steps) {
    skipped += step.rows_skipped;
    quarantined += step.rows_quarantined;
  }
  if (!now.steps.empty()) {
    const auto& last = now.steps.back();
    text += " | " + last.step + ": " + FormatCount(last.rows_out) + " rows, " +
            Rate(last.rows_out - StepBefore(before, now.steps.size() - 1).rows_out, seconds) + " rows/s";
  }
  if (skipped > 0) text += " | " + FormatCount(skipped) + " skipped";
  if (quarantined > 0) text += " | " + FormatCount(quarantined) + " quarantined";
  return text;
}

}  // namespace partita::cli
