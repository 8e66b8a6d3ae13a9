#include "partita/storage/parquet/text_codes.h"

#include <algorithm>
#include <utility>

namespace partita {
namespace {

constexpr int64_t kFirstSlots = 256;

}  // namespace

Status TextCodes::Append(std::string_view text) {
  const auto length = static_cast<uint32_t>(text.size());
  ARROW_RETURN_NOT_OK(begins_.Reserve(1));
  const auto begin = static_cast<uint32_t>(plain_.length());
  ARROW_RETURN_NOT_OK(plain_.Append(&length, sizeof(length)));
  ARROW_RETURN_NOT_OK(plain_.Append(text.data(), length));
  begins_.UnsafeAppend(begin);
  return Status::OK();
}

Status TextCodes::Grow() {
  const int64_t slots = std::max(kFirstSlots, 2 * slots_.length());
  arrow::TypedBufferBuilder<Slot> grown(pool_);
  ARROW_RETURN_NOT_OK(grown.Reserve(slots));
  grown.UnsafeAppend(slots, Slot());
  slots_ = std::move(grown);
  for (uint32_t code = 0; code < size(); ++code) {
    const auto text = At(code);
    const uint64_t hash = Checksum64(text.data(), static_cast<int64_t>(text.size()));
    Slot* slot = HomeOf(hash);
    while (slot->number != 0) slot = NextOf(slot);
    *slot = {MarkOf(hash), code + 1};
  }
  return Status::OK();
}

}  // namespace partita
