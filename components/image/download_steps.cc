// The steps `download` and `download_images`: arguments, binding, and the asynchronous operator on the
// Downloader.
#include <arrow/api.h>

#include <condition_variable>
#include <deque>
#include <thread>

#include "components/image/download.h"
#include "components/image/download_blocks.h"
#include "components/image/register.h"
#include "partita/base/digest.h"
#include "partita/base/json.h"
#include "partita/block/schema.h"
#include "partita/operator/operator.h"
#include "partita/pipeline/step_spec.h"

namespace partita {
namespace {

// Few rows a call: one slow URL holds back only these.
constexpr int64_t kRowsPerCall = 8;

struct DownloadArgs {
  DownloadColumns columns;
  DownloadOptions options;
};

bool IsStringColumn(const arrow::DataType& type) {
  if (type.id() == arrow::Type::DICTIONARY) {
    return IsStringColumn(*static_cast<const arrow::DictionaryType&>(type).value_type());
  }
  return arrow::is_string(type.id()) || type.id() == arrow::Type::STRING_VIEW;
}

Status CheckStringColumn(const arrow::Schema& schema, const std::string& name) {
  ARROW_ASSIGN_OR_RAISE(const int index, FindColumn(schema, name));
  const arrow::DataType& type = *schema.field(index)->type();
  if (IsStringColumn(type)) return Status::OK();
  return UserError("column '" + name + "' must hold strings; it is " + TypeToString(type));
}

bool IsHeaderSafe(std::string_view text) {
  return std::all_of(text.begin(), text.end(), [](char c) { return c >= 0x20 && c < 0x7F; });
}

Status ParseVerifyHash(const Json& value, DownloadColumns* columns) {
  if (value.is_null() || value.empty()) return Status::OK();
  const bool pair = value.is_array() && value.size() == 2 && value[0].is_string() && value[1].is_string();
  if (!pair) return UserError("verify_hash must be a list of a column and a kind, like [sha256, sha256]");
  columns->verify_column = value[0].get<std::string>();
  columns->verify_kind = value[1].get<std::string>();
  return DigestHex(columns->verify_kind, "").status();
}

Status ParseAgent(const Json& args, DownloadOptions* options) {
  ARROW_ASSIGN_OR_RAISE(options->user_agent_token, GetStringOr(args, "user_agent_token", ""));
  const std::string& token = options->user_agent_token;
  if (!IsHeaderSafe(token) || token.find_first_of("()") != std::string::npos) {
    return UserError("user_agent_token must be printable ASCII without parentheses",
                     "write it like mybot or mybot/1.0; +https://example.org/bot");
  }
  ARROW_ASSIGN_OR_RAISE(
      options->disallowed_header_directives,
      GetStringsOr(args, "disallowed_header_directives", options->disallowed_header_directives));
  const auto headers = args.find("headers");
  if (headers == args.end() || headers->is_null()) return Status::OK();
  for (const auto& [name, value] : headers->items()) {
    if (name.empty() || name.find_first_of(": \t") != std::string::npos || !IsHeaderSafe(name) ||
        !IsHeaderSafe(value.get_ref<const std::string&>())) {
      return UserError("headers: '" + name + "' is no name and value of a header");
    }
    options->headers.push_back(name + ": " + value.get<std::string>());
  }
  return Status::OK();
}

Result<DownloadArgs> ParseArgs(const Json& args, bool images) {
  DownloadArgs out;
  DownloadColumns& columns = out.columns;
  columns.must_be_image = images;
  ARROW_ASSIGN_OR_RAISE(columns.url, GetStringOr(args, "url", "url"));
  ARROW_ASSIGN_OR_RAISE(columns.output, GetStringOr(args, "output", images ? "image" : "bytes"));
  ARROW_ASSIGN_OR_RAISE(columns.keep_failed, GetBoolOr(args, "keep_failed", false));
  ARROW_ASSIGN_OR_RAISE(columns.compute_hash, GetStringOr(args, "compute_hash", ""));
  if (auto verify = args.find("verify_hash"); verify != args.end()) {
    ARROW_RETURN_NOT_OK(ParseVerifyHash(*verify, &columns));
  }
  DownloadOptions& options = out.options;
  auto integer = [&](const char* name, auto* value) -> Status {
    ARROW_ASSIGN_OR_RAISE(const int64_t given, GetIntOr(args, name, *value));
    *value = static_cast<std::remove_pointer_t<decltype(value)>>(given);
    return Status::OK();
  };
  auto real = [&](const char* name, double* value) -> Status {
    ARROW_ASSIGN_OR_RAISE(*value, GetDoubleOr(args, name, *value));
    return Status::OK();
  };
  auto boolean = [&](const char* name, bool* value) -> Status {
    ARROW_ASSIGN_OR_RAISE(*value, GetBoolOr(args, name, *value));
    return Status::OK();
  };
  ARROW_RETURN_NOT_OK(real("timeout", &options.timeout_s));
  ARROW_RETURN_NOT_OK(real("connect_timeout", &options.connect_timeout_s));
  ARROW_RETURN_NOT_OK(integer("low_speed_limit", &options.low_speed_bytes_per_s));
  ARROW_RETURN_NOT_OK(real("low_speed_time", &options.low_speed_s));
  ARROW_RETURN_NOT_OK(integer("retries", &options.retries));
  ARROW_RETURN_NOT_OK(real("retry_delay", &options.retry_delay_s));
  ARROW_RETURN_NOT_OK(real("max_retry_after", &options.max_retry_after_s));
  ARROW_RETURN_NOT_OK(integer("n_connections", &options.n_connections));
  ARROW_RETURN_NOT_OK(integer("per_host_connections", &options.per_host_connections));
  ARROW_RETURN_NOT_OK(real("per_host_rate", &options.per_host_rate));
  ARROW_RETURN_NOT_OK(integer("max_redirects", &options.max_redirects));
  ARROW_RETURN_NOT_OK(integer("max_bytes", &options.max_bytes));
  ARROW_RETURN_NOT_OK(boolean("http2", &options.http2));
  ARROW_RETURN_NOT_OK(boolean("ignore_ssl_certificate", &options.ignore_ssl_certificate));
  ARROW_RETURN_NOT_OK(boolean("allow_private_addresses", &options.allow_private_addresses));
  ARROW_RETURN_NOT_OK(boolean("respect_robots", &options.respect_robots));
  ARROW_ASSIGN_OR_RAISE(const std::string on_error, GetStringOr(args, "robots_on_error", "disallow"));
  options.robots_error_allows = on_error == "allow";
  ARROW_RETURN_NOT_OK(ParseAgent(args, &options));
  return out;
}

Result<StepBinding> Bind(const Json& args, const std::shared_ptr<arrow::Schema>& input, bool images) {
  ARROW_ASSIGN_OR_RAISE(const DownloadArgs parsed, ParseArgs(args, images));
  const DownloadColumns& columns = parsed.columns;
  ARROW_RETURN_NOT_OK(CheckStringColumn(*input, columns.url));
  if (columns.output == columns.url) {
    return UserError("output and url are both '" + columns.url + "'", "choose another output column");
  }
  StepBinding binding;
  binding.reads = {columns.url};
  if (!columns.verify_column.empty()) {
    ARROW_RETURN_NOT_OK(CheckStringColumn(*input, columns.verify_column));
    if (columns.verify_column != columns.url) binding.reads.push_back(columns.verify_column);
  }
  binding.writes = {columns.output};
  if (!columns.compute_hash.empty()) binding.writes.push_back(columns.compute_hash);
  if (columns.keep_failed) {
    for (const char* name : {"status", "error_message", "http_status"}) binding.writes.emplace_back(name);
  }
  ARROW_ASSIGN_OR_RAISE(binding.output, DownloadOutputSchema(columns, input));
  return binding;
}

// One call of Start while its URLs are under way.
struct Call {
  Block in;
  const OperatorContext* ctx;
  AsyncTransform::Done done;
  std::vector<DownloadResult> results;
  std::atomic<int64_t> missing{0};
  CancelToken abandon;
};

// Turns finished calls into blocks, on a thread of its own: hashing and copying must not hold up the network.
class Finisher {
 public:
  using Work = std::function<void(Call&)>;
  explicit Finisher(Work work) : work_(std::move(work)), thread_([this] { Run(); }) {}
  ~Finisher() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_one();
    thread_.join();
  }
  void Post(std::shared_ptr<Call> call) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      calls_.push_back(std::move(call));
    }
    wake_.notify_one();
  }

 private:
  void Run() {
    std::unique_lock<std::mutex> lock(mutex_);
    while (true) {
      wake_.wait(lock, [this] { return stopping_ || !calls_.empty(); });
      if (calls_.empty()) return;
      std::shared_ptr<Call> call = std::move(calls_.front());
      calls_.pop_front();
      lock.unlock();
      work_(*call);
      call.reset();
      lock.lock();
    }
  }

  Work work_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<std::shared_ptr<Call>> calls_;
  bool stopping_ = false;
  std::thread thread_;  // last: it starts when all else is there
};

