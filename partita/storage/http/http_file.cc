#include "partita/storage/http/http_file.h"

#include <arrow/buffer.h>

#include <algorithm>
#include <cstring>
#include <mutex>
#include <optional>

#include "partita/storage/http/transfer.h"
#include "partita/storage/positioned_file.h"

namespace partita {
namespace {

constexpr int kTries = 4;
constexpr int kFirstPauseMs = 250;

// One connection to one server. Not thread-safe.
class HttpClient {
 public:
  HttpClient(std::string url, CancelToken cancel) : url_(std::move(url)), cancel_(std::move(cancel)) {}
  // HEAD, or GET of bytes [begin, end) (end < 0: all). Returns answers of 2xx, 4xx (but 408, 429) and 416 as
  // they are.
  Result<HttpReply> Fetch(bool head, int64_t begin, int64_t end, const std::string& if_match,
                          BodySink* sink) {
    HttpRequest request;
    request.method = head ? "HEAD" : "GET";
    request.url = url_;
    if (end >= 0) request.range = std::to_string(begin) + "-" + std::to_string(end - 1);
    if (!if_match.empty()) request.headers.push_back("If-Match: " + if_match);
    Status last;
    for (int attempt = 0; attempt < kTries; ++attempt) {
      auto reply = connection_.Send(request, sink, cancel_);
      ARROW_RETURN_NOT_OK(cancel_.Check());
      int64_t pause_ms = kFirstPauseMs << attempt;
      if (!reply.ok()) {
        last = DetailOf(reply.status()) ? WithContext(reply.status(), {.file = url_}) : reply.status();
        if (last.IsOutOfMemory() || !IsRetriable(last)) return last;
      } else if (!IsRetriableStatus(reply->status)) {
        return reply;
      } else {
        last = Error("the server answered " + std::to_string(reply->status), true);
        pause_ms = std::max(pause_ms, reply->retry_after_ms);
      }
      if (attempt + 1 < kTries) ARROW_RETURN_NOT_OK(PauseFor(pause_ms, cancel_));
    }
    return last;
  }

  Status Error(const std::string& message, bool retriable, const std::string& hint = "") const {
    return WithContext(EnvironmentError(message, hint, retriable), {.file = url_});
  }

 private:
  std::string url_;
  CancelToken cancel_;
  HttpConnection connection_;
};

// Takes the answer to a range request: the range itself, or the whole body where the server knows no ranges.
class RangeSink : public BodySink {
 public:
  RangeSink(const HttpClient& client, int64_t begin, int64_t size, int64_t total, uint8_t* out,
            arrow::MemoryPool* pool)
      : client_(client), begin_(begin), size_(size), total_(total), out_(out), pool_(pool) {}

  Status Begin(const HttpReply& reply) override {
    received_ = 0;
    whole_.reset();
    if (reply.encoded)
      return client_.Error("the server encodes the body although it was not asked to", false);
    if (reply.status == 206) {
      if (reply.range_begin >= 0 && reply.range_begin != begin_) {
        return client_.Error("the server answered with another range than asked for", false);
      }
      return Status::OK();
    }
    if (std::max(reply.content_length, total_) > kHttpMaxBufferBytes) return TooLarge();
    ARROW_ASSIGN_OR_RAISE(whole_, arrow::AllocateResizableBuffer(0, pool_));
    if (reply.content_length > 0) ARROW_RETURN_NOT_OK(whole_->Reserve(reply.content_length));
    return Status::OK();
  }

  Status Put(const uint8_t* data, int64_t size) override {
    if (whole_ != nullptr) {
      const int64_t had = whole_->size();
      if (had + size > kHttpMaxBufferBytes) return TooLarge();
      if (had + size > whole_->capacity()) {
        ARROW_RETURN_NOT_OK(whole_->Reserve(std::max(had + size, std::min(had * 2, kHttpMaxBufferBytes))));
      }
      ARROW_RETURN_NOT_OK(whole_->Resize(had + size, /*shrink_to_fit=*/false));
      std::memcpy(whole_->mutable_data() + had, data, static_cast<size_t>(size));
      return Status::OK();
    }
    if (received_ + size > size_) return client_.Error("the server sent more bytes than asked for", false);
    std::memcpy(out_ + received_, data, static_cast<size_t>(size));
    received_ += size;
    return Status::OK();
  }

