// `download` and `download_images` as execute/ sees them: registered, bound, started, collected.
#include <arrow/api.h>
#include <gtest/gtest.h>

#include <future>
#include <map>

#include "components/image/download.h"
#include "components/image/register.h"
#include "partita/base/digest.h"
#include "partita/base/json.h"
#include "partita/operator/operator.h"
#include "partita/pipeline/step_spec.h"
#include "tests/servers/image_server.h"

namespace partita {
namespace {

using partita_testing::ImageServer;

class Errors : public RowErrors {
 public:
  Status Add(int64_t row, const Status& error) override {
    std::lock_guard<std::mutex> lock(mutex);
    EXPECT_EQ(KindOf(error), ErrorKind::kData);
    errors[row] = MessageOf(error);
    return fail ? error : Status::OK();
  }
  std::mutex mutex;
  std::map<int64_t, std::string> errors;
  bool fail = false;
};

class DownloadStepsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    RegisterDownloadSteps();
    std::string error;
    server_ = ImageServer::Start({}, &error);
    ASSERT_TRUE(server_) << error;
  }

  Block Urls(const std::vector<std::string>& paths, const std::vector<std::string>& hashes = {}) {
    arrow::StringBuilder urls, captions, expected;
    for (size_t i = 0; i < paths.size(); ++i) {
      EXPECT_TRUE((paths[i].empty() ? urls.AppendNull() : urls.Append(server_->url() + paths[i])).ok());
      EXPECT_TRUE(captions.Append("caption " + std::to_string(i)).ok());
      if (hashes.empty()) continue;
      EXPECT_TRUE(expected.Append(hashes[i]).ok());
    }
    arrow::FieldVector fields = {arrow::field("url", arrow::utf8()), arrow::field("caption", arrow::utf8())};
    arrow::ArrayVector arrays = {*urls.Finish(), *captions.Finish()};
    if (!hashes.empty()) {
      fields.push_back(arrow::field("expected", arrow::utf8()));
      arrays.push_back(*expected.Finish());
    }
    const auto rows = static_cast<int64_t>(paths.size());
    return {arrow::RecordBatch::Make(arrow::schema(fields), rows, arrays), RowOrdinals::Range(100, rows)};
  }

  Result<StepBinding> Bind(const std::string& step, const std::string& json, const Block& in) {
    const StepSpec* spec = FindStep(step);
    ARROW_ASSIGN_OR_RAISE(Json args, ParseJson(json));
    if (!args.contains("allow_private_addresses")) args["allow_private_addresses"] = true;
    ARROW_ASSIGN_OR_RAISE(args_, NormaliseArgs(*spec, args));
    return spec->bind(args_, in.batch->schema());
  }

  Result<std::unique_ptr<AsyncTransform>> Make(const std::string& step, const std::string& json,
                                               const Block& in) {
    ARROW_ASSIGN_OR_RAISE(const StepBinding binding, Bind(step, json, in));
    TransformInit init;
    init.args = &args_;
    init.input = in.batch->schema();
    init.output = binding.output;
    init.env = Env::Default();
    return FindTransform(step)->make_async(init);
  }

  OperatorContext Context() {
    OperatorContext ctx;
    ctx.step = "download";
    ctx.partition = 7;
    ctx.pool = budget_->root();
    ctx.env = Env::Default();
    ctx.cancel = cancel_;
    ctx.counters = &counters_;
    ctx.errors = &errors_;
    ctx.target_block_bytes = target_block_bytes_;
    return ctx;
  }

  // All rows in one call, as one batch.
  std::shared_ptr<arrow::RecordBatch> Run(const std::string& step, const std::string& json, const Block& in) {
    auto made = Make(step, json, in);
    EXPECT_TRUE(made.ok()) << made.status();
    if (!made.ok()) return nullptr;
    const OperatorContext ctx = Context();
    std::promise<Result<std::vector<Block>>> promise;
    (*made)->Start(in, ctx, [&](Result<std::vector<Block>> result) { promise.set_value(std::move(result)); });
    auto blocks = promise.get_future().get();
    status_ = blocks.status();
    if (!blocks.ok()) return nullptr;
    arrow::RecordBatchVector batches;
    ordinals_.clear();
    for (const Block& block : *blocks) {
      EXPECT_TRUE(block.batch->ValidateFull().ok());
      EXPECT_EQ(block.ordinals.size(), block.num_rows());
      for (int64_t i = 0; i < block.num_rows(); ++i) ordinals_.push_back(block.ordinals.At(i));
      batches.push_back(block.batch);
    }
    pieces_ = batches.size();
    if (batches.empty()) return nullptr;
    return *(*arrow::Table::FromRecordBatches(batches))->CombineChunksToBatch();
  }

