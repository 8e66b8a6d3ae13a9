// EXIF: what a camera wrote beside the pixels. Read from the file's segments or chunks without decoding;
// every offset is checked, and broken EXIF is no error: what can be read is given.
#pragma once

#include <cstdint>
#include <string>

namespace partita {

// 1 (as stored) .. 8; 1 where there is none.
int ExifOrientation(const uint8_t* data, int64_t size);

// A JSON object of tag to text, e.g. {"EXIF ExposureTime":"1/50","Image Make":"Canon"}; "{}" where there is
// none. Groups are Image, EXIF, GPS and Interoperability; tags without a known name are "Image Tag 0x1234".
// Binary blobs are left out.
std::string ExifJson(const uint8_t* data, int64_t size);

}  // namespace partita
