// Framed files (exchange, spill) from a damaged disk. An even first byte makes the checksums right, so that
// what lies behind them is reached; the second chooses the rows that are asked for.
#include <arrow/api.h>

#include "partita/base/digest.h"
#include "partita/memory/budget.h"
#include "partita/runs/framed_file.h"
#include "tests/fuzz/fuzz_input.h"

namespace {

// "PXF1", then frames of u32 magic, u32 kind, i64 rows, i64 length, u64 checksum, payload.
void MendChecksums(std::string* bytes) {
  for (size_t at = 4; at + 32 <= bytes->size();) {
    int64_t rows = 0, length = 0;
    std::memcpy(&rows, bytes->data() + at + 8, 8);
    std::memcpy(&length, bytes->data() + at + 16, 8);
    if (length < 0 || static_cast<uint64_t>(length) > bytes->size() - at - 32) return;
    const uint64_t sum = partita::Checksum64(bytes->data() + at + 32, length, static_cast<uint64_t>(rows));
    std::memcpy(bytes->data() + at + 24, &sum, 8);
    at += 32 + static_cast<size_t>(length);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace partita;
  if (size < 2) return 0;
  static const fuzz::ScratchFile scratch(".pxf");
  std::string bytes(fuzz::Text(data + 2, size - 2));
  if (data[0] % 2 == 0) MendChecksums(&bytes);
  const auto pool = Budget::Make(64 << 20)->root();
  {
    auto reader = FramedFileReader::Open(Env::Default(), scratch.Put(bytes), pool.get(), data[1] % 16,
                                         data[1] < 128 ? INT64_MAX : data[1] / 16);
    int64_t rows = 0;
    while (reader.ok()) {
      auto batch = (*reader)->Next();
      if (!batch.ok() || *batch == nullptr) break;
      FUZZ_CHECK((*batch)->num_rows() > 0, "an empty batch");
      rows += (*batch)->num_rows();
      (void)(*batch)->ValidateFull();  // a batch whose checksum was forged may be wrong, but can be looked at
    }
    if (data[1] >= 128) FUZZ_CHECK(rows <= data[1] / 16, "more rows than asked for");
  }
  FUZZ_CHECK(pool->bytes_allocated() == 0, "memory is not given back");
  return 0;
}
