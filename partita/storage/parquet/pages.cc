#include "partita/storage/parquet/pages.h"

#include <arrow/buffer.h>

#include <algorithm>
#include <cstring>
#include <utility>

namespace partita {
namespace {

constexpr int64_t kFirstBlockBytes = 4 << 10;
constexpr int64_t kLargestBlockBytes = 1 << 20;
constexpr int64_t kCopyBytes = 1 << 20;
constexpr int64_t kLeastCopyBytes = 16 << 10;

}  // namespace

Result<int64_t> PageStage::Append(const uint8_t* data, int64_t size) {
  if (in_) return BugError("pages are staged after the stage was read");
  if (!out_) {
    ARROW_RETURN_NOT_OK(env_->CreateDirs(dir_));
    path_ = JoinPath(dir_, "pages-" + env_->RandomHex(8) + ".spill");
    ARROW_ASSIGN_OR_RAISE(out_, env_->OpenWrite(path_));
  }
  ARROW_RETURN_NOT_OK(out_->Write(data, size));
  return std::exchange(size_, size_ + size);
}

Status PageStage::CopyTo(int64_t offset, int64_t size, arrow::io::OutputStream* out,
                         arrow::MemoryPool* pool) {
  if (!in_) {
    ARROW_RETURN_NOT_OK(out_->Close());
    ARROW_ASSIGN_OR_RAISE(in_, env_->OpenRead(path_, {.drop_cache = true}));
  }
  // Where memory is so short that pages were staged, less must do.
  auto allocated = arrow::AllocateBuffer(std::min(size, kCopyBytes), pool);
  if (!allocated.ok()) allocated = arrow::AllocateBuffer(std::min(size, kLeastCopyBytes), pool);
  ARROW_ASSIGN_OR_RAISE(auto buffer, std::move(allocated));
  while (size > 0) {
    ARROW_ASSIGN_OR_RAISE(const int64_t got,
                          in_->ReadAt(offset, std::min(size, buffer->size()), buffer->mutable_data()));
    if (got <= 0)
      return EnvironmentError("the spill file " + path_ + " is shorter than what was written to it");
    ARROW_RETURN_NOT_OK(out->Write(buffer->data(), got));
    offset += got;
    size -= got;
  }
  return Status::OK();
}

void PageStage::Reset() {
  if (out_ && !out_->closed()) (void)out_->Close();
  out_.reset();
  in_.reset();
  if (!path_.empty()) (void)env_->RemoveFile(path_);
  path_.clear();
  size_ = 0;
}

Status PageBytes::Write(const void* data, int64_t nbytes) {
  if (token_ != nullptr && data == token_) {
    token_ = nullptr;
    const std::string head = std::move(substitute_head_);
    if (nbytes != static_cast<int64_t>(head.size()) + substitute_body_->size()) {
      return BugError("a page of another size than its substitute");
    }
    if (!head.empty()) ARROW_RETURN_NOT_OK(Write(head.data(), static_cast<int64_t>(head.size())));
    Append(substitute_body_);
    return Status::OK();
  }
  const auto* from = static_cast<const uint8_t*>(data);
  while (nbytes > 0) {
    if (!tail_ || tail_used_ == tail_->size()) ARROW_RETURN_NOT_OK(NewTail());
    const int64_t some = std::min(nbytes, tail_->size() - tail_used_);
    std::memcpy(tail_->mutable_data() + tail_used_, from, static_cast<size_t>(some));
    tail_used_ += some;
    pieces_.back().size += some;
    size_ += some;
    from += some;
    nbytes -= some;
  }
  return Status::OK();
}

Status PageBytes::NewTail() {
  const int64_t block = std::clamp(memory_bytes_, kFirstBlockBytes, kLargestBlockBytes);
  // The allocation may stage this very object's pieces: state is touched after it.
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> fresh, arrow::AllocateBuffer(block, pool_));
  memory_bytes_ += fresh->size();
  pieces_.push_back({fresh, 0, 0});
  tail_ = std::move(fresh);
  tail_used_ = 0;
  return Status::OK();
}

void PageBytes::Append(std::shared_ptr<arrow::Buffer> buffer) {
  if (buffer->size() == 0) return;
  tail_.reset();
  size_ += buffer->size();
  memory_bytes_ += buffer->size();
  const int64_t bytes = buffer->size();
  pieces_.push_back({std::move(buffer), 0, bytes});
}

void PageBytes::Append(PageBytes* other) {
  tail_.reset();
  size_ += other->size_;
  memory_bytes_ += other->memory_bytes_;
  for (auto& piece : other->pieces_) pieces_.push_back(std::move(piece));
  other->Clear();
}

void PageBytes::Substitute(const void* token, std::string head, PageBytes* body) {
  token_ = token;
  substitute_head_ = std::move(head);
  substitute_body_ = body;
}

Status PageBytes::Stage(PageStage* stage) {
  tail_.reset();
  for (auto& piece : pieces_) {
    if (!piece.buffer) continue;
    ARROW_ASSIGN_OR_RAISE(piece.begin, stage->Append(piece.buffer->data() + piece.begin, piece.size));
    piece.buffer.reset();
  }
  memory_bytes_ = 0;
  return Status::OK();
}

Status PageBytes::MoveTo(arrow::io::OutputStream* out, PageStage* stage, arrow::MemoryPool* pool) {
  tail_.reset();
  for (auto& piece : pieces_) {
    if (piece.buffer) {
      ARROW_RETURN_NOT_OK(out->Write(piece.buffer->data() + piece.begin, piece.size));
      piece.buffer.reset();
    } else {
      ARROW_RETURN_NOT_OK(stage->CopyTo(piece.begin, piece.size, out, pool));
    }
  }
  Clear();
  return Status::OK();
}

void PageBytes::Clear() {
  pieces_.clear();
  tail_.reset();
  tail_used_ = size_ = memory_bytes_ = 0;
}

template <typename Attempt>
Status ReliefPool::Try(Attempt&& attempt) {
  for (int i = 0;; ++i) {
    Status status = attempt();
    if (!status.IsOutOfMemory() || relieving_) return status;
    relieving_ = true;
    const bool relieved = relieve_(i);
    relieving_ = false;
    if (!relieved) return status;
  }
}

Status ReliefPool::Allocate(int64_t size, int64_t alignment, uint8_t** out) {
  return Try([&] { return base_->Allocate(size, alignment, out); });
}

Status ReliefPool::Reallocate(int64_t old_size, int64_t new_size, int64_t alignment, uint8_t** ptr) {
  return Try([&] { return base_->Reallocate(old_size, new_size, alignment, ptr); });
}

}  // namespace partita
