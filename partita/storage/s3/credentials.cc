#include "partita/storage/s3/credentials.h"

#include <arrow/filesystem/s3fs.h>
#include <arrow/util/config.h>
#include <dlfcn.h>

#include <cstdlib>
#include <memory>
#include <mutex>

#include "partita/base/env.h"

namespace partita {
namespace {

constexpr int64_t kKeptNs = 60'000'000'000;

std::string Variable(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

Status NoCredentials(const std::string& why) {
  return EnvironmentError(
      "no credentials for S3 are found" + (why.empty() ? "" : ": " + why),
      "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE; for public data the "
      "storage option anon=true",
      /*retriable=*/false);
}

// Arrow's S3 is a library of its own in the pyarrow wheel, of 17 MB, and nothing links to it: as with libcurl
// (docs/decisions/0005), who reads no S3 shall not pay for it. These are its functions by the names that the
// Itanium C++ ABI gives them; where Arrow was built otherwise (S3 in libarrow) they are in the process
// already.
struct ArrowS3 {
  Status (*ensure_initialized)() = nullptr;  // arrow::fs::EnsureS3Initialized
  Status (*ensure_finalized)() = nullptr;    // arrow::fs::EnsureS3Finalized
  arrow::fs::S3Options (*defaults)() = nullptr;
  std::string (*access_key)(const arrow::fs::S3Options*) = nullptr;  // of members: `this` comes first
  std::string (*secret_key)(const arrow::fs::S3Options*) = nullptr;
  std::string (*session_token)(const arrow::fs::S3Options*) = nullptr;
};

// Beside libarrow, with its version.
void* OpenBesideArrow() {
  Dl_info libarrow;
  if (dladdr(reinterpret_cast<const void*>(&arrow::GetBuildInfo), &libarrow) == 0) return nullptr;
  std::string path = libarrow.dli_fname;
  const size_t name = path.rfind("libarrow.so");
  if (name == std::string::npos) return nullptr;
  path.replace(name, 8, "libarrow_s3");
  return dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
}

Result<ArrowS3> LoadArrowS3() {
  void* library = RTLD_DEFAULT;
  if (dlsym(library, "_ZN5arrow2fs9S3Options8DefaultsEv") == nullptr) library = OpenBesideArrow();
  if (library == nullptr) {
    return NoCredentials(
        "profiles and roles are looked for by Arrow's S3 library, which is not beside libarrow");
  }
  ArrowS3 s3;
  bool all = true;
  const auto find = [&](const char* name, auto* function) {
    *function = reinterpret_cast<std::remove_pointer_t<decltype(function)>>(dlsym(library, name));
    all = all && *function != nullptr;
  };
  find("_ZN5arrow2fs19EnsureS3InitializedEv", &s3.ensure_initialized);
  find("_ZN5arrow2fs17EnsureS3FinalizedEv", &s3.ensure_finalized);
  find("_ZN5arrow2fs9S3Options8DefaultsEv", &s3.defaults);
  find("_ZNK5arrow2fs9S3Options12GetAccessKeyB5cxx11Ev", &s3.access_key);
  find("_ZNK5arrow2fs9S3Options12GetSecretKeyB5cxx11Ev", &s3.secret_key);
  find("_ZNK5arrow2fs9S3Options15GetSessionTokenB5cxx11Ev", &s3.session_token);
  if (!all) return NoCredentials("this Arrow's S3 library is another than expected");
  return s3;
}

struct Chain {
  std::mutex mutex;
  ArrowS3 s3;
  std::unique_ptr<arrow::fs::S3Options> options;  // keeps the SDK's provider, which renews what expires
  bool ended = false;
  S3Credentials kept;
  int64_t kept_ns = 0;

  Status Start() {
    ARROW_ASSIGN_OR_RAISE(s3, LoadArrowS3());
    ARROW_RETURN_NOT_OK(s3.ensure_initialized());
    options = std::make_unique<arrow::fs::S3Options>(s3.defaults());
    // Arrow asks for it; what was made with it must be gone before.
    std::atexit(+[] { ChainOfProcess().End(); });
    return Status::OK();
  }

  void End() {
    std::lock_guard lock(mutex);
    ended = true;
    options.reset();
    (void)s3.ensure_finalized();
  }

  Result<S3Credentials> Find(bool fresh) {
    std::lock_guard lock(mutex);
    if (ended) return Status::Cancelled("the program ends");
    const int64_t now_ns = Env::Default()->MonotonicNanos();
    if (!fresh && !kept.anonymous() && now_ns - kept_ns < kKeptNs) return kept;
    if (options == nullptr) ARROW_RETURN_NOT_OK(Start());
    S3Credentials found;
    // Three calls, each of which may renew: until they are of one set.
    for (int i = 0; i < 3; ++i) {
      found.access_key_id = s3.access_key(options.get());
      found.secret_access_key = s3.secret_key(options.get());
      found.session_token = s3.session_token(options.get());
      if (s3.access_key(options.get()) == found.access_key_id) break;
    }
    if (found.anonymous() || found.secret_access_key.empty()) return NoCredentials("");
    kept = found;
    kept_ns = now_ns;
    return found;
  }

  static Chain& ChainOfProcess() {
    static auto* chain = new Chain();
    return *chain;
  }
};

}  // namespace

Result<S3Credentials> FindS3Credentials(bool fresh) {
  S3Credentials given{Variable("AWS_ACCESS_KEY_ID"), Variable("AWS_SECRET_ACCESS_KEY"),
                      Variable("AWS_SESSION_TOKEN")};
  if (!given.anonymous() && !given.secret_access_key.empty()) return given;
  return Chain::ChainOfProcess().Find(fresh);
}

}  // namespace partita