class DownloadStep final : public AsyncTransform {
 public:
  DownloadStep(DownloadArgs args, std::shared_ptr<arrow::Schema> output,
               std::unique_ptr<Downloader> downloader)
      : args_(std::move(args)),
        output_(std::move(output)),
        finisher_([this](Call& call) { Finish(call); }),
        downloader_(std::move(downloader)) {}

  int64_t max_rows_per_call() const override { return kRowsPerCall; }
  // More than connections: rows that came wait for the slowest of their call, and hosts at their limit hold
  // rows too.
  int64_t rows_in_flight() const override { return 4 * args_.options.n_connections; }

  void Start(Block in, const OperatorContext& ctx, Done done) override {
    auto call = std::make_shared<Call>();
    call->in = std::move(in);
    call->ctx = &ctx;
    call->done = std::move(done);
    const int64_t rows = call->in.num_rows();
    auto urls = Urls(*call);
    if (!urls.ok() || rows == 0) {
      return call->done(urls.ok() ? Result<std::vector<Block>>(std::vector<Block>{}) : urls.status());
    }
    call->results.resize(static_cast<size_t>(rows));
    call->missing = rows;
    for (int64_t row = 0; row < rows; ++row) {
      if (!(*urls)[row]) {
        Arrived(call, row, {DataError("no url"), nullptr, 0});
        continue;
      }
      DownloadRequest request;
      request.url = std::move(*(*urls)[row]);
      request.pool = ctx.pool;
      request.cancel = ctx.cancel;
      request.abandon = call->abandon;
      request.partition = ctx.partition;
      request.row = call->in.ordinals.At(row);
      downloader_->Submit(std::move(request), [this, call, row](DownloadResult result) {
        Arrived(call, row, std::move(result));
      });
    }
  }

