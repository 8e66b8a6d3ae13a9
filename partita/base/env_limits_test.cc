#include "partita/base/env_limits.h"

#include <gtest/gtest.h>

#include <filesystem>

#include "partita/base/units.h"

namespace partita {
namespace {

// A made-up machine below a temporary directory.
class LimitsTest : public testing::Test {
 protected:
  LimitsTest() {
    root_ = JoinPath(std::filesystem::temp_directory_path().string(), "partita-limits-" + env_->RandomHex(8));
    Put("/proc/meminfo", "MemTotal:       16777216 kB\nMemFree:  1024 kB\nMemAvailable:    8388608 kB\n");
  }
  ~LimitsTest() override { EXPECT_TRUE(env_->RemoveTree(root_).ok()); }

  void Put(const std::string& path, std::string_view text) {
    const std::string whole = root_ + path;
    ASSERT_TRUE(env_->CreateDirs(std::string(DirName(whole))).ok());
    ASSERT_TRUE(WriteFileAtomically(env_, whole, text).ok());
  }
  MachineLimits Limits(int cpus = 8) { return ReadMachineLimits(root_, cpus).ValueOrDie(); }

  Env* env_ = Env::Default();
  std::string root_;
};

TEST_F(LimitsTest, WithoutCgroupsTheMachineIsTheLimit) {
  const MachineLimits limits = Limits();
  EXPECT_EQ(limits.total_bytes, 16 * kGiB);
  EXPECT_EQ(limits.available_bytes, 8 * kGiB);
  EXPECT_EQ(limits.cgroup_limit_bytes, 0);
  EXPECT_EQ(limits.cpus, 8);
}

TEST_F(LimitsTest, V2TakesTheLeastLimitUpTheHierarchy) {
  Put("/proc/self/cgroup", "0::/user/job/step\n");
  Put("/proc/self/mountinfo", "30 20 0:26 / /sys/fs/cgroup rw shared:4 - cgroup2 cgroup2 rw,nsdelegate\n");
  const std::string cgroup = "/sys/fs/cgroup/user";
  Put(cgroup + "/memory.max", "max\n");
  Put(cgroup + "/memory.high", "max\n");
  Put(cgroup + "/job/memory.max", "2147483648\n");
  Put(cgroup + "/job/memory.current", "1073741824\n");
  Put(cgroup + "/job/memory.stat", "anon 1\nfile 999\ninactive_file 268435456\nactive_file 268435456\n");
  Put(cgroup + "/job/step/memory.max", "4294967296\n");
  Put(cgroup + "/job/step/memory.current", "1\n");
  Put(cgroup + "/job/cpu.max", "150000 100000\n");
  Put(cgroup + "/job/step/cpu.max", "max 100000\n");
  const MachineLimits limits = Limits();
  EXPECT_EQ(limits.cgroup_limit_bytes, 2 * kGiB);
  EXPECT_EQ(limits.cgroup_used_bytes, 512 * kMiB);
  EXPECT_EQ(limits.cpus, 2) << "a quota of 1.5 is rounded up";
}

TEST_F(LimitsTest, V2HighCountsAsALimit) {
  Put("/proc/self/cgroup", "0::/a\n");
  Put("/proc/self/mountinfo", "30 20 0:26 / /sys/fs/cgroup rw - cgroup2 none rw\n");
  Put("/sys/fs/cgroup/a/memory.max", "max\n");
  Put("/sys/fs/cgroup/a/memory.high", "1073741824\n");
  EXPECT_EQ(Limits().cgroup_limit_bytes, kGiB);
}

TEST_F(LimitsTest, V1SubtractsReclaimableCache) {
  Put("/proc/self/cgroup", "9:name=systemd:/\n4:memory:/job\n2:cpu,cpuacct:/job\n0::/\n");
  Put("/proc/self/mountinfo",
      "40 30 0:30 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
      "41 30 0:31 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n");
  Put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n");
  Put("/sys/fs/cgroup/memory/job/memory.limit_in_bytes", "3221225472\n");
  Put("/sys/fs/cgroup/memory/job/memory.usage_in_bytes", "1073741824\n");
  Put("/sys/fs/cgroup/memory/job/memory.stat",
      "cache 5\ninactive_file 7\ntotal_inactive_file 536870912\ntotal_active_file 0\n"
      "hierarchical_memory_limit 3221225472\n");
  Put("/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "-1\n");
  Put("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "300000\n");
  Put("/sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  const MachineLimits limits = Limits();
  EXPECT_EQ(limits.cgroup_limit_bytes, 3 * kGiB);
  EXPECT_EQ(limits.cgroup_used_bytes, 512 * kMiB);
  EXPECT_EQ(limits.cpus, 3);
}

TEST_F(LimitsTest, InAContainerTheMountShowsAPartOfTheHierarchy) {
  Put("/proc/self/cgroup", "4:memory:/docker/abc/inner\n");
  Put("/proc/self/mountinfo", "40 30 0:30 /docker/abc /sys/fs/cgroup/memory ro - cgroup cgroup rw,memory\n");
  Put("/sys/fs/cgroup/memory/memory.limit_in_bytes", "1073741824\n");
  Put("/sys/fs/cgroup/memory/inner/memory.limit_in_bytes", "9223372036854771712\n");
  EXPECT_EQ(Limits().cgroup_limit_bytes, kGiB);
  // A path outside of what is mounted: the mount itself is all that can be seen.
  Put("/proc/self/cgroup", "4:memory:/../../elsewhere\n");
  EXPECT_EQ(Limits().cgroup_limit_bytes, kGiB);
}

TEST_F(LimitsTest, GarbageIsNoLimit) {
  Put("/proc/self/cgroup", "0::/a\nnonsense\n:\n4:memory\n");
  Put("/proc/self/mountinfo", "x\n - \n30 20 0:26 / /sys/fs/cgroup rw - cgroup2 none rw\n");
  Put("/sys/fs/cgroup/a/memory.max", "lots\n");
  Put("/sys/fs/cgroup/a/cpu.max", "0 0\n");
  const MachineLimits limits = Limits(0);
  EXPECT_EQ(limits.cgroup_limit_bytes, 0);
  EXPECT_EQ(limits.cpus, 1);
}

TEST(Limits, ThisMachine) {
  const MachineLimits limits = Env::Default()->Limits().ValueOrDie();
  EXPECT_GT(limits.total_bytes, 0);
  EXPECT_GT(limits.available_bytes, 0);
  EXPECT_GE(limits.cpus, 1);
  const ProcessMemory memory = Env::Default()->Memory().ValueOrDie();
  EXPECT_GT(memory.anonymous_bytes, 0);
  EXPECT_GE(memory.resident_bytes, memory.anonymous_bytes);
  EXPECT_GE(memory.peak_resident_bytes, memory.resident_bytes);
}

}  // namespace
}  // namespace partita
