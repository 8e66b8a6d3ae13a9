#include "partita/storage/s3/client.h"

#include <arrow/buffer.h>
#include <arrow/io/memory.h>

#include <algorithm>
#include <cstring>

#include "partita/base/digest.h"
#include "partita/base/env.h"
#include "partita/storage/file_system.h"
#include "partita/storage/s3/credentials.h"
#include "partita/storage/s3/xml.h"

namespace partita {
namespace {

constexpr int kTries = 6;
constexpr int kFirstPauseMs = 100;
constexpr size_t kMostIdle = 64;
constexpr int64_t kMostListBytes = 16 << 20;  // a thousand keys of 1 KiB, and what stands around them
constexpr char kDefaultRegion[] = "us-east-1";

// Bytes of one range, as many as were asked for.
class ExactSink final : public BodySink {
 public:
  ExactSink(int64_t begin, int64_t size, uint8_t* out) : begin_(begin), size_(size), out_(out) {}

  Status Begin(const HttpReply& reply) override {
    received_ = 0;
    const bool is_range = reply.status == 206 && (reply.range_begin < 0 || reply.range_begin == begin_);
    const bool is_whole = reply.status == 200 && begin_ == 0 && reply.content_length == size_;
    if (is_range || is_whole) return Status::OK();
    return EnvironmentError("the server answered with another range than asked for", "", false);
  }
  Status Put(const uint8_t* data, int64_t size) override {
    if (received_ + size > size_)
      return EnvironmentError("the server sent more bytes than asked for", "", false);
    std::memcpy(out_ + received_, data, static_cast<size_t>(size));
    received_ += size;
    return Status::OK();
  }
  int64_t received() const { return received_; }