  int64_t received() const { return received_; }
  std::shared_ptr<arrow::ResizableBuffer> whole() const { return whole_; }

 private:
  Status TooLarge() const {
    return client_.Error("the server has no range requests and the document is larger than 256 MiB", false,
                         "download the file first and read the local copy");
  }

  const HttpClient& client_;
  int64_t begin_, size_, total_;
  uint8_t* out_;
  arrow::MemoryPool* pool_;
  int64_t received_ = 0;
  std::shared_ptr<arrow::ResizableBuffer> whole_;
};

bool IsStrongEtag(const std::string& etag) { return etag.size() >= 2 && etag[0] == '"'; }

class HttpFile final : public PositionedFile {
 public:
  HttpFile(FileEntry entry, arrow::MemoryPool* pool, const CancelToken& cancel)
      : entry_(std::move(entry)), pool_(pool), client_(entry_.location, cancel) {}
  ~HttpFile() override = default;

  Status Close() override {
    std::lock_guard lock(mutex_);
    closed_ = true;
    whole_.reset();
    return Status::OK();
  }
  bool closed() const override { return closed_; }
  Result<int64_t> GetSize() override {
    std::lock_guard lock(mutex_);
    return SizeLocked();
  }
  Result<std::shared_ptr<arrow::Buffer>> ReadAt(int64_t position, int64_t nbytes) override {
    ARROW_ASSIGN_OR_RAISE(const int64_t size, GetSize());
    if (position < 0 || nbytes < 0) return BugError("a negative read position or size");
    nbytes = std::min(nbytes, std::max<int64_t>(size - position, 0));
    ARROW_ASSIGN_OR_RAISE(auto buffer, arrow::AllocateResizableBuffer(nbytes, pool_));
    ARROW_ASSIGN_OR_RAISE(const int64_t got, ReadAt(position, nbytes, buffer->mutable_data()));
    ARROW_RETURN_NOT_OK(buffer->Resize(got));
    return std::shared_ptr<arrow::Buffer>(std::move(buffer));
  }
  Result<int64_t> ReadAt(int64_t position, int64_t nbytes, void* out) override {
    if (position < 0 || nbytes < 0) return BugError("a negative read position or size");
    std::lock_guard lock(mutex_);
    if (closed_) return BugError("a read from a closed file");
    ARROW_ASSIGN_OR_RAISE(const int64_t size, SizeLocked());
    nbytes = std::min(nbytes, std::max<int64_t>(size - position, 0));
    if (nbytes == 0) return 0;
    if (whole_ == nullptr) {
      ARROW_RETURN_NOT_OK(FetchRange(position, nbytes, static_cast<uint8_t*>(out)));
      if (whole_ == nullptr) return nbytes;
      nbytes = std::min(nbytes, std::max<int64_t>(whole_->size() - position, 0));
    }
    std::memcpy(out, whole_->data() + position, static_cast<size_t>(nbytes));
    return nbytes;
  }

 private:
  Result<int64_t> SizeLocked() {
    if (entry_.size_bytes < 0) {  // the server did not tell: the only way is to read it all
      uint8_t nothing = 0;
      ARROW_RETURN_NOT_OK(FetchRange(0, -1, &nothing));
    }
    return entry_.size_bytes;
  }

  // Bytes [begin, begin + size) into `out`, or the whole document into whole_ (size < 0: always).
  Status FetchRange(int64_t begin, int64_t size, uint8_t* out) {
    RangeSink sink(client_, begin, std::max<int64_t>(size, 0), entry_.size_bytes, out, pool_);
    const std::string if_match = IsStrongEtag(entry_.etag) ? entry_.etag : "";
    ARROW_ASSIGN_OR_RAISE(const HttpReply reply,
                          client_.Fetch(false, begin, size < 0 ? -1 : begin + size, if_match, &sink));
    ARROW_RETURN_NOT_OK(CheckUnchanged(reply));
    if (reply.status == 206) {
      if (sink.received() != size) return client_.Error("the server sent fewer bytes than asked for", true);
      return Status::OK();
    }
    whole_ = sink.whole();
    if (whole_ == nullptr) {  // an empty body
      ARROW_ASSIGN_OR_RAISE(whole_, arrow::AllocateResizableBuffer(0, pool_));
    }
    if (entry_.size_bytes >= 0 && whole_->size() != entry_.size_bytes) return Changed("its size is another");
    entry_.size_bytes = whole_->size();
    return Status::OK();
  }