  std::vector<InFlight> Slowest(int n) const override {
    std::vector<InFlight> out;
    for (SlowDownload& slow : downloader_->Slowest(n)) {
      out.push_back({slow.partition, slow.row, "GET " + slow.url, slow.seconds});
    }
    return out;
  }

 private:
  Result<std::vector<std::optional<std::string>>> Urls(const Call& call) const {
    ARROW_ASSIGN_OR_RAISE(const int index, FindColumn(*call.in.batch->schema(), args_.columns.url));
    const arrow::Array& column = *call.in.batch->column(index);
    std::vector<std::optional<std::string>> urls(static_cast<size_t>(column.length()));
    for (int64_t row = 0; row < column.length(); ++row) {
      ARROW_ASSIGN_OR_RAISE(urls[row], TextAt(column, row));
    }
    return urls;
  }

  // On the loop's thread, or Start's where there was nothing to fetch.
  void Arrived(const std::shared_ptr<Call>& call, int64_t row, DownloadResult result) {
    // One row's failure to get memory ends the call: what it holds must go so that others can go on.
    if (result.status.IsOutOfMemory()) call->abandon.Cancel();
    if (call->abandon.cancelled()) result.body.reset();
    call->results[row] = std::move(result);
    if (call->missing.fetch_sub(1) == 1) finisher_.Post(call);
  }