  static std::string Text(const arrow::RecordBatch& batch, const std::string& column, int64_t row) {
    auto scalar = *batch.GetColumnByName(column)->GetScalar(row);
    return scalar->is_valid ? scalar->ToString() : "null";
  }
  static std::string_view BytesAt(const arrow::RecordBatch& batch, const std::string& column, int64_t row) {
    return static_cast<const arrow::BinaryArray&>(*batch.GetColumnByName(column)).GetView(row);
  }

  std::shared_ptr<Budget> budget_ = Budget::Make(256 << 20);
  std::unique_ptr<ImageServer> server_;
  StepCounters counters_{"download", "download"};
  CancelToken cancel_;
  Errors errors_;
  Json args_;
  int64_t target_block_bytes_ = 4 << 20;
  Status status_;
  std::vector<int64_t> ordinals_;
  size_t pieces_ = 0;
};

TEST_F(DownloadStepsTest, AddsBytesInOrderAndReportsBadRows) {
  std::vector<std::string> paths;
  for (int i = 0; i < 200; ++i) {
    paths.push_back(i % 50 == 7 ? "/404" : "/body?bytes=" + std::to_string(1 + i * 37 % 1000));
  }
  const auto out = Run("download", "{}", Urls(paths));
  ASSERT_TRUE(out) << status_;
  EXPECT_EQ(out->schema()->ToString(), "url: string\ncaption: string\nbytes: binary");
  ASSERT_EQ(out->num_rows(), 196);
  for (int64_t i = 0, row = 0; i < 200; ++i) {
    if (i % 50 == 7) {
      EXPECT_EQ(errors_.errors[i], "HTTP 404");
      continue;
    }
    EXPECT_EQ(ordinals_[row], 100 + i);
    EXPECT_EQ(Text(*out, "caption", row), "caption " + std::to_string(i));
    EXPECT_EQ(BytesAt(*out, "bytes", row).size(), static_cast<size_t>(1 + i * 37 % 1000));
    ++row;
  }
  EXPECT_EQ(errors_.errors.size(), 4u);
  std::map<std::string, int64_t> details;
  for (const auto& [key, n] : counters_.Details()) details[key] = n;
  EXPECT_EQ(details["http_404"], 4);
  EXPECT_GT(details["downloaded_bytes"], 0);
}

TEST_F(DownloadStepsTest, ImagesAreToldByTheirBytes) {
  const auto out = Run("download_images", "{}",
                       Urls({"/image", "/not-an-image", "", "/noai", "/body?bytes=0", "/image/2"}));
  ASSERT_TRUE(out) << status_;
  ASSERT_EQ(out->num_rows(), 2);
  EXPECT_EQ(BytesAt(*out, "image", 1), ImageServer::Pixel());
  const std::map<int64_t, std::string> expected = {
      {1, "not an image"}, {2, "no url"}, {3, "disallowed by X-Robots-Tag: noai"}, {4, "not an image"}};
  EXPECT_EQ(errors_.errors, expected);
}

TEST_F(DownloadStepsTest, KeepFailedTellsEachRowsFate) {
  const auto out =
      Run("download", R"({"keep_failed": true, "output": "b"})", Urls({"/image", "/404", "/truncated", ""}));
  ASSERT_TRUE(out) << status_;
  ASSERT_EQ(out->num_rows(), 4);
  EXPECT_TRUE(errors_.errors.empty());
  EXPECT_EQ(out->GetColumnByName("b")->null_count(), 3);
  EXPECT_EQ(Text(*out, "status", 0), "success");
  EXPECT_EQ(Text(*out, "error_message", 0), "null");
  EXPECT_EQ(Text(*out, "http_status", 0), "200");
  EXPECT_EQ(Text(*out, "status", 1), "failed_to_download");
  EXPECT_EQ(Text(*out, "error_message", 1), "HTTP 404");
  EXPECT_EQ(Text(*out, "http_status", 1), "404");
  EXPECT_EQ(Text(*out, "error_message", 2), "truncated body");
  EXPECT_EQ(Text(*out, "error_message", 3), "no url");
  EXPECT_EQ(Text(*out, "http_status", 3), "null");
}

TEST_F(DownloadStepsTest, HashesAreComputedAndVerified) {
  const std::string good = Sha256Hex(ImageServer::Pixel());
  std::string upper = good;
  for (char& c : upper) c = static_cast<char>(std::toupper(c));
  const Block in = Urls({"/image/1", "/image/2", "/image/3"}, {good, std::string(64, '0'), upper});
  auto out = Run("download", R"({"compute_hash": "sha256", "verify_hash": ["expected", "sha256"]})", in);
  ASSERT_TRUE(out) << status_;
  ASSERT_EQ(out->num_rows(), 2);
  EXPECT_EQ(Text(*out, "sha256", 0), good);
  EXPECT_EQ(errors_.errors[1], "hash mismatch");
  out = Run("download", R"({"compute_hash": "md5", "verify_hash": ["expected", "sha256"]})", in);
  ASSERT_TRUE(out);
  EXPECT_EQ(Text(*out, "md5", 0), *DigestHex("md5", ImageServer::Pixel()));
}

