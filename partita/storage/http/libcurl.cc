#include "partita/storage/http/libcurl.h"

#include <dlfcn.h>

namespace partita {
namespace {

constexpr char kLibrary[] = "libcurl.so.4";  // the one ABI that libcurl has had since 2006
constexpr char kHint[] = "install libcurl 7.87 or newer (Debian: apt install libcurl4)";
// Older ones would ignore CURLOPT_PROTOCOLS_STR (7.85) and CURLOPT_QUICK_EXIT (7.87), and the first is what
// keeps redirects away from file://.
constexpr unsigned kLeastVersion = 0x075700;

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define PARTITA_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer) || __has_feature(memory_sanitizer)
#define PARTITA_SANITIZED 1
#endif
#endif

// libparquet exports the functions of an OpenSSL of its own. RTLD_DEEPBIND lets libcurl find the OpenSSL that
// it was built with first. Sanitizers forbid the flag; their builds link libcurl and OpenSSL before Arrow
// instead (cmake/PartitaDependencies.cmake).
#if defined(PARTITA_SANITIZED) || !defined(RTLD_DEEPBIND)
constexpr int kFlags = RTLD_NOW | RTLD_LOCAL;
#else
constexpr int kFlags = RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND;
#endif

Status CannotLoad(const std::string& why) {
  return EnvironmentError("libcurl, which reads URLs, cannot be loaded: " + why, kHint, /*retriable=*/false);
}

template <typename Function>
void Find(void* library, const char* name, Function* function, std::string* missing) {
  *function = reinterpret_cast<Function>(dlsym(library, name));
  if (*function == nullptr && missing->empty()) *missing = name;
}

CurlFunctions g_curl;

Status LoadAndStart() {
  ARROW_ASSIGN_OR_RAISE(g_curl, OpenCurlLibrary(kLibrary));
  const CURLcode code = g_curl.global_init(CURL_GLOBAL_DEFAULT);
  return code == CURLE_OK ? Status::OK() : CannotLoad(g_curl.easy_strerror(code));
}

}  // namespace

Result<CurlFunctions> OpenCurlLibrary(const std::string& name) {
  void* library = dlopen(name.c_str(), kFlags);  // stays for good: its threads and caches may outlive any use
  if (library == nullptr) return CannotLoad(dlerror());
  CurlFunctions functions;
  std::string missing;
#define PARTITA_CURL_FIND(name) Find(library, "curl_" #name, &functions.name, &missing);
  PARTITA_CURL_FUNCTIONS(PARTITA_CURL_FIND)
#undef PARTITA_CURL_FIND
  if (!missing.empty()) return CannotLoad(name + " has no " + missing);
  const auto* version = functions.version_info(CURLVERSION_NOW);
  if (version->version_num < kLeastVersion) return CannotLoad(name + " is version " + version->version);
  return functions;
}

Status LoadCurl() {
  static const Status status = LoadAndStart();
  return status;
}

const CurlFunctions& Curl() { return g_curl; }

}  // namespace partita