  void Finish(Call& call) {
    const Done done = std::move(call.done);
    for (DownloadResult& result : call.results) {
      if (result.status.IsOutOfMemory()) {
        const Status refused = result.status;
        call.results.clear();
        call.in = {};
        return done(refused);
      }
    }
    auto blocks = AssembleDownloads(args_.columns, output_, call.in, &call.results, *call.ctx);
    call.results.clear();
    call.in = {};
    done(std::move(blocks));
  }

  const DownloadArgs args_;
  const std::shared_ptr<arrow::Schema> output_;
  Finisher finisher_;
  std::unique_ptr<Downloader> downloader_;  // goes first: its last callbacks still post to the finisher
};

Result<std::unique_ptr<AsyncTransform>> MakeDownload(const TransformInit& init, bool images) {
  ARROW_ASSIGN_OR_RAISE(DownloadArgs args, ParseArgs(*init.args, images));
  args.options.env = init.env;
  ARROW_ASSIGN_OR_RAISE(auto downloader, Downloader::Make(args.options));
  return std::unique_ptr<AsyncTransform>(
      new DownloadStep(std::move(args), init.output, std::move(downloader)));
}

std::vector<ArgSpec> Args(bool images) {
  const std::string output = images ? "\"image\"" : "\"bytes\"";
  return {
      {.name = "url", .type = ArgType::kColumn, .default_json = "\"url\"", .doc = "The column of URLs."},
      {.name = "output",
       .type = ArgType::kColumn,
       .default_json = output,
       .doc = "The column that gets the bytes."},
      {.name = "timeout",
       .type = ArgType::kSeconds,
       .default_json = "10",
       .min = 0.001,
       .max = 86400,
       .doc = "Seconds of one attempt, from connecting to the last byte; waiting for the host's turn does "
              "not count."},
      {.name = "connect_timeout",
       .type = ArgType::kSeconds,
       .default_json = "10",
       .min = 0.001,
       .max = 86400,
       .doc = "Seconds to connect, at most timeout."},
      {.name = "low_speed_limit",
       .type = ArgType::kBytes,
       .default_json = "1",
       .min = 0,
       .doc = "Bytes per second; slower than this for low_speed_time seconds is a timeout. 0: off."},
      {.name = "low_speed_time",
       .type = ArgType::kSeconds,
       .default_json = "10",
       .min = 1,
       .max = 86400,
       .doc = "Seconds, see low_speed_limit."},
      {.name = "retries",
       .type = ArgType::kInt,
       .default_json = "0",
       .min = 0,
       .max = 100,
       .doc =
           "More attempts after a timeout, a failed connection, a truncated body, or HTTP 408, 429 and 5xx."},
      {.name = "retry_delay",
       .type = ArgType::kSeconds,
       .default_json = "0.5",
       .min = 0,
       .max = 3600,
       .doc = "Seconds before the first retry; each further one waits twice as long, up to 30 s."},
      {.name = "max_retry_after",
       .type = ArgType::kSeconds,
       .default_json = "60",
       .min = 0,
       .max = 86400,
       .doc = "Seconds that a host is left alone at most when it asks for it with Retry-After."},
      {.name = "n_connections",
       .type = ArgType::kInt,
       .default_json = "256",
       .min = 1,
       .max = 16384,
       .doc = "Downloads at once, all hosts."},
      {.name = "per_host_connections",
       .type = ArgType::kInt,
       .default_json = "16",
       .min = 1,
       .max = 16384,
       .doc = "Downloads at once, one host."},
      {.name = "per_host_rate",
       .type = ArgType::kFloat,
       .default_json = "0",
       .min = 0,
       .max = 1e6,
       .doc = "Requests per second to one host. 0: no limit."},
      {.name = "max_redirects",
       .type = ArgType::kInt,
       .default_json = "5",
       .min = 0,
       .max = 100,
       .doc = "Redirects to follow."},
      {.name = "max_bytes",
       .type = ArgType::kBytes,
       .default_json = "67108864",
       .min = 1,
       .max = 1 << 30,
       .doc = "Largest body in bytes; checked against Content-Length and while bytes arrive."},
      {.name = "user_agent_token",
       .type = ArgType::kString,
       .doc = "Added to the user agent; robots.txt and X-Robots-Tag rules for this name apply."},
      {.name = "headers",
       .type = ArgType::kStringMap,
       .doc = "Extra request headers; not sent to another host after a redirect."},
      {.name = "disallowed_header_directives",
       .type = ArgType::kStringList,
       .default_json = R"(["noai", "noimageai", "noindex", "noimageindex"])",
       .doc = "X-Robots-Tag directives that forbid a download. An empty list: none."},
      {.name = "respect_robots",
       .type = ArgType::kBool,
       .default_json = "true",
       .doc = "Fetch and obey robots.txt, once for each origin."},
      {.name = "robots_on_error",
       .type = ArgType::kString,
       .default_json = "\"disallow\"",
       .choices = {"disallow", "allow"},
       .doc = "What a robots.txt that cannot be had (5xx, timeout) means."},
      {.name = "allow_private_addresses",
       .type = ArgType::kBool,
       .default_json = "false",
       .doc = "Also talk to loopback, private and link-local addresses."},
      {.name = "ignore_ssl_certificate",
       .type = ArgType::kBool,
       .default_json = "false",
       .doc = "Accept any TLS certificate."},
      {.name = "http2",
       .type = ArgType::kBool,
       .default_json = "true",
       .doc = "Use HTTP/2 where a TLS server offers it."},
      {.name = "compute_hash",
       .type = ArgType::kString,
       .choices = {"md5", "sha256", "sha512"},
       .doc = "Adds a column of this name with the hash of the bytes, in hexadecimal."},
      {.name = "verify_hash",
       .type = ArgType::kJson,
       .doc = "[column, kind]: a row whose bytes do not have the hash in that column fails."},
      {.name = "keep_failed",
       .type = ArgType::kBool,
       .default_json = "false",
       .doc = "Keep rows that failed, with null bytes, and add the columns status, error_message and "
              "http_status."},
  };
}

Status Register(std::string name, std::string summary, bool images) {
  StepSpec spec;
  spec.name = name;
  spec.summary = std::move(summary);
  spec.args = Args(images);
  spec.is_volatile = true;
  spec.rows_per_partition = 1000;
  spec.least_bytes = 4 << 20;
  spec.bind = [images](const Json& args, const std::shared_ptr<arrow::Schema>& input) {
    return Bind(args, input, images);
  };
  ARROW_RETURN_NOT_OK(RegisterStep(std::move(spec)));
  TransformFactory factory;
  factory.make_async = [images](const TransformInit& init) { return MakeDownload(init, images); };
  return RegisterTransform(std::move(name), std::move(factory));
}

}  // namespace

void RegisterDownloadSteps() {
  static std::once_flag once;
  std::call_once(once, [] {
    for (const bool images : {false, true}) {
      const Status status =
          images ? Register("download_images", "Downloads URLs politely and keeps what is an image.", true)
                 : Register("download", "Downloads URLs politely into a column of bytes.", false);
      if (!status.ok()) status.Abort("registering the download steps");
    }
  });
}

}  // namespace partita
