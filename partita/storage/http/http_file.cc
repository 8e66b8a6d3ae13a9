#include "partita/storage/http/http_file.h"

#include <arrow/buffer.h>
#include <arrow/io/interfaces.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstring>
#include <mutex>
#include <optional>
#include <thread>

#include "partita/storage/http/libcurl.h"

namespace partita {
namespace {

constexpr int kTries = 4;
constexpr int kFirstPauseMs = 250;
constexpr int64_t kLongestPauseMs = 30'000;

struct Reply {
  long status = 0;
  int64_t content_length = -1;
  int64_t range_begin = -1, range_total = -1;  // of "Content-Range: bytes 0-9/100"
  bool encoded = false;                        // a Content-Encoding that was not asked for
  std::string etag;
  int64_t retry_after_ms = -1;
};

bool ParseNumber(std::string_view text, int64_t* out) {
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), *out);
  return error == std::errc() && end == text.data() + text.size() && *out >= 0;
}

std::string_view Trim(std::string_view text) {
  while (!text.empty() && (text.front() == ' ' || text.front() == '\t')) text.remove_prefix(1);
  while (!text.empty() &&
         (text.back() == ' ' || text.back() == '\t' || text.back() == '\r' || text.back() == '\n')) {
    text.remove_suffix(1);
  }
  return text;
}

void ReadHeader(std::string_view line, Reply* reply) {
  if (line.substr(0, 5) ==
      "HTTP/") {  // a new answer (after a redirect or 100 Continue): forget the one before
    *reply = Reply();
    const size_t space = line.find(' ');
    int64_t status = 0;
    if (space != std::string_view::npos && ParseNumber(line.substr(space + 1, 3), &status)) {
      reply->status = static_cast<long>(status);
    }
    return;
  }
  const size_t colon = line.find(':');
  if (colon == std::string_view::npos) return;
  std::string name(line.substr(0, colon));
  for (char& c : name) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  const std::string_view value = Trim(line.substr(colon + 1));
  int64_t number = 0;
  if (name == "content-length" && ParseNumber(value, &number)) {
    reply->content_length = number;
  } else if (name == "etag") {
    reply->etag = std::string(value);
  } else if (name == "content-encoding") {
    reply->encoded = !value.empty() && value != "identity";
  } else if (name == "retry-after" && ParseNumber(value, &number)) {
    reply->retry_after_ms = std::min<int64_t>(number, kLongestPauseMs / 1000) * 1000;
  } else if (name == "content-range" && value.substr(0, 6) == "bytes ") {
    const size_t slash = value.find('/');
    const size_t dash = value.find('-');
    if (slash == std::string_view::npos) return;
    if (!ParseNumber(value.substr(slash + 1), &reply->range_total)) reply->range_total = -1;
    if (dash == std::string_view::npos || !ParseNumber(value.substr(6, dash - 6), &reply->range_begin)) {
      reply->range_begin = -1;
    }
  }
}

// Where an answer's body goes. Put refuses (and the transfer stops) by returning an error.
class BodySink {
 public:
  virtual ~BodySink() = default;
  virtual Status Begin(const Reply& reply) = 0;  // before the first byte, and before each new try
  virtual Status Put(const uint8_t* data, int64_t size) = 0;
};

struct Transfer {
  Reply reply;
  BodySink* sink = nullptr;
  bool began = false;
  Status status;
  const CancelToken* cancel = nullptr;
};

size_t OnHeader(char* data, size_t size, size_t count, void* user) {
  ReadHeader(std::string_view(data, size * count), &static_cast<Transfer*>(user)->reply);
  return size * count;
}

size_t OnBody(char* data, size_t size, size_t count, void* user) {
  auto* transfer = static_cast<Transfer*>(user);
  const size_t bytes = size * count;
  if (transfer->reply.status / 100 != 2 || transfer->sink == nullptr) return bytes;  // an error page: dropped
  if (!transfer->began) {
    transfer->began = true;
    transfer->status = transfer->sink->Begin(transfer->reply);
  }
  if (transfer->status.ok()) {
    transfer->status =
        transfer->sink->Put(reinterpret_cast<const uint8_t*>(data), static_cast<int64_t>(bytes));
  }
  return transfer->status.ok() ? bytes : 0;
}

