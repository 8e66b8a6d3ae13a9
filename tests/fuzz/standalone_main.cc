// main() of a fuzz program where the compiler brings no fuzzer of its own (GCC): runs every file of the
// corpus, then mutations of them for a while. It knows nothing of coverage; clang's -fsanitize=fuzzer does,
// and takes its place there.
//
//   csv_fuzz [-seconds=N] [-seed=N] [-max_len=N] FILE|FOLDER ...
//
// An input that crashes, aborts or takes longer than 20 s is left in crash-<program> and named.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <string>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace {

constexpr unsigned kSlowSeconds = 20;

std::string current;     // the input under test, for the handlers below
std::string crash_path;  // made before anything can crash

// Called in the middle of a crash: system calls only.
void KeepInput() {
  const int fd = open(crash_path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0) return;
  for (size_t at = 0; at < current.size();) {
    const ssize_t put = write(fd, current.data() + at, current.size() - at);
    if (put <= 0) break;
    at += static_cast<size_t>(put);
  }
  close(fd);
  constexpr char kText[] = "the input is in ";
  (void)!write(2, kText, sizeof kText - 1);
  (void)!write(2, crash_path.data(), crash_path.size());
  (void)!write(2, "\n", 1);
}

void OnSignal(int number) {
  if (number == SIGALRM) {
    constexpr char kText[] = "an input takes too long\n";
    (void)!write(2, kText, sizeof kText - 1);
  }
  KeepInput();
  signal(number == SIGALRM ? SIGABRT : number, SIG_DFL);
  raise(number == SIGALRM ? SIGABRT : number);
}

void RunOne() {
  alarm(kSlowSeconds);
  // A copy of exactly its size, so that a read behind its end is seen.
  const std::vector<uint8_t> copy(current.begin(), current.end());
  LLVMFuzzerTestOneInput(copy.data(), copy.size());
}

class Mutator {
 public:
  Mutator(uint64_t seed, size_t max_bytes, const std::vector<std::string>& corpus)
      : random_(seed), max_bytes_(max_bytes), corpus_(corpus) {}

  std::string Next() {
    std::string text = corpus_.empty() ? std::string() : corpus_[Below(corpus_.size())];
    for (size_t left = 1 + Below(6); left > 0; --left) Change(&text);
    if (text.size() > max_bytes_) text.resize(max_bytes_);
    return text;
  }

 private:
  size_t Below(size_t bound) { return bound == 0 ? 0 : random_() % bound; }

  void Change(std::string* text) {
    static constexpr std::string_view kTokens =
        "\",\\\n\r{}[]()<>:;=|*?!#%&@'`/0123456789-+.eENatrufls \t\xEF\xBB\xBF\x80\xFF";
    const size_t at = Below(text->size() + 1);
    switch (Below(9)) {
      case 0:
        if (at < text->size()) (*text)[at] ^= static_cast<char>(1 << Below(8));
        break;
      case 1:
        if (at < text->size()) (*text)[at] = static_cast<char>(random_());
        break;
      case 2:
        text->insert(at, 1, kTokens[Below(kTokens.size())]);
        break;
      case 3:
        if (at < text->size()) (*text)[at] = kTokens[Below(kTokens.size())];
        break;
      case 4:
        text->erase(at, 1 + Below(Below(2) ? 8 : text->size() / 2 + 1));
        break;
      case 5:  // a piece of itself once more
        if (!text->empty()) {
          const size_t from = Below(text->size());
          text->insert(at, text->substr(from, 1 + Below(64)));
        }
        break;
      case 6:  // a piece of another
        if (!corpus_.empty()) {
          const std::string& other = corpus_[Below(corpus_.size())];
          text->insert(at, other.substr(Below(other.size() + 1), 1 + Below(256)));
        }
        break;
      case 7:
        if (Below(4) == 0) text->resize(at);
        break;
      case 8: {  // a number that lengths, counts and offsets must not be believed to be
        static constexpr int64_t kNumbers[] = {
            0,     1,     -1,        127,       128,       255,       256,       32767,      32768,
            65535, 65536, INT32_MAX, INT32_MIN, 1LL << 32, INT64_MAX, INT64_MIN, 0x7FFFFFFE, 1000000};
        const int64_t number = kNumbers[Below(std::size(kNumbers))];
        const size_t bytes = size_t{1} << Below(4);
        if (Below(4) == 0) {
          text->insert(at, std::to_string(number));
        } else if (at + bytes <= text->size()) {
          char raw[8];
          std::memcpy(raw, &number, sizeof raw);
          if (Below(2) == 0) std::reverse(raw, raw + bytes);  // big endian
          text->replace(at, bytes, raw, bytes);
        }
        break;
      }
    }
  }

  std::mt19937_64 random_;
  const size_t max_bytes_;
  const std::vector<std::string>& corpus_;
};

void Load(const std::filesystem::path& path, std::vector<std::string>* corpus) {
  if (std::filesystem::is_directory(path)) {
    std::vector<std::filesystem::path> files;
    for (const auto& entry : std::filesystem::directory_iterator(path)) files.push_back(entry.path());
    std::sort(files.begin(), files.end());
    for (const auto& file : files) Load(file, corpus);
    return;
  }
  std::ifstream stream(path, std::ios::binary);
  if (!stream) {
    std::fprintf(stderr, "cannot read %s\n", path.c_str());
    std::exit(2);
  }
  corpus->emplace_back(std::istreambuf_iterator<char>(stream), std::istreambuf_iterator<char>());
}

}  // namespace

int main(int argc, char** argv) {
  double seconds = 0;
  uint64_t seed = 1;
  size_t max_bytes = 1 << 16;
  std::vector<std::string> corpus;
  const std::string program = std::filesystem::path(argv[0]).filename().string();
  crash_path = "crash-" + program;
  for (int i = 1; i < argc; ++i) {
    const std::string_view arg = argv[i];
    if (arg.starts_with("-seconds=")) {
      seconds = std::atof(argv[i] + 9);
    } else if (arg.starts_with("-seed=")) {
      seed = std::strtoull(argv[i] + 6, nullptr, 10);
    } else if (arg.starts_with("-max_len=")) {
      max_bytes = std::strtoull(argv[i] + 9, nullptr, 10);
    } else {
      Load(argv[i], &corpus);
    }
  }
#if defined(__SANITIZE_ADDRESS__)
  __sanitizer_set_death_callback(KeepInput);
#endif
  signal(SIGABRT, OnSignal);
  signal(SIGALRM, OnSignal);
  for (const auto& input : corpus) {
    current = input;
    RunOne();
  }
  Mutator mutator(seed, max_bytes, corpus);
  int64_t runs = 0;
  const auto started = std::chrono::steady_clock::now();
  while (std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count() < seconds) {
    current = mutator.Next();
    RunOne();
    ++runs;
  }
  alarm(0);
  std::printf("%s: %zu files and %lld mutations of them, seed %llu\n", program.c_str(), corpus.size(),
              static_cast<long long>(runs), static_cast<unsigned long long>(seed));
  return 0;
}
