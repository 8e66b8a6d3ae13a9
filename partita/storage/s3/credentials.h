// Whose requests are: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; else what AWS's SDK finds (profiles,
// single sign-on, web identities, roles of containers and machines), by way of Arrow's S3 library, which is
// loaded and started only then.
#pragma once

#include "partita/base/error.h"
#include "partita/storage/s3/sign.h"

namespace partita {

// Kept for a minute; `fresh` asks again. Nothing found is an environment error that says what to set.
// Thread-safe.
Result<S3Credentials> FindS3Credentials(bool fresh = false);

}  // namespace partita
