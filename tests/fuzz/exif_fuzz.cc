// EXIF of hostile files: any bytes give an orientation and JSON.
#include "components/image/exif.h"
#include "partita/base/json.h"
#include "tests/fuzz/fuzz_input.h"

namespace {

void Look(const uint8_t* data, size_t size) {
  const int orientation = partita::ExifOrientation(data, static_cast<int64_t>(size));
  FUZZ_CHECK(orientation >= 1 && orientation <= 8, std::to_string(orientation));
  const std::string json = partita::ExifJson(data, static_cast<int64_t>(size));
  const auto parsed = partita::ParseJson(json);
  FUZZ_CHECK(parsed.ok() && parsed->is_object(), json);
}

}  // namespace

// As a file, and as the EXIF block of a JPEG: so that lengths of segments do not hide what is inside.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Look(data, size);
  const size_t length = std::min<size_t>(size, 65000) + 8;
  std::string jpeg("\xFF\xD8\xFF\xE1", 4);
  jpeg += static_cast<char>(length >> 8);
  jpeg += static_cast<char>(length & 255);
  jpeg.append("Exif\0\0", 6).append(reinterpret_cast<const char*>(data), length - 8).append("\xFF\xD9", 2);
  Look(reinterpret_cast<const uint8_t*>(jpeg.data()), jpeg.size());
  return 0;
}
