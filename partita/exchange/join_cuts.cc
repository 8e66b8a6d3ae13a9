#include "partita/exchange/join_cuts.h"

#include <algorithm>

namespace partita {
namespace {

using Wide = unsigned __int128;

// Of a key in a sample: fewer may be there by chance.
constexpr int64_t kLeastSampled = 16;
// What a key may be worth in bytes; as many keys as a sample shows are then worth less than 2^63 together.
constexpr uint64_t kMostWorth = uint64_t{1} << 53;

struct FrequentKey {
  uint64_t hash = 0;
  int64_t first = 0, count = 0;  // its rows in the sample
  bool of_right = false;         // in that of the right side; else of the left one
  uint64_t bytes = 0;            // of its rows of that side
  uint64_t worth = 0;            // the same with what they are joined to
};

// whole * part / of, of counts that are not negative.
uint64_t ShareOf(int64_t whole, int64_t part, int64_t of) {
  return static_cast<uint64_t>(static_cast<Wide>(whole) * static_cast<Wide>(part) / static_cast<Wide>(of));
}

// About how many right rows match a left one of this hash.
uint64_t MatchesOf(uint64_t hash, const JoinSample& right) {
  const auto less = [](const JoinSample::Row& row, uint64_t value) { return row.hash < value; };
  auto row = std::lower_bound(right.sampled.begin(), right.sampled.end(), hash, less);
  int64_t count = 0;
  for (; row != right.sampled.end() && row->hash == hash; ++row) count += row->has_null ? 0 : 1;
  if (count < kLeastSampled) return 0;
  return ShareOf(right.rows, count, static_cast<int64_t>(right.sampled.size()));
}

uint64_t BytesOfRow(const JoinSample& side) {
  return side.rows > 0 ? static_cast<uint64_t>(side.bytes / side.rows) : 0;
}

uint64_t WorthOf(const FrequentKey& key, const JoinSample& left, const JoinSample& right) {
  const auto rows = ShareOf(left.rows, key.count, static_cast<int64_t>(left.sampled.size()));
  const Wide pairs = static_cast<Wide>(rows) * MatchesOf(key.hash, right);
  if (pairs > kMostWorth) return kMostWorth;
  const Wide pair_bytes = static_cast<Wide>(BytesOfRow(left)) + BytesOfRow(right);
  return static_cast<uint64_t>(std::min<Wide>(key.bytes + pairs * pair_bytes, kMostWorth));
}

// Keys that the sample shows often, by hash.
std::vector<FrequentKey> KeysOf(const JoinSample& left, const JoinSample& right, bool gives_pairs) {
  std::vector<FrequentKey> keys;
  const auto sampled = static_cast<int64_t>(left.sampled.size());
  for (int64_t first = 0, end = 0; first < sampled; first = end) {
    const auto& row = left.sampled[static_cast<size_t>(first)];
    while (end < sampled && left.sampled[static_cast<size_t>(end)].hash == row.hash) ++end;
    // The last hash has none behind it, where another partition could begin.
    if (end - first < kLeastSampled || row.hash == UINT64_MAX) continue;
    FrequentKey key{row.hash, first, end - first};
    key.bytes = std::min(ShareOf(left.bytes, key.count, sampled), kMostWorth);
    key.worth = gives_pairs && !row.has_null ? WorthOf(key, left, right) : key.bytes;
    keys.push_back(key);
  }
  return keys;
}

// May the left side have a row or two of a key that its sample has so often?
bool MayBeFew(int64_t count, const JoinSample& left) {
  const auto sampled = std::ssize(left.sampled);
  return count > 0 ? static_cast<Wide>(count) * static_cast<Wide>(left.rows) <= 2 * static_cast<Wide>(sampled)
                   : sampled < left.rows;
}

// Keys that the right sample shows often, but of which the left side has a row or two, as far as is known.
void AddRightKeys(const JoinSample& left, const JoinSample& right, std::vector<FrequentKey>* keys) {
  const auto less = [](const JoinSample::Row& row, uint64_t value) { return row.hash < value; };
  const auto sampled = std::ssize(right.sampled);
  for (int64_t first = 0, end = 0; first < sampled; first = end) {
    const auto& row = right.sampled[static_cast<size_t>(first)];
    while (end < sampled && right.sampled[static_cast<size_t>(end)].hash == row.hash) ++end;
    if (end - first < kLeastSampled || row.hash == UINT64_MAX || row.has_null) continue;
    const auto of_left = std::lower_bound(left.sampled.begin(), left.sampled.end(), row.hash, less);
    const auto past = std::find_if(of_left, left.sampled.end(),
                                   [&](const JoinSample::Row& other) { return other.hash != row.hash; });
    if (!MayBeFew(past - of_left, left)) continue;
    FrequentKey key{row.hash, first, end - first, true};
    // A pair for each of its rows is what rows of other keys make, too.
    key.worth = key.bytes = std::min(ShareOf(right.bytes, key.count, sampled), kMostWorth);
    keys->push_back(key);
  }
  std::sort(keys->begin(), keys->end(),
            [](const FrequentKey& a, const FrequentKey& b) { return a.hash < b.hash; });
}

// What is not of these keys, spread evenly over the hash.
Wide EvenBytes(const std::vector<FrequentKey>& keys, const JoinSample& left, const JoinSample& right) {
  Wide bytes = static_cast<Wide>(left.bytes) + static_cast<Wide>(right.bytes);
  for (const auto& key : keys) bytes -= std::min<Wide>(bytes, key.bytes);
  return std::clamp<Wide>(bytes, 1, Wide{1} << 62);
}

Wide WorthOfAll(const std::vector<FrequentKey>& keys) {
  Wide worth = 0;
  for (const auto& key : keys) worth += key.worth;
  return worth;
}

}  // namespace

std::vector<JoinCut> CutsOfJoin(const JoinSample& left, const JoinSample& right, bool gives_pairs,
                                int64_t partitions) {
  const auto parts = static_cast<Wide>(std::max<int64_t>(partitions, 1));
  std::vector<FrequentKey> keys;
  if (partitions > 1) keys = KeysOf(left, right, gives_pairs);
  if (partitions > 1 && gives_pairs) AddRightKeys(left, right, &keys);
  const Wide seen = EvenBytes(keys, left, right) + WorthOfAll(keys);
  std::erase_if(keys, [&](const FrequentKey& key) { return 2 * parts * key.worth < seen; });
  const Wide even = EvenBytes(keys, left, right), all = even + WorthOfAll(keys);

  std::vector<JoinCut> cuts;
  size_t k = 0;     // the first key that does not end before the cut
  Wide before = 0;  // what the keys before it are worth
  for (Wide p = 1; p < parts; ++p) {
    if (keys.empty()) {  // exactly so, whatever the bytes
      cuts.push_back({static_cast<uint64_t>((p << 64) / parts)});
      continue;
    }
    const Wide target = all * p / parts;
    const auto begin_of = [&](const FrequentKey& key) { return ((even * key.hash) >> 64) + before; };
    while (k < keys.size() && target >= begin_of(keys[k]) + keys[k].worth) before += keys[k++].worth;
    if (k < keys.size() && target >= begin_of(keys[k])) {
      const auto& key = keys[k];
      const auto at =
          static_cast<int64_t>((target - begin_of(key)) * static_cast<Wide>(key.count) / key.worth);
      // No partition ends before the first hash.
      const int64_t row = std::max<int64_t>(at, key.hash == 0 ? 1 : 0);
      cuts.push_back(row > 0 ? JoinCut{key.hash, key.first + row, key.of_right} : JoinCut{key.hash});
      continue;
    }
    const Wide least = k > 0 ? static_cast<Wide>(keys[k - 1].hash) + 1 : Wide{1};
    const Wide most = k < keys.size() ? keys[k].hash : UINT64_MAX;
    const Wide at = ((target - std::min(target, before)) << 64) / even;
    cuts.push_back({static_cast<uint64_t>(std::max(least, std::min(at, most)))});
  }
  return cuts;
}

}  // namespace partita
