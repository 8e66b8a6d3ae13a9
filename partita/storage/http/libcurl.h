// libcurl, loaded when the first URL is opened: it and the thirty libraries behind it (TLS, Kerberos, LDAP,
// …) take longer to load than a small pipeline takes to run. docs/decisions/0005-libcurl-is-loaded-late.md.
//
//   ARROW_RETURN_NOT_OK(LoadCurl());
//   CURL* easy = Curl().easy_init();    // curl_easy_init
//
// Types and constants are those of <curl/curl.h>; only functions go through the table. Thread-safe.
#pragma once

#include <curl/curl.h>

#include <string>

#include "partita/base/error.h"

namespace partita {

// The functions that Partita calls, without their prefix "curl_".
// clang-format off
#define PARTITA_CURL_FUNCTIONS(X)                                                                            \
  X(global_init) X(version_info) X(free) X(slist_append) X(slist_free_all)                                   \
  X(easy_init) X(easy_setopt) X(easy_getinfo) X(easy_perform) X(easy_reset) X(easy_cleanup) X(easy_strerror) \
  X(multi_init) X(multi_setopt) X(multi_add_handle) X(multi_remove_handle) X(multi_socket_action)            \
  X(multi_info_read) X(multi_cleanup) X(url) X(url_get) X(url_set) X(url_cleanup)
// clang-format on

struct CurlFunctions {
#define PARTITA_CURL_MEMBER(name) decltype(&curl_##name) name = nullptr;
  PARTITA_CURL_FUNCTIONS(PARTITA_CURL_MEMBER)
#undef PARTITA_CURL_MEMBER
};

// Loads and starts libcurl, once a process; every later call gives the same answer. Where it is missing or
// too old: an environment error that says what to install.
Status LoadCurl();
// The functions. Only after LoadCurl succeeded.
const CurlFunctions& Curl();

// What LoadCurl does with the library's usual name. For tests: it does not start what it loaded.
Result<CurlFunctions> OpenCurlLibrary(const std::string& name);

}  // namespace partita
