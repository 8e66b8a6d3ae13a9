#include "partita/operator/payload.h"

#include <map>
#include <mutex>
#include <set>

#include "partita/base/digest.h"
#include "partita/plan/plan.h"

namespace partita {
namespace {

std::mutex& Mutex() {
  static auto* mutex = new std::mutex();
  return *mutex;
}

std::map<std::string, std::shared_ptr<const std::string>, std::less<>>& Payloads() {
  static auto* payloads = new std::map<std::string, std::shared_ptr<const std::string>, std::less<>>();
  return *payloads;
}

}  // namespace

Result<std::string> AddPayload(std::string bytes) {
  ARROW_ASSIGN_OR_RAISE(const std::string digest, DigestHex("sha256", bytes));
  std::string name = std::string(kPayloadPrefix) + digest;
  const std::lock_guard lock(Mutex());
  auto& kept = Payloads()[name];
  if (kept == nullptr) kept = std::make_shared<const std::string>(std::move(bytes));
  return name;
}

std::shared_ptr<const std::string> FindPayload(std::string_view name) {
  const std::lock_guard lock(Mutex());
  const auto found = Payloads().find(name);
  return found == Payloads().end() ? nullptr : found->second;
}

std::vector<std::string> PayloadNames(const Plan& plan) {
  std::set<std::string> names;
  for (const auto& stage : plan.stages) {
    for (const auto& node : stage.nodes) {
      const auto fn = node.args.find("fn");
      if (fn == node.args.end() || !fn->is_string()) continue;
      const auto& name = fn->get_ref<const std::string&>();
      if (name.starts_with(kPayloadPrefix)) names.insert(name);
    }
  }
  return {names.begin(), names.end()};
}

}  // namespace partita
