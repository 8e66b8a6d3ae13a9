#include <algorithm>
#include <atomic>
#include <future>
#include <system_error>
#include <vector>

#include "partita/memory/budget.h"
#include "partita/storage/positioned_file.h"
#include "partita/storage/s3/s3_store.h"

namespace partita {
namespace {

// One connection gives some 50 to 100 MB/s; a piece should take longer than its round trip.
constexpr int64_t kMostPieces = 4;
constexpr int64_t kLeastPieceBytes = 4 << 20;

// Any thread may read: a request is made with a connection of the client's.
class S3File final : public PositionedFile {
 public:
  S3File(std::shared_ptr<S3Client> client, S3Object object, arrow::MemoryPool* pool, CancelToken cancel,
         Reservation claim)
      : client_(std::move(client)),
        object_(std::move(object)),
        pool_(pool),
        cancel_(std::move(cancel)),
        claim_(std::move(claim)) {}
  ~S3File() override = default;

  Status Close() override {
    closed_ = true;
    return Status::OK();
  }
  bool closed() const override { return closed_; }
  Result<int64_t> GetSize() override { return object_.size_bytes; }
  Result<std::shared_ptr<arrow::Buffer>> ReadAt(int64_t position, int64_t nbytes) override {
    ARROW_ASSIGN_OR_RAISE(nbytes, Within(position, nbytes));
    ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> buffer, arrow::AllocateBuffer(nbytes, pool_));
    ARROW_RETURN_NOT_OK(Fetch(position, nbytes, buffer->mutable_data()));
    return buffer;
  }
  Result<int64_t> ReadAt(int64_t position, int64_t nbytes, void* out) override {
    ARROW_ASSIGN_OR_RAISE(nbytes, Within(position, nbytes));
    ARROW_RETURN_NOT_OK(Fetch(position, nbytes, static_cast<uint8_t*>(out)));
    return nbytes;
  }

 private:
  Result<int64_t> Within(int64_t position, int64_t nbytes) const {
    if (position < 0 || nbytes < 0) return BugError("a negative read position or size");
    if (closed_) return BugError("a read from a closed file");
    return std::min(nbytes, std::max<int64_t>(object_.size_bytes - position, 0));
  }

  // Large ranges in pieces at once, as many as the budget has room for connections.
  Status Fetch(int64_t position, int64_t nbytes, uint8_t* out) {
    int64_t pieces = std::min(kMostPieces, nbytes / kLeastPieceBytes);
    Reservation claim;
    if (auto* budget = dynamic_cast<BudgetPool*>(pool_); budget != nullptr && pieces > 1) {
      auto more = budget->Reserve((pieces - 1) * kConnectionBytes);
      if (more.ok()) claim = std::move(*more);
      if (!more.ok()) pieces = 1;
    }
    if (pieces <= 1) return client_->Get(object_, position, nbytes, out, cancel_);
    const int64_t piece_bytes = (nbytes + pieces - 1) / pieces;
    const auto fetch = [&](int64_t piece) {
      const int64_t begin = piece * piece_bytes, end = std::min(nbytes, begin + piece_bytes);
      return client_->Get(object_, position + begin, end - begin, out + begin, cancel_);
    };
    std::vector<std::future<Status>> others;
    Status status;
    for (int64_t piece = 1; piece < pieces; ++piece) {
      try {
        others.push_back(std::async(std::launch::async, fetch, piece));
      } catch (const std::system_error&) {  // no thread to be had
        status &= fetch(piece);
      }
    }
    status &= fetch(0);
    for (auto& other : others) status &= other.get();
    return status;
  }

  std::shared_ptr<S3Client> client_;
  S3Object object_;
  arrow::MemoryPool* pool_;
  CancelToken cancel_;
  Reservation claim_;
  std::atomic<bool> closed_{false};
};

}  // namespace

Result<std::shared_ptr<arrow::io::RandomAccessFile>> OpenS3File(const FileEntry& entry,
                                                                arrow::MemoryPool* pool,
                                                                const CancelToken& cancel) {
  ARROW_ASSIGN_OR_RAISE(S3Location at, ParseS3(entry.location));
  ARROW_ASSIGN_OR_RAISE(auto client, S3Client::Of(at.bucket));
  S3Object object{std::move(at.key), entry.size_bytes, entry.etag};
  if (object.size_bytes < 0) return BugError("the size of '" + entry.location + "' is not known");
  Reservation claim;
  if (auto* budget = dynamic_cast<BudgetPool*>(pool)) {
    ARROW_ASSIGN_OR_RAISE(claim, budget->Reserve(kConnectionBytes));
  }
  return std::make_shared<S3File>(std::move(client), std::move(object), pool, cancel, std::move(claim));
}

}  // namespace partita
