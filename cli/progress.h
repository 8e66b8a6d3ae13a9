// The live progress of a run on stderr: an in-place display on a terminal, a plain line every few seconds
// elsewhere. Stalls, retries and notices are printed as they come. Driven by the run's poll, from the thread
// that runs it: no thread of its own.
#pragma once

#include <deque>
#include <string>
#include <vector>

#include "cli/progress_text.h"
#include "partita/base/env.h"

namespace partita::cli {

class Progress {
 public:
  // Quiet prints nothing. The observer must outlive this.
  Progress(const Observer* observer, Env* env, bool quiet);
  ~Progress();  // takes the display away
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  void SetFacts(ProgressFacts facts) { facts_ = std::move(facts); }
  // Called often; draws when it is time.
  void Poll();
  // Prints the last events and takes the display away.
  void Finish();
  double seconds() const;

 private:
  void PrintEvents(std::string* out);
  void Draw(std::string* out);
  void Erase(std::string* out);

  const Observer* observer_;
  Env* env_;
  bool quiet_, terminal_;
  ProgressFacts facts_;
  int64_t started_ns_;
  double next_seconds_;
  size_t cursor_ = 0;                   // of the observer's events
  size_t lines_drawn_ = 0;              // on the terminal, above the cursor
  std::deque<ProgressSample> samples_;  // of the last seconds; the front is what rates are over
  ProgressSample first_;
  bool has_first_ = false;
};

}  // namespace partita::cli