int OnProgress(void* user, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
  return static_cast<Transfer*>(user)->cancel->cancelled() ? 1 : 0;
}

Status PauseFor(int64_t wait_ms, const CancelToken& cancel) {
  for (int64_t waited_ms = 0; waited_ms < wait_ms; waited_ms += 20) {
    ARROW_RETURN_NOT_OK(cancel.Check());
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  return cancel.Check();
}

// One connection to one server. Not thread-safe.
class HttpClient {
 public:
  HttpClient(std::string url, CancelToken cancel) : url_(std::move(url)), cancel_(std::move(cancel)) {}
  ~HttpClient() {
    if (curl_ != nullptr) Curl().easy_cleanup(curl_);
  }
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // HEAD, or GET of bytes [begin, end) (end < 0: all). Returns answers of 2xx, 4xx (but 408, 429) and 416 as
  // they are.
  Result<Reply> Fetch(bool head, int64_t begin, int64_t end, const std::string& if_match, BodySink* sink) {
    Status last;
    for (int attempt = 0; attempt < kTries; ++attempt) {
      Transfer transfer{
          .reply = {}, .sink = sink, .began = false, .status = Status::OK(), .cancel = &cancel_};
      ARROW_ASSIGN_OR_RAISE(const CURLcode code, Perform(head, begin, end, if_match, &transfer));
      ARROW_RETURN_NOT_OK(cancel_.Check());
      const long status = transfer.reply.status;
      if (!transfer.status.ok()) {
        if (transfer.status.IsOutOfMemory() || !IsRetriable(transfer.status)) return transfer.status;
        last = transfer.status;
      } else if (code == CURLE_OK && status < 500 && status != 429 && status != 408) {
        return transfer.reply;
      } else if (code == CURLE_OK) {
        last = Error("the server answered " + std::to_string(status), true);
      } else {
        last = Error(Curl().easy_strerror(code), true);
        if (code == CURLE_UNSUPPORTED_PROTOCOL || code == CURLE_URL_MALFORMAT ||
            code == CURLE_TOO_MANY_REDIRECTS) {
          return Error(Curl().easy_strerror(code), false);
        }
      }
      if (attempt + 1 < kTries) {
        const int64_t pause_ms = std::max<int64_t>(kFirstPauseMs << attempt, transfer.reply.retry_after_ms);
        ARROW_RETURN_NOT_OK(PauseFor(pause_ms, cancel_));
      }
    }
    return last;
  }

  Status Error(const std::string& message, bool retriable, const std::string& hint = "") const {
    return WithContext(EnvironmentError(message, hint, retriable), {.file = url_});
  }

 private:
  Result<CURLcode> Perform(bool head, int64_t begin, int64_t end, const std::string& if_match,
                           Transfer* transfer) {
    ARROW_RETURN_NOT_OK(LoadCurl());
    if (curl_ == nullptr) curl_ = Curl().easy_init();
    if (curl_ == nullptr) return OutOfMemoryError("libcurl could not be started");
    Curl().easy_reset(curl_);  // keeps the connection
    Curl().easy_setopt(curl_, CURLOPT_URL, url_.c_str());
    Curl().easy_setopt(curl_, CURLOPT_PROTOCOLS_STR, "http,https");
    Curl().easy_setopt(curl_, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    Curl().easy_setopt(curl_, CURLOPT_FOLLOWLOCATION, 1L);
    Curl().easy_setopt(curl_, CURLOPT_MAXREDIRS, 5L);
    Curl().easy_setopt(curl_, CURLOPT_NOSIGNAL, 1L);
    Curl().easy_setopt(curl_, CURLOPT_CONNECTTIMEOUT_MS, 10'000L);
    Curl().easy_setopt(curl_, CURLOPT_LOW_SPEED_LIMIT, 1L);
    Curl().easy_setopt(curl_, CURLOPT_LOW_SPEED_TIME, 30L);
    Curl().easy_setopt(curl_, CURLOPT_USERAGENT, "partita");
    Curl().easy_setopt(curl_, CURLOPT_HEADERFUNCTION, OnHeader);
    Curl().easy_setopt(curl_, CURLOPT_HEADERDATA, transfer);
    Curl().easy_setopt(curl_, CURLOPT_WRITEFUNCTION, OnBody);
    Curl().easy_setopt(curl_, CURLOPT_WRITEDATA, transfer);
    Curl().easy_setopt(curl_, CURLOPT_NOPROGRESS, 0L);
    Curl().easy_setopt(curl_, CURLOPT_XFERINFOFUNCTION, OnProgress);
    Curl().easy_setopt(curl_, CURLOPT_XFERINFODATA, transfer);
    if (head) Curl().easy_setopt(curl_, CURLOPT_NOBODY, 1L);
    const std::string range = std::to_string(begin) + "-" + std::to_string(end - 1);
    if (end >= 0) Curl().easy_setopt(curl_, CURLOPT_RANGE, range.c_str());
    curl_slist* headers = nullptr;
    if (!if_match.empty()) headers = Curl().slist_append(headers, ("If-Match: " + if_match).c_str());
    if (headers != nullptr) Curl().easy_setopt(curl_, CURLOPT_HTTPHEADER, headers);
    const CURLcode code = Curl().easy_perform(curl_);
    Curl().slist_free_all(headers);
    return code;
  }

  std::string url_;
  CancelToken cancel_;
  CURL* curl_ = nullptr;
};

// Takes the answer to a range request: the range itself, or the whole body where the server knows no ranges.
class RangeSink : public BodySink {
 public:
  RangeSink(const HttpClient& client, int64_t begin, int64_t size, int64_t total, uint8_t* out,
            arrow::MemoryPool* pool)
      : client_(client), begin_(begin), size_(size), total_(total), out_(out), pool_(pool) {}

  Status Begin(const Reply& reply) override {
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

class HttpFile final : public arrow::io::RandomAccessFile {
 public:
  HttpFile(FileEntry entry, arrow::MemoryPool* pool, const CancelToken& cancel)
      : entry_(std::move(entry)), pool_(pool), client_(entry_.location, cancel) {
    set_mode(arrow::io::FileMode::READ);
  }
  ~HttpFile() override = default;

  Status Close() override {
    std::lock_guard lock(mutex_);
    closed_ = true;
    whole_.reset();
    return Status::OK();
  }
  bool closed() const override { return closed_; }
  Result<int64_t> Tell() const override { return position_; }
  Status Seek(int64_t position) override {
    position_ = position;
    return Status::OK();
  }
  Result<int64_t> GetSize() override {
    std::lock_guard lock(mutex_);
    return SizeLocked();
  }
  Result<int64_t> Read(int64_t nbytes, void* out) override {
    ARROW_ASSIGN_OR_RAISE(const int64_t got, ReadAt(position_, nbytes, out));
    position_ += got;
    return got;
  }
  Result<std::shared_ptr<arrow::Buffer>> Read(int64_t nbytes) override {
    ARROW_ASSIGN_OR_RAISE(auto buffer, ReadAt(position_, nbytes));
    position_ += buffer->size();
    return buffer;
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
    ARROW_ASSIGN_OR_RAISE(const Reply reply,
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

  Status CheckUnchanged(const Reply& reply) const {
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
  int64_t position_ = 0;
};

// Drops the body and stops after a byte: only the headers matter.
class ProbeSink : public BodySink {
 public:
  Status Begin(const Reply& reply) override {
    reply_ = reply;
    return Status::OK();
  }
  Status Put(const uint8_t*, int64_t) override {
    // A server without ranges would send the whole document here.
    return reply_->status == 206 ? Status::OK() : Status::Cancelled("enough");
  }
  const std::optional<Reply>& reply() const { return reply_; }

 private:
  std::optional<Reply> reply_;
};

}  // namespace

Result<FileEntry> ProbeHttp(const std::string& url, const CancelToken& cancel) {
  const std::string_view scheme = std::string_view(url).substr(0, url.find("://"));
  if (scheme != "http" && scheme != "https" && scheme != "HTTP" && scheme != "HTTPS") {
    return UserError("'" + url + "': there is no reader for " + std::string(scheme) + "://",
                     "use a local path, file://, http:// or https://");
  }
  HttpClient client(url, cancel);
  ARROW_ASSIGN_OR_RAISE(Reply reply, client.Fetch(true, 0, -1, "", nullptr));
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
