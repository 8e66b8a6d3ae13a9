#include "components/python/gpu_leases.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <mutex>
#include <string_view>
#include <vector>

#include "partita/base/env.h"

namespace partita {
namespace {

constexpr int64_t kWhole = 10'000;  // shares of a GPU are counted in these
constexpr int kMostGpus = 64;

struct Gpu {
  std::string name;
  int64_t free = kWhole;
};

std::mutex& Mutex() {
  static auto* mutex = new std::mutex();
  return *mutex;
}

std::vector<std::string> Visible() {
  std::vector<std::string> names;
  if (const char* given = std::getenv("CUDA_VISIBLE_DEVICES")) {
    for (std::string_view rest = given; !rest.empty();) {
      const std::string_view name = rest.substr(0, rest.find(','));
      if (!name.empty() && name != "-1") names.emplace_back(name);
      rest.remove_prefix(std::min(rest.size(), name.size() + 1));
    }
    return names;
  }
  for (int i = 0; i < kMostGpus; ++i) {
    const auto found = Env::Default()->Stat("/dev/nvidia" + std::to_string(i));
    if (found.ok() && found->exists) names.push_back(std::to_string(i));
  }
  return names;
}

// Guarded by Mutex. Those that are known stay, so that what is leased comes back to them.
std::vector<Gpu*>& Known() {
  static auto* known = new std::vector<Gpu*>();
  return *known;
}

std::vector<Gpu*> Gpus() {
  std::vector<Gpu*> gpus;
  for (const auto& name : Visible()) {
    auto& known = Known();
    auto it = std::find_if(known.begin(), known.end(), [&](const Gpu* gpu) { return gpu->name == name; });
    if (it == known.end()) it = known.insert(known.end(), new Gpu{name});
    gpus.push_back(*it);
  }
  return gpus;
}

class Lease final : public GpuLease {
 public:
  Lease(std::vector<Gpu*> gpus, int64_t share) : gpus_(std::move(gpus)), share_(share) {
    for (Gpu* gpu : gpus_) {
      gpu->free -= share_;
      devices_ += (devices_.empty() ? "" : ",") + gpu->name;
    }
  }
  ~Lease() override {
    const std::lock_guard lock(Mutex());
    for (Gpu* gpu : gpus_) gpu->free += share_;
  }
  const std::string& devices() const override { return devices_; }

 private:
  const std::vector<Gpu*> gpus_;
  const int64_t share_;
  std::string devices_;
};

}  // namespace

Result<std::shared_ptr<GpuLease>> TakeGpus(double count) {
  const bool is_share = count <= 1;
  if (!(count > 0) || (!is_share && count != std::floor(count))) {
    return UserError("num_gpus must be a share of one GPU, like 0.5, or a whole number of them");
  }
  const auto share = is_share ? std::max<int64_t>(1, static_cast<int64_t>(count * kWhole)) : kWhole;
  const size_t wanted = is_share ? 1 : static_cast<size_t>(count);
  const std::lock_guard lock(Mutex());
  std::vector<Gpu*> gpus = Gpus();
  if (gpus.size() < wanted) {
    return EnvironmentError("a worker wants " + std::to_string(wanted) + " GPU" + (wanted == 1 ? "" : "s") +
                                ", and this machine shows " + std::to_string(gpus.size()),
                            "leave out num_gpus, or name them in CUDA_VISIBLE_DEVICES", /*retriable=*/false);
  }
  // Those with the least left first: whole ones stay for who needs them.
  std::stable_sort(gpus.begin(), gpus.end(), [](const Gpu* a, const Gpu* b) { return a->free < b->free; });
  std::erase_if(gpus, [&](const Gpu* gpu) { return gpu->free < share; });
  if (gpus.size() < wanted) return nullptr;
  gpus.resize(wanted);
  return std::make_shared<Lease>(std::move(gpus), share);
}

}  // namespace partita
