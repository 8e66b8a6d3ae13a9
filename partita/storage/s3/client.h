// What of S3's interface Partita asks for: one bucket's objects. Requests are signed, tried again where that
// can help (5xx, SlowDown, broken connections; six times with growing pauses), and sent to the bucket's own
// region once the server has said which that is. Bodies go from and to the caller's memory: besides it a
// request holds kConnectionBytes (storage/http/transfer.h).
//
// Errors say who must act: a bucket that is not there is the user's, permissions, keys and the network are
// the environment's. No secret is in any of them. Thread-safe. Why not arrow::fs::S3FileSystem:
// docs/decisions/0018-s3.md.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "partita/base/cancel.h"
#include "partita/base/error.h"
#include "partita/storage/http/transfer.h"
#include "partita/storage/storage_options.h"

namespace partita {

struct S3Location {
  std::string bucket, key;  // of "s3://bucket/key"; the key is as it is, not percent-encoded
};
bool IsS3(std::string_view location);
Result<S3Location> ParseS3(std::string_view location);

struct S3Object {
  std::string key;
  int64_t size_bytes = 0;
  std::string etag;  // with its quotes, as it is compared
};

class S3Client {
 public:
  // The bucket's client; all that ask with the same options share it, and its connections.
  static Result<std::shared_ptr<S3Client>> Of(const std::string& bucket);

  Result<std::optional<S3Object>> Head(const std::string& key, const CancelToken& cancel) const;
  struct Listing {
    std::vector<S3Object> objects;
    std::vector<std::string> folders;  // common prefixes, each with its "/"
    std::string next;                  // "": that was all
  };
  // Up to `most` (1000 at most) keys below `prefix`, from the page `next` on; by folders, or all below.
  Result<Listing> List(const std::string& prefix, bool by_folder, const std::string& next, int most,
                       const CancelToken& cancel) const;
  // Bytes [begin, begin + size) of exactly the object with this etag ("": whatever is there).
  Status Get(const S3Object& object, int64_t begin, int64_t size, uint8_t* out,
             const CancelToken& cancel) const;
  Result<std::string> GetText(const std::string& key, int64_t max_bytes, const CancelToken& cancel) const;
  // Replaces an object. With `if_absent`: false, and nothing happens, where there is one (servers that know
  // no conditional writes replace it).
  Result<bool> Put(const std::string& key, std::string_view bytes, bool if_absent) const;
  Status Delete(const std::string& key) const;  // missing is OK

  // An upload in parts; nobody sees it before CompleteUpload. Parts but the last have 5 MiB at least.
  Result<std::string> CreateUpload(const std::string& key) const;
  Result<std::string> UploadPart(const std::string& key, const std::string& upload, int number,
                                 arrow::io::RandomAccessFile* part, int64_t size_bytes,
                                 const std::string& sha256, const CancelToken& cancel) const;
  Status CompleteUpload(const std::string& key, const std::string& upload,
                        const std::vector<std::string>& etags, int64_t size_bytes) const;
  Status AbortUpload(const std::string& key, const std::string& upload) const;  // unknown is OK
  // The ids of uploads of this key that are neither complete nor aborted.
  Result<std::vector<std::string>> UploadsOf(const std::string& key) const;

 private:
  struct Request {
    std::string method = "GET", key;
    std::vector<std::pair<std::string, std::string>> query;    // not encoded
    std::vector<std::pair<std::string, std::string>> headers;  // names in lower case
    std::string range;
    arrow::io::RandomAccessFile* body = nullptr;
    int64_t body_bytes = 0;
    std::string body_sha256;
  };

  S3Client(std::string bucket, StorageOptions options);
  // Any answer that is no reason to try again.
  Result<HttpReply> Call(const Request& request, BodySink* sink, const CancelToken& cancel) const;
  Result<HttpReply> CallOnce(const Request& request, BodySink* sink, const CancelToken& cancel,
                             bool fresh_credentials) const;
  // An answer of 2xx; others as the error that they are.
  Result<HttpReply> CallWell(const Request& request, BodySink* sink, const CancelToken& cancel) const;
  Result<std::string> Document(const Request& request, int64_t max_bytes, const CancelToken& cancel) const;
  Status ErrorOf(const Request& request, const HttpReply& reply) const;
  bool LearnRegion(const HttpReply& reply) const;
  HttpRequest Signed(const Request& request, const struct S3Credentials& credentials) const;
  std::string Url(const std::string& key) const { return "s3://" + bucket_ + "/" + key; }

  const std::string bucket_;
  const StorageOptions options_;
  mutable std::mutex mutex_;
  mutable std::string region_;
  mutable std::vector<std::unique_ptr<HttpConnection>> idle_;
};

}  // namespace partita
