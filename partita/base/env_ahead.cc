#include "partita/base/env_ahead.h"

#include <arrow/buffer.h>
#include <arrow/io/interfaces.h>
#include <arrow/memory_pool.h>
#include <arrow/util/thread_pool.h>
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "partita/base/env.h"
#include "partita/base/env_direct.h"

namespace partita {
namespace {

constexpr int64_t kFirstWindowBytes = 64 << 10;
constexpr int64_t kMostWindowBytes = 512 << 10;
constexpr size_t kAhead = 8;  // windows on their way
constexpr size_t kPlaces = 8;
// A reader that jumps more often than it reads on is the page cache's.
constexpr int kMostMissed = 64;

int64_t ReadPages(int fd, uint8_t* out, int64_t nbytes, int64_t position) {
  int64_t done = 0;
  while (done < nbytes) {
    const ssize_t got = pread(fd, out + done, static_cast<size_t>(nbytes - done), position + done);
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    done += got;
    if (done % kDirectAlignment != 0) break;  // the end of the file
  }
  return done;
}

}  // namespace

std::unique_ptr<AheadReader> AheadReader::Make(int fd, const std::string& path, arrow::MemoryPool* pool) {
  if (!IsOnLocalDisk(fd)) return nullptr;
  const int direct = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_DIRECT);
  return direct < 0 ? nullptr : std::unique_ptr<AheadReader>(new AheadReader(direct, pool));
}

AheadReader::~AheadReader() {
  for (auto& place : places_) Drop(&place);
  close(fd_);
}

// The kernel writes to windows that are on their way.
void AheadReader::Drop(Place* place) {
  for (auto& window : place->windows) {
    if (window.got.valid()) window.got.wait();
  }
  place->windows.clear();
}

// A window at the end of the others. False: there is no memory for it, or the file cannot be read so.
bool AheadReader::Add(Place* place, int64_t begin, int64_t size_bytes, bool ahead) {
  auto memory = arrow::AllocateBuffer(size_bytes, kDirectAlignment, pool_);
  if (!memory.ok()) return false;
  Window window{begin, size_bytes, std::move(*memory), {}};
  auto promise = std::make_shared<std::promise<int64_t>>();
  const auto read = [promise, fd = fd_, out = window.memory->mutable_data(), size_bytes, begin] {
    promise->set_value(ReadPages(fd, out, size_bytes, begin));
  };
  window.got = promise->get_future();
  // A pool of threads that wait for disks, of the process.
  if (!ahead || !arrow::io::default_io_context().executor()->Spawn(read).ok()) read();
  place->windows.push_back(std::move(window));
  return true;
}

bool AheadReader::AddNext(Place* place, bool ahead) {
  if (place->next_bytes == 0 || !Add(place, place->windows.back().end(), place->next_bytes, ahead))
    return false;
  place->next_bytes = std::min(2 * place->next_bytes, kMostWindowBytes);
  return true;
}

AheadReader::Place* AheadReader::Find(int64_t position) {
  for (auto& place : places_) {
    if (place.windows.empty() || position < place.windows.front().begin) continue;
    const int64_t end = place.windows.back().end();
    if (position < end || (position == end && place.next_bytes > 0)) return &place;
  }
  return nullptr;
}

AheadReader::Place* AheadReader::Begin(int64_t position, int64_t nbytes) {
  Place* place = nullptr;
  if (places_.size() < kPlaces) {
    place = &places_.emplace_back();
  } else {
    place = &*std::min_element(places_.begin(), places_.end(),
                               [](const Place& a, const Place& b) { return a.used < b.used; });
    if (!place->was_followed) ++missed_;
    Drop(place);
  }
  const int64_t begin = position / kDirectAlignment * kDirectAlignment;
  const int64_t pages = (position + nbytes - begin + kDirectAlignment - 1) / kDirectAlignment;
  place->next_bytes = std::clamp(pages * kDirectAlignment, kDirectAlignment, kMostWindowBytes);
  place->was_followed = false;
  if (!Add(place, begin, place->next_bytes, /*ahead=*/false)) return nullptr;
  place->next_bytes = std::clamp(2 * place->next_bytes, kFirstWindowBytes, kMostWindowBytes);
  return place;
}

// From one window.
int64_t AheadReader::ReadWindow(int64_t position, int64_t nbytes, uint8_t* out) {
  Place* place = Find(position);
  const bool is_new = place == nullptr;
  if (is_new) place = Begin(position, nbytes);
  if (place == nullptr) return 0;
  place->used = ++uses_;
  auto& windows = place->windows;
  if (position == windows.back().end() && !AddNext(place, /*ahead=*/false)) return 0;
  while (position >= windows.front().end()) {
    if (windows.front().got.valid()) windows.front().got.wait();
    windows.pop_front();
  }
  Window& window = windows.front();
  if (window.got.valid()) {
    const int64_t wanted = window.size_bytes;
    window.size_bytes = window.got.get();
    // Nothing comes behind the end of the file, or an error; who asks for more hears of it elsewhere.
    if (window.size_bytes < wanted) {
      while (windows.size() > 1) {
        if (windows.back().got.valid()) windows.back().got.wait();
        windows.pop_back();
      }
      place->next_bytes = 0;
    }
  }
  const int64_t count = std::min(nbytes, window.end() - position);
  if (count <= 0) return 0;
  std::memcpy(out, window.memory->data() + (position - window.begin), static_cast<size_t>(count));
  place->was_followed = place->was_followed || !is_new;
  while (!is_new && windows.size() <= kAhead && AddNext(place, /*ahead=*/true)) {
  }
  return count;
}

int64_t AheadReader::ReadAt(int64_t position, int64_t nbytes, uint8_t* out) {
  const std::unique_lock lock(mutex_, std::try_to_lock);
  if (!lock.owns_lock() || missed_ > kMostMissed) return 0;
  int64_t done = 0;
  while (done < nbytes) {
    const int64_t count = ReadWindow(position + done, nbytes - done, out + done);
    if (count == 0) break;
    done += count;
  }
  if (missed_ > kMostMissed) {
    for (auto& place : places_) Drop(&place);
  }
  return done;
}

}  // namespace partita