TEST_F(DownloadStepsTest, OutputComesInPieces) {
  target_block_bytes_ = 250'000;
  const auto out = Run("download", "{}", Urls(std::vector<std::string>(10, "/body?bytes=100000")));
  ASSERT_TRUE(out) << status_;
  EXPECT_EQ(out->num_rows(), 10);
  EXPECT_EQ(pieces_, 5u);
}

TEST_F(DownloadStepsTest, FailingTheRunStopsTheCall) {
  errors_.fail = true;
  EXPECT_FALSE(Run("download", "{}", Urls({"/404", "/image"})));
  EXPECT_EQ(MessageOf(status_), "HTTP 404");
}

TEST_F(DownloadStepsTest, BadArgumentsAreUserErrors) {
  const Block in = Urls({"/image"});
  for (const char* args :
       {R"({"url": "nope"})", R"({"output": "url"})", R"({"verify_hash": "x"})",
        R"({"verify_hash": ["caption", "crc"]})", R"({"compute_hash": "crc"})", R"({"timeout": -1})",
        R"({"n_connections": 0})", R"({"user_agent_token": "a\nb"})", R"({"headers": {"A: b": "c"}})",
        R"({"headers": {"A": "b\r\nC: d"}})", R"({"robots_on_error": "maybe"})", R"({"tiemout": 3})"}) {
    auto binding = Bind("download", args, in);
    ASSERT_FALSE(binding.ok()) << args;
    EXPECT_EQ(KindOf(binding.status()), ErrorKind::kUser) << args << ": " << binding.status();
  }
  EXPECT_TRUE(
      Bind("download", R"({"disallowed_header_directives": [], "headers": {"Referer": "https://x"}})", in)
          .ok());
}

TEST_F(DownloadStepsTest, CancelCallsDoneOnce) {
  const Block in = Urls({"/silent", "/stall", "/silent", "/slow?ms=60000"});
  auto made = Make("download", "{}", in);
  ASSERT_TRUE(made.ok()) << made.status();
  const OperatorContext ctx = Context();
  std::promise<Status> promise;
  (*made)->Start(in, ctx, [&](Result<std::vector<Block>> result) { promise.set_value(result.status()); });
  auto future = promise.get_future();
  EXPECT_EQ(future.wait_for(std::chrono::milliseconds(50)), std::future_status::timeout);
  const auto slow = (*made)->Slowest(10);
  ASSERT_EQ(slow.size(), 4u);
  EXPECT_EQ(slow[0].partition, 7);
  EXPECT_EQ(slow[0].row, 100);
  EXPECT_EQ(slow[0].what, "GET " + server_->url() + "/silent");
  cancel_.Cancel();
  ASSERT_EQ(future.wait_for(std::chrono::seconds(20)), std::future_status::ready);
  EXPECT_TRUE(future.get().IsCancelled());
}

// Calls that together want ten times the budget: each ends well or as out of memory, and what is tried again
// arrives.
TEST_F(DownloadStepsTest, ShortMemoryIsAnHonestRefusal) {
  budget_ = Budget::Make(6 << 20);
  const Block in = Urls(std::vector<std::string>(8, "/body?bytes=500000"));
  auto made = Make("download", "{}", in);
  ASSERT_TRUE(made.ok()) << made.status();
  const OperatorContext ctx = Context();
  int done = 0;
  for (int round = 0; round < 20 && done < 15; ++round) {
    std::vector<std::promise<Result<std::vector<Block>>>> promises(15 - done);
    for (auto& promise : promises) {
      (*made)->Start(in, ctx,
                     [&](Result<std::vector<Block>> result) { promise.set_value(std::move(result)); });
    }
    for (auto& promise : promises) {
      auto result = promise.get_future().get();
      if (result.ok()) {
        ++done;
      } else {
        EXPECT_TRUE(result.status().IsOutOfMemory()) << result.status();
      }
    }
  }
  EXPECT_EQ(done, 15);
  EXPECT_LE(budget_->peak_bytes(), 6 << 20);
}

TEST_F(DownloadStepsTest, EmptyBlock) {
  EXPECT_FALSE(Run("download", "{}", Urls({})));
  EXPECT_TRUE(status_.ok());
}

}  // namespace
}  // namespace partita
