# Third-party libraries; the reason for each is in docs/dependencies.md.
find_package(Threads REQUIRED)
find_package(CURL 7.87 REQUIRED)
find_package(JPEG REQUIRED)
find_package(PNG REQUIRED)
find_package(yaml-cpp REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(LibArchive REQUIRED)
find_path(WEBP_INCLUDE_DIR webp/decode.h REQUIRED)
find_library(WEBP_LIBRARY webp REQUIRED)
find_library(WEBPDEMUX_LIBRARY webpdemux REQUIRED)
find_path(XXHASH_INCLUDE_DIR xxhash.h REQUIRED)
find_path(NETTLE_INCLUDE_DIR nettle/sha2.h REQUIRED)
find_library(NETTLE_LIBRARY nettle REQUIRED)
if(NOT TARGET Partita::nettle)
  add_library(Partita::nettle INTERFACE IMPORTED GLOBAL)
  target_include_directories(Partita::nettle INTERFACE ${NETTLE_INCLUDE_DIR})
  target_link_libraries(Partita::nettle INTERFACE ${NETTLE_LIBRARY})
endif()
# Only libcurl's headers: the library is loaded when the first URL is opened (partita/storage/libcurl.h).
if(NOT TARGET Partita::curl)
  add_library(Partita::curl INTERFACE IMPORTED GLOBAL)
  target_include_directories(Partita::curl INTERFACE ${CURL_INCLUDE_DIRS})
  target_link_libraries(Partita::curl INTERFACE ${CMAKE_DL_LIBS})
endif()
if(PARTITA_SANITIZE)
  # Sanitizers forbid the RTLD_DEEPBIND with which libcurl is loaded, so it and its OpenSSL stand before Arrow, whose
  # libparquet exports the functions of another OpenSSL.
  find_package(OpenSSL REQUIRED)
  add_link_options(
    "LINKER:--push-state,--no-as-needed,${OPENSSL_SSL_LIBRARY},${OPENSSL_CRYPTO_LIBRARY},${CURL_LIBRARIES},--pop-state")
endif()
if(NOT TARGET Partita::webp)
  add_library(Partita::webp INTERFACE IMPORTED GLOBAL)
  target_include_directories(Partita::webp INTERFACE ${WEBP_INCLUDE_DIR})
  target_link_libraries(Partita::webp INTERFACE ${WEBP_LIBRARY} ${WEBPDEMUX_LIBRARY})
endif()
if(PARTITA_BUILD_TESTS)
  find_package(GTest REQUIRED)
  enable_testing()
endif()

# Headers that most files use, compiled once. All rooms reuse it.
file(WRITE ${CMAKE_BINARY_DIR}/partita_pch.cc "// The precompiled header's translation unit.\n")
add_library(partita_pch STATIC ${CMAKE_BINARY_DIR}/partita_pch.cc)
target_link_libraries(partita_pch PUBLIC Partita::arrow nlohmann_json::nlohmann_json)
target_precompile_headers(partita_pch PRIVATE
  <algorithm> <atomic> <cstdint> <functional> <map> <memory> <mutex> <optional> <string> <string_view> <unordered_map> <utility> <vector>
  <arrow/api.h> <arrow/io/interfaces.h> <nlohmann/json.hpp>)
