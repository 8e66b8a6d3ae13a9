#include "partita/exchange/run_groups.h"

#include <arrow/api.h>

#include <algorithm>

namespace partita {
namespace {

constexpr size_t kMaxFanIn = 128;  // files are open while they are merged

}  // namespace

RunGroups::RunGroups(Env* env, std::shared_ptr<arrow::Schema> schema, KeysOf keys_of, std::string scratch,
                     int64_t frame_bytes)
    : env_(env),
      schema_(std::move(schema)),
      keys_of_(std::move(keys_of)),
      scratch_(std::move(scratch)),
      frame_bytes_(frame_bytes) {}

RunGroups::~RunGroups() {
  for (const auto& path : files_) (void)env_->RemoveFile(path);
}

Status RunGroups::Reduce(size_t most, std::vector<RunSlice>* slices, const OperatorContext& ctx) {
  most = std::max<size_t>(most, 2);
  while (slices->size() > most) {
    // Only as many as must go are merged.
    const size_t count = std::min({kMaxFanIn, slices->size() - most + 1, slices->size() - next_});
    if (count < 2) {
      next_ = 0;
      continue;
    }
    const auto at = slices->begin() + static_cast<std::ptrdiff_t>(next_);
    const auto past = at + static_cast<std::ptrdiff_t>(count);
    ARROW_ASSIGN_OR_RAISE(auto merged, Merge({at, past}, ctx));
    *at = std::move(merged);
    slices->erase(at + 1, past);
    ++next_;
  }
  return Status::OK();
}

Result<RunSlice> RunGroups::Merge(std::vector<RunSlice> group, const OperatorContext& ctx) {
  const std::string path = scratch_ + "-" + std::to_string(files_.size());
  ARROW_RETURN_NOT_OK(env_->CreateDirs(std::string(DirName(path))));
  files_.push_back(path);
  const int64_t cached_bytes = group[0].cached_bytes;
  ARROW_ASSIGN_OR_RAISE(auto writer, RunFileWriter::Open(env_, path, schema_, cached_bytes));
  // A bound by key alone stays: a reader may ask where the range begins. One at a row of a run does not:
  // other rows stand there now, and all of them are in the range.
  const auto kept = [&](std::optional<RunBound> RunSlice::*bound) -> std::optional<RunBound> {
    const auto& first = group.front().*bound;
    const auto& last = group.back().*bound;
    const bool same = first && last && first->tie == last->tie && first->tie != 0;
    return same ? first : std::nullopt;
  };
  const auto lower = kept(&RunSlice::lower), upper = kept(&RunSlice::upper);
  RunMerger merger(env_, std::move(group), schema_, keys_of_);
  while (true) {
    ARROW_RETURN_NOT_OK(ctx.cancel.Check());
    ARROW_ASSIGN_OR_RAISE(auto batch, merger.Next(frame_bytes_, ctx.pool.get()));
    if (!batch) break;
    ARROW_ASSIGN_OR_RAISE(const auto keys, keys_of_(*batch->Slice(0, 1), ctx.pool.get()));
    ARROW_RETURN_NOT_OK(writer->Append(*batch, PointOf(keys.prefix(0), keys.whole(0)), ctx.pool.get()));
  }
  ARROW_RETURN_NOT_OK(writer->Close({}));
  RunSlice slice;
  slice.path = path;
  slice.cached_bytes = cached_bytes;
  auto index = writer->index();
  if (index.runs.empty()) index.runs.emplace_back();
  slice.index = std::make_shared<const RunIndex>(std::move(index));
  slice.lower = lower;
  slice.upper = upper;
  return slice;
}

}  // namespace partita
