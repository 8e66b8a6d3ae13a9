#include "partita/storage/s3/upload.h"

#include <arrow/io/interfaces.h>

#include <algorithm>
#include <charconv>
#include <vector>

#include "partita/base/json.h"
#include "partita/memory/budget.h"
#include "partita/storage/s3/client.h"
#include "partita/storage/s3/sign.h"

namespace partita {
namespace {

constexpr int64_t kSmallBytes = 1 << 20;  // sent whole, by whoever commits
constexpr int64_t kBlockBytes = 16 << 20;
// An upload has at most 10,000 parts: the first thousand are of one block, later ones of 32 (a file of 4.6
// TiB).
constexpr size_t kPartsOfOneBlock = 1000;
constexpr int64_t kMostBlocks = 32;
constexpr int64_t kMostDocumentBytes = 4 << 20;

std::string BlockOf(const std::string& document) { return document + ".block"; }

struct Upload {
  std::string location, id;
  int64_t size_bytes = -1;  // -1: not all is written
  std::vector<std::string> etags;

  Status Write(Env* env, const std::string& document) const {
    const Json json = {{"location", location}, {"upload", id}, {"size_bytes", size_bytes}, {"etags", etags}};
    return WriteFileAtomically(env, document, CanonicalJson(json));
  }
  static Result<Upload> Read(Env* env, const std::string& document) {
    ARROW_ASSIGN_OR_RAISE(const std::string text, ReadSmallFile(env, document, kMostDocumentBytes));
    ARROW_ASSIGN_OR_RAISE(const Json json, ParseJson(text));
    Upload upload;
    ARROW_ASSIGN_OR_RAISE(upload.location, GetString(json, "location"));
    ARROW_ASSIGN_OR_RAISE(upload.id, GetString(json, "upload"));
    ARROW_ASSIGN_OR_RAISE(upload.size_bytes, GetInt(json, "size_bytes"));
    ARROW_ASSIGN_OR_RAISE(upload.etags, GetStringsOr(json, "etags", {}));
    return upload;
  }
};

struct Target {
  std::shared_ptr<S3Client> client;
  std::string key;
};

Result<Target> TargetOf(const std::string& location) {
  ARROW_ASSIGN_OR_RAISE(S3Location at, ParseS3(location));
  ARROW_ASSIGN_OR_RAISE(auto client, S3Client::Of(at.bucket));
  return Target{std::move(client), std::move(at.key)};
}

class UploadStream final : public arrow::io::OutputStream {
 public:
  UploadStream(Env* env, std::string document, Target target, Upload upload, Reservation claim,
               CancelToken cancel)
      : env_(env),
        document_(std::move(document)),
        target_(std::move(target)),
        upload_(std::move(upload)),
        claim_(std::move(claim)),
        cancel_(std::move(cancel)) {}
  ~UploadStream() override { (void)Abort(); }

  Status Write(const void* data, int64_t nbytes) override {
    if (closed_) return BugError("a write to a closed file");
    const auto* bytes = static_cast<const uint8_t*>(data);
    while (nbytes > 0) {
      if (block_bytes_ == PartBytes()) ARROW_RETURN_NOT_OK(SendBlock());
      if (block_ == nullptr) {
        ARROW_ASSIGN_OR_RAISE(block_, env_->OpenWrite(BlockOf(document_), {.window_bytes = 0}));
      }
      const int64_t size = std::min(nbytes, PartBytes() - block_bytes_);
      ARROW_RETURN_NOT_OK(block_->Write(bytes, size));
      digest_.Update(bytes, size);
      block_bytes_ += size;
      written_ += size;
      bytes += size;
      nbytes -= size;
    }
    return Status::OK();
  }

  Status Close() override {
    if (closed_) return Status::OK();
    if (block_ == nullptr && written_ == 0) {
      ARROW_ASSIGN_OR_RAISE(block_, env_->OpenWrite(BlockOf(document_), {.window_bytes = 0}));
    }
    if (written_ <= kSmallBytes) {
      ARROW_RETURN_NOT_OK(block_->Close());
    } else {
      if (block_bytes_ > 0) ARROW_RETURN_NOT_OK(SendBlock());
      ARROW_RETURN_NOT_OK(env_->RemoveFile(BlockOf(document_)));
    }
    upload_.size_bytes = written_;
    ARROW_RETURN_NOT_OK(upload_.Write(env_, document_));
    closed_ = true;
    claim_.Release();
    return Status::OK();
  }

  // What was sent is ended by DiscardS3Upload.
  Status Abort() override {
    if (closed_) return Status::OK();
    closed_ = true;
    claim_.Release();
    if (block_ != nullptr) (void)block_->Close();
    return env_->RemoveFile(BlockOf(document_));
  }

  bool closed() const override { return closed_; }
  Result<int64_t> Tell() const override { return written_; }

 private:
  int64_t PartBytes() const {
    return upload_.etags.size() < kPartsOfOneBlock ? kBlockBytes : kBlockBytes * kMostBlocks;
  }

