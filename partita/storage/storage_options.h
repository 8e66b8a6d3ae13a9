// Where remote storage is, and how it is asked: of the whole process. Part of no plan, and secrets are none
// of them: those come from the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN), or
// from where AWS's tools look for them (profiles, roles of containers and machines).
//
//   endpoint_url=URL    the server, where it is not AWS         else AWS_ENDPOINT_URL_S3, AWS_ENDPOINT_URL
//   region=NAME                                                 else AWS_REGION, AWS_DEFAULT_REGION
//   anon=true|false     ask without credentials
//   addressing=path|virtual    http://server/bucket/key, or http://bucket.server/key; path where there is an
//                       endpoint_url
#pragma once

#include <string>
#include <string_view>

#include "partita/base/error.h"

namespace partita {

struct StorageOptions {
  std::string endpoint_url, region, addressing;
  bool anonymous = false;
  std::string ca_file;  // AWS_CA_BUNDLE
};

// "endpoint_url=http://127.0.0.1:9000,anon=true", or the same as a JSON object. "": the environment alone.
Result<StorageOptions> ParseStorageOptions(std::string_view text);
// For what is opened from now on; "": back to PARTITA_STORAGE_OPTIONS. Thread-safe.
Status SetStorageOptions(std::string_view text);
Result<StorageOptions> CurrentStorageOptions();

}  // namespace partita
