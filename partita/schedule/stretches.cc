#include "partita/schedule/stretches.h"

namespace partita {

void Stretches::Add(int64_t begin, int64_t end) { Put(begin, {end, /*led=*/false}); }

int64_t Stretches::Next() {
  while (!followers_.empty()) {
    const int64_t partition = followers_.front();
    followers_.pop_front();
    auto gap = gaps_.upper_bound(partition);
    if (gap == gaps_.begin() || (--gap)->second.end <= partition) continue;
    Take(gap, partition);
    return partition;
  }
  if (gaps_.empty()) return -1;
  const auto gap = gaps_.find(by_size_.begin()->second);
  const int64_t begin = gap->first;
  const int64_t partition = gap->second.led ? begin + (gap->second.end - begin) / 2 : begin;
  Take(gap, partition);
  return partition;
}

void Stretches::Put(int64_t begin, Gap gap) {
  if (begin >= gap.end) return;
  by_size_.emplace(begin - gap.end, begin);
  gaps_.emplace(begin, gap);
}

void Stretches::Take(Gaps::iterator gap, int64_t partition) {
  const int64_t begin = gap->first;
  const Gap whole = gap->second;
  by_size_.erase({begin - whole.end, begin});
  gaps_.erase(gap);
  Put(begin, {partition, whole.led});
  Put(partition + 1, {whole.end, /*led=*/true});
}

}  // namespace partita