  Status SendBlock() {
    if (upload_.id.empty()) {
      // Known before it begins: after a kill in between it is found by its key.
      ARROW_RETURN_NOT_OK(upload_.Write(env_, document_));
      ARROW_ASSIGN_OR_RAISE(upload_.id, target_.client->CreateUpload(target_.key));
      ARROW_RETURN_NOT_OK(upload_.Write(env_, document_));
    }
    ARROW_RETURN_NOT_OK(block_->Close());
    block_.reset();
    ARROW_ASSIGN_OR_RAISE(auto block, env_->OpenRead(BlockOf(document_)));
    const int number = static_cast<int>(upload_.etags.size()) + 1;
    ARROW_ASSIGN_OR_RAISE(auto etag, target_.client->UploadPart(target_.key, upload_.id, number, block.get(),
                                                                block_bytes_, digest_.Hex(), cancel_));
    ARROW_RETURN_NOT_OK(block->Close());
    upload_.etags.push_back(std::move(etag));
    block_bytes_ = 0;
    return Status::OK();
  }

  Env* env_;
  std::string document_;
  Target target_;
  Upload upload_;
  Reservation claim_;
  CancelToken cancel_;
  std::shared_ptr<arrow::io::OutputStream> block_;
  PayloadDigest digest_;  // of the block
  int64_t block_bytes_ = 0, written_ = 0;
  bool closed_ = false;
};

}  // namespace

Result<std::shared_ptr<arrow::io::OutputStream>> StageS3Upload(Env* env, const std::string& document,
                                                               const std::string& location, BudgetPool* pool,
                                                               const CancelToken& cancel) {
  ARROW_ASSIGN_OR_RAISE(auto target, TargetOf(location));
  Reservation claim;
  if (pool != nullptr) {
    ARROW_ASSIGN_OR_RAISE(claim, pool->Reserve(kConnectionBytes));
  }
  Upload upload;
  upload.location = location;
  return std::make_shared<UploadStream>(env, document, std::move(target), std::move(upload), std::move(claim),
                                        cancel);
}

Status PublishS3Upload(Env* env, const std::string& document, const std::string& location) {
  ARROW_ASSIGN_OR_RAISE(const auto upload, Upload::Read(env, document));
  if (upload.location != location || upload.size_bytes < 0)
    return BugError("'" + document + "' is no finished upload of " + location);
  ARROW_ASSIGN_OR_RAISE(const auto target, TargetOf(location));
  if (upload.id.empty()) {
    ARROW_ASSIGN_OR_RAISE(const auto bytes, ReadSmallFile(env, BlockOf(document), kSmallBytes));
    if (static_cast<int64_t>(bytes.size()) != upload.size_bytes)
      return EnvironmentError("'" + BlockOf(document) + "' is not as it was written", "run again");
    ARROW_RETURN_NOT_OK(target.client->Put(target.key, bytes, false).status());
  } else {
    ARROW_RETURN_NOT_OK(
        target.client->CompleteUpload(target.key, upload.id, upload.etags, upload.size_bytes));
  }
  ARROW_RETURN_NOT_OK(env->RemoveFile(BlockOf(document)));
  return env->RemoveFile(document);
}

// "<bytes of the document>\n", the document, the block.
Result<std::string> TakeS3Upload(Env* env, const std::string& document) {
  ARROW_ASSIGN_OR_RAISE(const std::string text, ReadSmallFile(env, document, kMostDocumentBytes));
  std::string taken = std::to_string(text.size()) + "\n" + text;
  ARROW_ASSIGN_OR_RAISE(const FileStatus status, env->Stat(BlockOf(document)));
  if (status.exists) {
    ARROW_ASSIGN_OR_RAISE(const std::string block, ReadSmallFile(env, BlockOf(document), kSmallBytes));
    taken += block;
  }
  ARROW_RETURN_NOT_OK(env->RemoveFile(BlockOf(document)));
  ARROW_RETURN_NOT_OK(env->RemoveFile(document));
  return taken;
}

Status PutS3Upload(Env* env, const std::string& document, const std::string& taken) {
  size_t size = 0;
  const char* end = taken.data() + taken.size();
  const auto [last, error] = std::from_chars(taken.data(), end, size);
  if (error != std::errc() || last == end || *last != '\n' || size > static_cast<size_t>(end - last - 1))
    return BugError("what tells of an upload is torn");
  const std::string_view rest(last + 1, static_cast<size_t>(end - last - 1));
  ARROW_RETURN_NOT_OK(WriteFileAtomically(env, BlockOf(document), rest.substr(size)));
  return WriteFileAtomically(env, document, rest.substr(0, size));
}

Status DiscardS3Upload(Env* env, const std::string& document, bool alone) {
  ARROW_ASSIGN_OR_RAISE(const FileStatus status, env->Stat(document));
  if (status.exists) {
    const auto read = Upload::Read(env, document);
    // Torn by a power failure: nobody knows the upload any more, and nobody may be kept from going on.
    if (!read.ok() && alone) return env->RemoveFile(document);
    ARROW_ASSIGN_OR_RAISE(const auto upload, read);
    ARROW_ASSIGN_OR_RAISE(const auto target, TargetOf(upload.location));
    std::vector<std::string> ids;
    if (!upload.id.empty()) ids.push_back(upload.id);
    if (upload.id.empty() && upload.size_bytes < 0 && alone) {
      ARROW_ASSIGN_OR_RAISE(ids, target.client->UploadsOf(target.key));
    }
    for (const auto& id : ids) ARROW_RETURN_NOT_OK(target.client->AbortUpload(target.key, id));
  }
  ARROW_RETURN_NOT_OK(env->RemoveFile(BlockOf(document)));
  return env->RemoveFile(document);
}

}  // namespace partita
