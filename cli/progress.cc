#include "cli/progress.h"

#include <algorithm>
#include <cstdio>

#include "cli/terminal.h"

namespace partita::cli {
namespace {

constexpr double kRefreshSeconds = 0.1;
constexpr double kLineSeconds = 5;
constexpr double kRateSeconds = 3;  // rates are over about so long
constexpr size_t kMaxEventBytes = 2000;

std::string EventText(const Event& event) {
  std::string text(EventKindName(event.kind));
  if (!event.step.empty()) text += " in step '" + event.step + "'";
  if (event.stage >= 0)
    text += " (stage " + std::to_string(event.stage) + ", partition " + std::to_string(event.partition) + ")";
  return text + ": " + event.message.substr(0, kMaxEventBytes);
}

}  // namespace

Progress::Progress(const Observer* observer, Env* env, bool quiet)
    : observer_(observer),
      env_(env),
      quiet_(quiet),
      terminal_(!quiet && IsLiveTerminal(stderr)),
      started_ns_(env->MonotonicNanos()),
      next_seconds_(terminal_ ? kRefreshSeconds : kLineSeconds) {}

Progress::~Progress() { Finish(); }

double Progress::seconds() const { return static_cast<double>(env_->MonotonicNanos() - started_ns_) * 1e-9; }

void Progress::Poll() {
  if (quiet_) return;
  const double now = seconds();
  if (!has_first_) {
    first_ = Sample(*observer_, now);
    has_first_ = true;
    samples_.push_back(first_);
  }
  std::string out;
  PrintEvents(&out);
  if (now >= next_seconds_) {
    next_seconds_ = now + (terminal_ ? kRefreshSeconds : kLineSeconds);
    samples_.push_back(Sample(*observer_, now));
    while (samples_.size() > 2 &&
           samples_[1].seconds <= now - (terminal_ ? kRateSeconds : 0.9 * kLineSeconds))
      samples_.pop_front();
    Draw(&out);
  } else if (!out.empty() && terminal_ && samples_.size() > 1) {
    Draw(&out);  // below what was printed
  }
  if (!out.empty()) std::fwrite(out.data(), 1, out.size(), stderr);
}

void Progress::Finish() {
  std::string out;
  if (!quiet_) PrintEvents(&out);
  Erase(&out);
  if (!out.empty()) std::fwrite(out.data(), 1, out.size(), stderr);
}

void Progress::PrintEvents(std::string* out) {
  for (const auto& event : observer_->EventsSince(&cursor_)) {
    const bool told = event.kind == EventKind::kStall || event.kind == EventKind::kTaskRetried ||
                      event.kind == EventKind::kNotice;
    if (!told) continue;
    Erase(out);
    *out += EventText(event) + "\n";
  }
}

void Progress::Erase(std::string* out) {
  if (lines_drawn_ == 0) return;
  *out += "\x1b[" + std::to_string(lines_drawn_) + "A\r\x1b[J";
  lines_drawn_ = 0;
}

void Progress::Draw(std::string* out) {
  if (!terminal_) {
    *out += ProgressLine(samples_.back(), samples_.front(), first_, facts_) + "\n";
    return;
  }
  const TerminalSize size = SizeOf(stderr);
  const auto lines = ProgressLines(samples_.back(), samples_.front(), first_, facts_, size.width - 1,
                                   std::max<size_t>(size.height, 5) - 1);
  // Over the old lines, then away with what is left of them: no flicker.
  if (lines_drawn_ > 0) *out += "\x1b[" + std::to_string(lines_drawn_) + "A\r";
  for (const auto& line : lines) *out += line + "\x1b[K\n";
  *out += "\x1b[J";
  lines_drawn_ = lines.size();
}

}  // namespace partita::cli
