#include "partita/base/env_limits.h"

#include <fcntl.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <optional>
#include <string_view>
#include <vector>

#include "partita/base/env_errno.h"

namespace partita {
namespace {

// Kernels before cgroup v2 write "no limit" as the largest page-rounded number.
constexpr int64_t kNoLimit = int64_t{1} << 60;

// The whole of a /proc or cgroup file, or nothing.
std::optional<std::string> ReadText(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return std::nullopt;
  std::string text;
  char chunk[4096];
  for (;;) {
    const ssize_t got = read(fd, chunk, sizeof(chunk));
    if (got < 0 && errno == EINTR) continue;
    if (got <= 0) break;
    text.append(chunk, static_cast<size_t>(got));
  }
  close(fd);
  return text;
}

std::vector<std::string_view> Split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (;;) {
    const size_t end = text.find(separator);
    parts.push_back(text.substr(0, end));
    if (end == std::string_view::npos) return parts;
    text.remove_prefix(end + 1);
  }
}

std::optional<int64_t> ParseNumber(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  int64_t value = 0;
  const auto end = std::from_chars(text.data(), text.data() + text.size(), value);
  if (end.ec != std::errc()) return std::nullopt;
  return value;
}

std::optional<int64_t> ReadNumber(const std::string& path) {
  const auto text = ReadText(path);
  return text ? ParseNumber(*text) : std::nullopt;  // "max" is no number
}

// The number behind `key` at the start of a line: "MemTotal:  16384 kB", "inactive_file 4096".
std::optional<int64_t> FindNumber(std::string_view text, std::string_view key) {
  for (const std::string_view line : Split(text, '\n')) {
    if (line.substr(0, key.size()) == key) return ParseNumber(line.substr(key.size()));
  }
  return std::nullopt;
}

// Where one hierarchy is mounted, and where in it this process is.
struct Cgroup {
  std::string mount;      // with the test root
  std::string directory;  // of the process; starts with `mount`
};

bool HasWord(std::string_view list, std::string_view word) {
  const auto words = Split(list, ',');
  return std::find(words.begin(), words.end(), word) != words.end();
}

// The process's path in the hierarchy of `controller` ("" = v2) from /proc/self/cgroup: "4:memory:/a/b",
// "0::/a".
std::optional<std::string> CgroupPath(std::string_view self_cgroup, std::string_view controller) {
  for (const std::string_view line : Split(self_cgroup, '\n')) {
    const size_t first = line.find(':');
    if (first == std::string_view::npos) continue;
    const size_t second = line.find(':', first + 1);
    if (second == std::string_view::npos) continue;
    const std::string_view controllers = line.substr(first + 1, second - first - 1);
    if (controller.empty() ? line.substr(0, 3) == "0::" : HasWord(controllers, controller)) {
      return std::string(line.substr(second + 1));
    }
  }
  return std::nullopt;
}

// Finds the mount in /proc/self/mountinfo: "36 35 0:30 <root> <mount point> options ... - <type> <source>
// <super options>".
std::optional<Cgroup> FindCgroup(const std::string& root, std::string_view mountinfo,
                                 std::string_view self_cgroup, std::string_view controller) {
  const auto path = CgroupPath(self_cgroup, controller);
  if (!path) return std::nullopt;
  for (const std::string_view line : Split(mountinfo, '\n')) {
    const size_t dash = line.find(" - ");
    if (dash == std::string_view::npos) continue;
    const auto before = Split(line.substr(0, dash), ' ');
    const auto after = Split(line.substr(dash + 3), ' ');
    if (before.size() < 5 || after.size() < 3) continue;
    const bool fits =
        controller.empty() ? after[0] == "cgroup2" : after[0] == "cgroup" && HasWord(after[2], controller);
    if (!fits) continue;
    Cgroup cgroup;
    cgroup.mount = root + std::string(before[4]);
    cgroup.directory = cgroup.mount;
    // In a container the mount shows only a part of the hierarchy; a path outside it cannot be seen.
    std::string_view below = *path;
    const std::string_view shown = before[3] == "/" ? std::string_view() : before[3];
    const bool visible =
        below.substr(0, shown.size()) == shown && below.find("/..") == std::string_view::npos;
    below = visible ? below.substr(shown.size()) : std::string_view();
    if (below.size() > 1 && below.front() == '/') cgroup.directory += below;
    return cgroup;
  }
  return std::nullopt;
}

// The directory of the process and those above it, up to the mount.
std::vector<std::string> Levels(const Cgroup& cgroup) {
  std::vector<std::string> levels;
  std::string directory = cgroup.directory;
  while (directory.size() > cgroup.mount.size()) {
    levels.push_back(directory);
    directory.resize(directory.rfind('/'));
  }
  levels.push_back(cgroup.mount);
  return levels;
}

void TakeLimit(int64_t limit, int64_t used, MachineLimits* limits) {
  if (limit <= 0 || limit >= kNoLimit) return;
  if (limits->cgroup_limit_bytes != 0 && limits->cgroup_limit_bytes <= limit) return;
  limits->cgroup_limit_bytes = limit;
  limits->cgroup_used_bytes = std::max<int64_t>(0, used);
}

void ReadMemoryV1(const Cgroup& cgroup, MachineLimits* limits) {
  bool lowest = true;
  for (const std::string& level : Levels(cgroup)) {
    const auto limit = ReadNumber(level + "/memory.limit_in_bytes");
    if (!limit || (*limit >= kNoLimit && !lowest)) continue;  // the kernel counts long for these files
    const std::string stat = ReadText(level + "/memory.stat").value_or("");
    const int64_t cache = FindNumber(stat, "total_inactive_file ").value_or(0) +
                          FindNumber(stat, "total_active_file ").value_or(0);
    const int64_t used = ReadNumber(level + "/memory.usage_in_bytes").value_or(0) - cache;
    TakeLimit(*limit, used, limits);
    // The lowest level also tells of limits above the part of the hierarchy that a container sees.
    TakeLimit(FindNumber(stat, "hierarchical_memory_limit ").value_or(kNoLimit), used, limits);
    lowest = false;
  }
}

void ReadMemoryV2(const Cgroup& cgroup, MachineLimits* limits) {
  for (const std::string& level : Levels(cgroup)) {
    // Above memory.high the kernel stalls the process: nobody means to live there.
    const int64_t limit = std::min(ReadNumber(level + "/memory.max").value_or(kNoLimit),
                                   ReadNumber(level + "/memory.high").value_or(kNoLimit));
    if (limit >= kNoLimit) continue;
    const std::string stat = ReadText(level + "/memory.stat").value_or("");
    const int64_t cache =
        FindNumber(stat, "inactive_file ").value_or(0) + FindNumber(stat, "active_file ").value_or(0);
    TakeLimit(limit, ReadNumber(level + "/memory.current").value_or(0) - cache, limits);
  }
}

void TakeCpuQuota(int64_t quota, int64_t period, MachineLimits* limits) {
  if (quota <= 0 || period <= 0) return;
  const int64_t cpus = (quota - 1) / period + 1;
  limits->cpus = static_cast<int>(std::min<int64_t>(limits->cpus, cpus));
}

void ReadCpuV1(const Cgroup& cgroup, MachineLimits* limits) {
  for (const std::string& level : Levels(cgroup)) {
    TakeCpuQuota(ReadNumber(level + "/cpu.cfs_quota_us").value_or(-1),
                 ReadNumber(level + "/cpu.cfs_period_us").value_or(0), limits);
  }
}

void ReadCpuV2(const Cgroup& cgroup, MachineLimits* limits) {
  for (const std::string& level : Levels(cgroup)) {
    const std::string text = ReadText(level + "/cpu.max").value_or("");
    const auto words = Split(text, ' ');  // "max 100000" or "150000 100000"
    if (words.size() < 2) continue;
    TakeCpuQuota(ParseNumber(words[0]).value_or(-1), ParseNumber(words[1]).value_or(0), limits);
  }
}

}  // namespace