  Status CheckUnchanged(const HttpReply& reply) const {
    const std::string answered = "the server answered " + std::to_string(reply.status);
    if (reply.status == 404 || reply.status == 410) return Changed("it is gone (" + answered + ")");
    if (reply.status == 412 || reply.status == 416) return Changed(answered);
    if (reply.status / 100 != 2) return client_.Error(answered, false, "check the URL and its permissions");
    if (!entry_.etag.empty() && !reply.etag.empty() && reply.etag != entry_.etag)
      return Changed("its etag is another");
    if (entry_.size_bytes >= 0 && reply.range_total >= 0 && reply.range_total != entry_.size_bytes) {
      return Changed("its size is another");
    }
    return Status::OK();
  }

  Status Changed(const std::string& what) const {
    return client_.Error("the file changed since it was listed: " + what, false,
                         "run the pipeline again without changing its sources meanwhile");
  }

  FileEntry entry_;
  arrow::MemoryPool* pool_;
  std::mutex mutex_;
  HttpClient client_;
  std::shared_ptr<arrow::ResizableBuffer> whole_;
  std::atomic<bool> closed_ = false;
};

// Drops the body and stops after a byte: only the headers matter.
class ProbeSink : public BodySink {
 public:
  Status Begin(const HttpReply& reply) override {
    reply_ = reply;
    return Status::OK();
  }
  Status Put(const uint8_t*, int64_t) override {
    // A server without ranges would send the whole document here.
    return reply_->status == 206 ? Status::OK() : Status::Cancelled("enough");
  }
  const std::optional<HttpReply>& reply() const { return reply_; }

 private:
  std::optional<HttpReply> reply_;
};

}  // namespace

Result<FileEntry> ProbeHttp(const std::string& url, const CancelToken& cancel) {
  const std::string_view scheme = std::string_view(url).substr(0, url.find("://"));
  if (scheme != "http" && scheme != "https" && scheme != "HTTP" && scheme != "HTTPS") {
    return UserError("'" + url + "': there is no reader for " + std::string(scheme) + "://",
                     "use a local path, file://, s3://, http:// or https://");
  }
  HttpClient client(url, cancel);
  ARROW_ASSIGN_OR_RAISE(HttpReply reply, client.Fetch(true, 0, -1, "", nullptr));
  int64_t size_bytes = reply.encoded ? -1 : reply.content_length;
  if (reply.status / 100 != 2 || size_bytes < 0) {
    // Some servers refuse HEAD, or tell no length in answer to it.
    ProbeSink sink;
    auto ranged = client.Fetch(false, 0, 1, "", &sink);
    if (!ranged.ok() && !(ranged.status().IsCancelled() && sink.reply())) return ranged.status();
    reply = sink.reply() ? *sink.reply() : *ranged;
    size_bytes = reply.status == 206 ? reply.range_total : reply.encoded ? -1 : reply.content_length;
    if (reply.status == 416) size_bytes = 0;  // no first byte: empty
  }
  if (reply.status == 404 || reply.status == 410) {
    return UserError("nothing is found at '" + url + "' (the server answered " +
                     std::to_string(reply.status) + ")");
  }
  if (reply.status / 100 != 2 && reply.status != 416) {
    return client.Error("the server answered " + std::to_string(reply.status), false,
                        "check the URL and its permissions");
  }
  return FileEntry{
      .location = url, .size_bytes = size_bytes, .mtime_ns = 0, .etag = reply.etag, .partition_values = {}};
}

Result<std::shared_ptr<arrow::io::RandomAccessFile>> OpenHttpFile(const FileEntry& entry,
                                                                  arrow::MemoryPool* pool,
                                                                  const CancelToken& cancel) {
  return std::make_shared<HttpFile>(entry, pool, cancel);
}

}  // namespace partita