 private:
  int64_t begin_, size_, received_ = 0;
  uint8_t* out_;
};

std::string CodeOf(const HttpReply& reply) { return XmlText(reply.error_body, "Error/Code"); }

bool IsRetriableCode(std::string_view code) {
  return code == "SlowDown" || code == "RequestTimeout" || code == "InternalError" ||
         code == "ServiceUnavailable" || code == "OperationAborted";
}

int64_t NumberOf(const std::string& text) {
  int64_t number = 0;
  for (const char c : text) {
    if (c < '0' || c > '9' || number > (INT64_MAX - 9) / 10) return -1;
    number = number * 10 + (c - '0');
  }
  return text.empty() ? -1 : number;
}

}  // namespace

bool IsS3(std::string_view location) {
  const std::string_view scheme = location.substr(0, 5);
  return scheme == "s3://" || scheme == "S3://";
}

Result<S3Location> ParseS3(std::string_view location) {
  if (!IsS3(location)) return BugError("'" + std::string(location) + "' is not of S3");
  location.remove_prefix(5);
  const size_t slash = std::min(location.find('/'), location.size());
  S3Location out{std::string(location.substr(0, slash)),
                 std::string(location.substr(std::min(slash + 1, location.size())))};
  const bool plain = std::all_of(out.bucket.begin(), out.bucket.end(), [](unsigned char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' ||
           c == '-' || c == '_';
  });
  if (out.bucket.empty() || out.bucket.size() > 255 || out.bucket[0] == '.' || !plain) {
    return UserError("'s3://" + std::string(location) + "' names no bucket", "write s3://bucket/key");
  }
  if (out.key.size() > 1024) return UserError("a key has at most 1024 bytes");
  if (out.key.find('\0') != std::string::npos) return UserError("a key holds a NUL character");
  return out;
}

S3Client::S3Client(std::string bucket, StorageOptions options)
    : bucket_(std::move(bucket)), options_(std::move(options)), region_(options_.region) {
  if (region_.empty()) region_ = kDefaultRegion;
}

Result<std::shared_ptr<S3Client>> S3Client::Of(const std::string& bucket) {
  static std::mutex mutex;
  static auto* clients = new std::map<std::string, std::shared_ptr<S3Client>>();  // libcurl may end first
  ARROW_ASSIGN_OR_RAISE(const StorageOptions options, CurrentStorageOptions());
  const std::string name = bucket + "\n" + options.endpoint_url + "\n" + options.region + "\n" +
                           options.addressing + "\n" + (options.anonymous ? "anon" : "") + "\n" +
                           options.ca_file;
  std::lock_guard lock(mutex);
  auto& client = (*clients)[name];
  if (client == nullptr) client.reset(new S3Client(bucket, options));
  return client;
}

HttpRequest S3Client::Signed(const Request& request, const S3Credentials& credentials) const {
  std::string region;
  {
    std::lock_guard lock(mutex_);
    region = region_;
  }
  std::string endpoint = options_.endpoint_url;
  if (endpoint.empty()) {
    endpoint = "https://s3." + region + ".amazonaws.com" + (region.starts_with("cn-") ? ".cn" : "");
  }
  const size_t host_at = endpoint.find("://") + 3;
  const std::string scheme = endpoint.substr(0, host_at);
  std::string host = endpoint.substr(host_at);
  std::string path;
  if (const size_t slash = host.find('/'); slash != std::string::npos) {  // a server below a path
    path = EncodeUri(PercentDecode(host.substr(slash)), true);
    host = host.substr(0, slash);
  }
  // Certificates of "*.s3.…" do not cover buckets with dots.
  const bool by_path = options_.addressing == "path" ||
                       (options_.addressing.empty() && !options_.endpoint_url.empty()) ||
                       (options_.addressing.empty() && bucket_.find('.') != std::string::npos);
  if (by_path) {
    path += "/" + bucket_;
  } else {
    host = bucket_ + "." + host;
  }
  path += "/" + EncodeUri(request.key, true);
  // Servers are given the default port of a scheme or none; libcurl sends none.
  for (const std::string_view port : {":80", ":443"}) {
    const bool is_default = scheme == (port == ":80" ? "http://" : "https://");
    if (is_default && host.ends_with(port)) host = host.substr(0, host.size() - port.size());
  }
  UnsignedRequest plain;
  plain.method = request.method;
  plain.host = host;
  plain.path = path;
  plain.query = EncodeQuery(request.query);
  plain.headers = request.headers;
  plain.payload_sha256 = request.body_sha256.empty() ? Sha256Hex("") : request.body_sha256;
  HttpRequest http;
  http.method = request.method;
  http.url = scheme + host + path + (plain.query.empty() ? "" : "?" + plain.query);
  http.headers = SignedHeaders(plain, credentials, region, Env::Default()->NowUnixMicros() / 1000000);
  http.range = request.range;
  http.follow_redirects = false;  // they are to other regions, for which the signature does not hold
  http.path_as_is = true;
  http.ca_file = options_.ca_file;
  http.body = request.body;
  http.body_bytes = request.body_bytes;
  return http;
}

Result<HttpReply> S3Client::CallOnce(const Request& request, BodySink* sink, const CancelToken& cancel,
                                     bool fresh_credentials) const {
  S3Credentials credentials;
  if (!options_.anonymous) {
    ARROW_ASSIGN_OR_RAISE(credentials, FindS3Credentials(fresh_credentials));
  }
  std::unique_ptr<HttpConnection> connection;
  {
    std::lock_guard lock(mutex_);
    if (!idle_.empty()) {
      connection = std::move(idle_.back());
      idle_.pop_back();
    }
  }
  if (connection == nullptr) connection = std::make_unique<HttpConnection>();
  auto reply = connection->Send(Signed(request, credentials), sink, cancel);
  std::lock_guard lock(mutex_);
  if (idle_.size() < kMostIdle) idle_.push_back(std::move(connection));
  return reply;
}

// A bucket of another region answers with its name: in a header, or in the document of the error.
bool S3Client::LearnRegion(const HttpReply& reply) const {
  if (reply.status != 301 && reply.status != 307 && reply.status != 400) return false;
  std::string region = reply.bucket_region;
  if (region.empty()) region = XmlText(reply.error_body, "Error/Region");
  std::lock_guard lock(mutex_);
  if (region.empty() || region == region_) return false;
  region_ = region;
  return true;
}

Result<HttpReply> S3Client::Call(const Request& request, BodySink* sink, const CancelToken& cancel) const {
  Status last;
  bool learned = false, fresh = false;
  for (int attempt = 0; attempt < kTries; ++attempt) {
    if (attempt > 0) ARROW_RETURN_NOT_OK(PauseFor(int64_t{kFirstPauseMs} << attempt, cancel));
    auto reply = CallOnce(request, sink, cancel, fresh);
    if (!reply.ok()) {
      last = reply.status();
      if (last.IsOutOfMemory() || last.IsCancelled()) return last;
      last = WithContext(last, {.file = Url(request.key)});
      if (!IsRetriable(last)) return last;
      continue;
    }
    if (reply->status / 100 == 2) return reply;
    if (!learned && LearnRegion(*reply)) {
      learned = true;
      --attempt;
      continue;
    }
    const std::string code = CodeOf(*reply);
    if (!fresh && code == "ExpiredToken") {
      fresh = true;
      --attempt;
      continue;
    }
    if (!IsRetriableStatus(reply->status) && !IsRetriableCode(code)) return reply;
    last = ErrorOf(request, *reply);
    if (reply->retry_after_ms > 0) ARROW_RETURN_NOT_OK(PauseFor(reply->retry_after_ms, cancel));
  }
  return last;
}

Result<HttpReply> S3Client::CallWell(const Request& request, BodySink* sink,
                                     const CancelToken& cancel) const {
  ARROW_ASSIGN_OR_RAISE(HttpReply reply, Call(request, sink, cancel));
  if (reply.status / 100 != 2) return ErrorOf(request, reply);
  return reply;
}

Result<std::string> S3Client::Document(const Request& request, int64_t max_bytes,
                                       const CancelToken& cancel) const {
  TextSink sink(max_bytes);
  ARROW_RETURN_NOT_OK(CallWell(request, &sink, cancel).status());
  return sink.text();
}

Status S3Client::ErrorOf(const Request& request, const HttpReply& reply) const {
  const std::string code = CodeOf(reply);
  const std::string said =
      "the server answered " + std::to_string(reply.status) + (code.empty() ? "" : " " + code);
  const std::string server = options_.endpoint_url.empty() ? "AWS" : options_.endpoint_url;
  const bool reads = request.method == "GET" || request.method == "HEAD";
  const auto refused = [&](const std::string& message, const std::string& hint) {
    return WithContext(EnvironmentError(message + " (" + said + ")", hint, /*retriable=*/false),
                       {.file = Url(request.key)});
  };
  if (code == "NoSuchBucket") {
    return UserError("there is no bucket '" + bucket_ + "' at " + server,
                     "check its name, and the endpoint (storage option endpoint_url, or AWS_ENDPOINT_URL)");
  }
  if (code == "InvalidAccessKeyId" || code == "SignatureDoesNotMatch" || code == "InvalidToken") {
    return refused("the access key is not one that " + server + " knows, or its secret is another",
                   "check AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN, or AWS_PROFILE");
  }
  if (code == "ExpiredToken") return refused("the credentials have expired", "sign in again");
  if (code == "RequestTimeTooSkewed") return refused("this machine's clock is wrong", "set it");
  if (reply.status == 403 || reply.status == 401) {
    return refused(
        std::string("no permission to ") + (reads ? "read" : "write") +
            (options_.anonymous ? " without credentials" : ""),
        options_.anonymous ? "leave out the storage option anon, and give credentials"
        : reads            ? "allow the credentials s3:GetObject and s3:ListBucket, or use others"
                : "allow the credentials s3:PutObject, s3:DeleteObject and s3:ListBucket, or use others");
  }
  if (reply.status == 301 || reply.status == 307 || code == "AuthorizationHeaderMalformed") {
    return refused("the bucket is in another region than asked", "set AWS_REGION to the bucket's region");
  }
  if (reply.status == 404) return refused("nothing is there", "check the path");
  const bool retriable = IsRetriableStatus(reply.status) || IsRetriableCode(code);
  return WithContext(EnvironmentError(said, retriable ? "try again later" : "", retriable),
                     {.file = Url(request.key)});
}

Result<std::optional<S3Object>> S3Client::Head(const std::string& key, const CancelToken& cancel) const {
  Request request;
  request.method = "HEAD";
  request.key = key;
  ARROW_ASSIGN_OR_RAISE(const HttpReply reply, Call(request, nullptr, cancel));
  if (reply.status == 404) return std::nullopt;
  // An answer to HEAD has no document that says why.
  if (reply.status / 100 != 2) return ErrorOf(request, reply);
  if (reply.content_length < 0) return EnvironmentError("the server tells no size of " + Url(key), "", false);
  return S3Object{key, reply.content_length, reply.etag};
}

Result<S3Client::Listing> S3Client::List(const std::string& prefix, bool by_folder, const std::string& next,
                                         int most, const CancelToken& cancel) const {
  Request request;
  // URL-encoded: XML cannot say all that keys may hold.
  request.query = {
      {"list-type", "2"}, {"prefix", prefix}, {"encoding-type", "url"}, {"max-keys", std::to_string(most)}};
  if (by_folder) request.query.emplace_back("delimiter", "/");
  if (!next.empty()) request.query.emplace_back("continuation-token", next);
  ARROW_ASSIGN_OR_RAISE(const std::string xml, Document(request, kMostListBytes, cancel));
  Listing listing;
  S3Object object;
  bool truncated = false, decoded = false;
  const std::string root = "ListBucketResult/";
  ARROW_RETURN_NOT_OK(ReadXml(xml, [&](const std::string& path, const std::string& text) {
    if (!path.starts_with(root)) return;
    const std::string_view name = std::string_view(path).substr(root.size());
    if (name == "Contents/Key") object.key = text;
    if (name == "Contents/Size") object.size_bytes = NumberOf(text);
    if (name == "Contents/ETag") object.etag = text;
    if (name == "Contents") listing.objects.push_back(std::exchange(object, {}));
    if (name == "CommonPrefixes/Prefix") listing.folders.push_back(text);
    if (name == "NextContinuationToken") listing.next = text;
    if (name == "IsTruncated") truncated = text == "true";
    if (name == "EncodingType") decoded = text == "url";
  }));
  if (!truncated) listing.next.clear();
  if (truncated && listing.next.empty()) {
    return EnvironmentError("the server lists some of " + Url(prefix) + " and not how to go on", "", false);
  }
  const auto decode = [&](std::string* key) {
    if (!decoded) return;
    std::replace(key->begin(), key->end(), '+', ' ');
    *key = PercentDecode(*key);
  };
  for (auto& each : listing.objects) {
    decode(&each.key);
    if (!each.key.starts_with(prefix) || each.size_bytes < 0)
      return EnvironmentError("the server's list holds what was not asked for: " + each.key, "", false);
  }
  for (auto& each : listing.folders) decode(&each);
  return listing;
}

Status S3Client::Get(const S3Object& object, int64_t begin, int64_t size, uint8_t* out,
                     const CancelToken& cancel) const {
  if (size == 0) return Status::OK();
  Request request;
  request.key = object.key;
  if (!object.etag.empty()) request.headers = {{"if-match", object.etag}};
  request.range = std::to_string(begin) + "-" + std::to_string(begin + size - 1);
  ExactSink sink(begin, size, out);
  ARROW_ASSIGN_OR_RAISE(const HttpReply reply, Call(request, &sink, cancel));
  const std::string code = CodeOf(reply);
  if (reply.status == 412 || reply.status == 416 || (reply.status == 404 && code != "NoSuchBucket")) {
    const std::string what = reply.status == 404   ? "it is gone"
                             : reply.status == 412 ? "its etag is another"
                                                   : "it is shorter";
    return WithContext(
        EnvironmentError("the file changed since it was listed: " + what,
                         "run the pipeline again without changing its sources meanwhile", false),
        {.file = Url(object.key)});
  }
  if (reply.status / 100 != 2) return ErrorOf(request, reply);
  if (sink.received() != size) {
    return WithContext(EnvironmentError("the server sent fewer bytes than asked for"),
                       {.file = Url(object.key)});
  }
  return Status::OK();
}

Result<std::string> S3Client::GetText(const std::string& key, int64_t max_bytes,
                                      const CancelToken& cancel) const {
  Request request;
  request.key = key;
  return Document(request, max_bytes, cancel);
}

Result<bool> S3Client::Put(const std::string& key, std::string_view bytes, bool if_absent) const {
  arrow::io::BufferReader body{std::make_shared<arrow::Buffer>(bytes)};
  Request request;
  request.method = "PUT";
  request.key = key;
  request.body = &body;
  request.body_bytes = static_cast<int64_t>(bytes.size());
  request.body_sha256 = Sha256Hex(bytes);
  if (if_absent) request.headers = {{"if-none-match", "*"}};
  ARROW_ASSIGN_OR_RAISE(HttpReply reply, Call(request, nullptr, {}));
  if (if_absent && (reply.status == 412 || reply.status == 409)) return false;
  if (if_absent && CodeOf(reply) == "NotImplemented") return Put(key, bytes, false);
  if (reply.status / 100 != 2) return ErrorOf(request, reply);
  return true;
}

Status S3Client::Delete(const std::string& key) const {
  Request request;
  request.method = "DELETE";
  request.key = key;
  ARROW_ASSIGN_OR_RAISE(const HttpReply reply, Call(request, nullptr, {}));
  if (reply.status / 100 == 2 || (reply.status == 404 && CodeOf(reply) != "NoSuchBucket"))
    return Status::OK();
  return ErrorOf(request, reply);
}

}  // namespace partita