Result<MachineLimits> ReadMachineLimits(const std::string& root, int affinity_cpus) {
  MachineLimits limits;
  limits.cpus = std::max(1, affinity_cpus);
  const std::string meminfo_path = root + "/proc/meminfo";
  const auto meminfo = ReadText(meminfo_path);
  if (!meminfo) return ErrnoStatus(errno, "read", meminfo_path);
  limits.total_bytes = FindNumber(*meminfo, "MemTotal:").value_or(0) * 1024;
  const int64_t free_kib = FindNumber(*meminfo, "MemFree:").value_or(0);
  limits.available_bytes = FindNumber(*meminfo, "MemAvailable:").value_or(free_kib) * 1024;

  const std::string self_cgroup = ReadText(root + "/proc/self/cgroup").value_or("");
  const std::string mountinfo = ReadText(root + "/proc/self/mountinfo").value_or("");
  const auto find = [&](std::string_view controller) {
    return FindCgroup(root, mountinfo, self_cgroup, controller);
  };
  if (const auto memory = find("memory")) ReadMemoryV1(*memory, &limits);
  if (const auto cpu = find("cpu")) ReadCpuV1(*cpu, &limits);
  if (const auto unified = find("")) {
    ReadMemoryV2(*unified, &limits);
    ReadCpuV2(*unified, &limits);
  }
  return limits;
}

Result<ProcessMemory> ReadProcessMemory(const std::string& root) {
  const std::string path = root + "/proc/self/status";
  const auto status = ReadText(path);
  if (!status) return ErrnoStatus(errno, "read", path);
  const auto bytes = [&](std::string_view key) { return FindNumber(*status, key).value_or(0) * 1024; };
  ProcessMemory memory;
  memory.anonymous_bytes = bytes("RssAnon:") + bytes("RssShmem:");
  memory.resident_bytes = bytes("VmRSS:");
  memory.peak_resident_bytes = bytes("VmHWM:");
  return memory;
}

int AffinityCpus() {
  // The mask must be as wide as the kernel's; it says EINVAL to a narrower one.
  for (int cpus = 1024; cpus <= 1 << 20; cpus *= 2) {
    cpu_set_t* set = CPU_ALLOC(cpus);
    if (set == nullptr) break;
    const size_t bytes = CPU_ALLOC_SIZE(cpus);
    const int error = sched_getaffinity(0, bytes, set) == 0 ? 0 : errno;
    const int count = error == 0 ? CPU_COUNT_S(bytes, set) : 0;
    CPU_FREE(set);
    if (error == 0) return std::max(1, count);
    if (error != EINVAL) break;
  }
  return 1;
}

}  // namespace partita
