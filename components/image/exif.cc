#include "components/image/exif.h"

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <iterator>
#include <string_view>

#include "components/image/image.h"
#include "partita/base/json.h"

namespace partita {

namespace {

constexpr int kMaxEntries = 512;  // of one directory
constexpr int64_t kMaxValueBytes = 4096;
constexpr uint32_t kMaxListed = 32;  // elements of a value that are written

struct TagName {
  uint16_t tag;
  const char* name;
};

// Sorted by tag.
constexpr TagName kImageTags[] = {{0x0100, "ImageWidth"},
                                  {0x0101, "ImageLength"},
                                  {0x010E, "ImageDescription"},
                                  {0x010F, "Make"},
                                  {0x0110, "Model"},
                                  {0x0112, "Orientation"},
                                  {0x011A, "XResolution"},
                                  {0x011B, "YResolution"},
                                  {0x0128, "ResolutionUnit"},
                                  {0x0131, "Software"},
                                  {0x0132, "DateTime"},
                                  {0x013B, "Artist"},
                                  {0x013E, "WhitePoint"},
                                  {0x0213, "YCbCrPositioning"},
                                  {0x4746, "Rating"},
                                  {0x8298, "Copyright"}};
constexpr TagName kExifTags[] = {{0x829A, "ExposureTime"},
                                 {0x829D, "FNumber"},
                                 {0x8822, "ExposureProgram"},
                                 {0x8827, "ISOSpeedRatings"},
                                 {0x8830, "SensitivityType"},
                                 {0x9000, "ExifVersion"},
                                 {0x9003, "DateTimeOriginal"},
                                 {0x9004, "DateTimeDigitized"},
                                 {0x9010, "OffsetTime"},
                                 {0x9011, "OffsetTimeOriginal"},
                                 {0x9012, "OffsetTimeDigitized"},
                                 {0x9101, "ComponentsConfiguration"},
                                 {0x9102, "CompressedBitsPerPixel"},
                                 {0x9201, "ShutterSpeedValue"},
                                 {0x9202, "ApertureValue"},
                                 {0x9203, "BrightnessValue"},
                                 {0x9204, "ExposureBiasValue"},
                                 {0x9205, "MaxApertureValue"},
                                 {0x9206, "SubjectDistance"},
                                 {0x9207, "MeteringMode"},
                                 {0x9208, "LightSource"},
                                 {0x9209, "Flash"},
                                 {0x920A, "FocalLength"},
                                 {0x9290, "SubSecTime"},
                                 {0x9291, "SubSecTimeOriginal"},
                                 {0x9292, "SubSecTimeDigitized"},
                                 {0xA000, "FlashPixVersion"},
                                 {0xA001, "ColorSpace"},
                                 {0xA002, "ExifImageWidth"},
                                 {0xA003, "ExifImageLength"},
                                 {0xA20E, "FocalPlaneXResolution"},
                                 {0xA20F, "FocalPlaneYResolution"},
                                 {0xA210, "FocalPlaneResolutionUnit"},
                                 {0xA217, "SensingMethod"},
                                 {0xA300, "FileSource"},
                                 {0xA301, "SceneType"},
                                 {0xA401, "CustomRendered"},
                                 {0xA402, "ExposureMode"},
                                 {0xA403, "WhiteBalance"},
                                 {0xA404, "DigitalZoomRatio"},
                                 {0xA405, "FocalLengthIn35mmFilm"},
                                 {0xA406, "SceneCaptureType"},
                                 {0xA407, "GainControl"},
                                 {0xA408, "Contrast"},
                                 {0xA409, "Saturation"},
                                 {0xA40A, "Sharpness"},
                                 {0xA420, "ImageUniqueID"},
                                 {0xA431, "BodySerialNumber"},
                                 {0xA432, "LensSpecification"},
                                 {0xA433, "LensMake"},
                                 {0xA434, "LensModel"}};
constexpr TagName kGpsTags[] = {
    {0x00, "GPSVersionID"}, {0x01, "GPSLatitudeRef"}, {0x02, "GPSLatitude"},        {0x03, "GPSLongitudeRef"},
    {0x04, "GPSLongitude"}, {0x05, "GPSAltitudeRef"}, {0x06, "GPSAltitude"},        {0x07, "GPSTimeStamp"},
    {0x0C, "GPSSpeedRef"},  {0x0D, "GPSSpeed"},       {0x10, "GPSImgDirectionRef"}, {0x11, "GPSImgDirection"},
    {0x12, "GPSMapDatum"},  {0x1D, "GPSDate"}};

constexpr uint16_t kExifPointer = 0x8769;
constexpr uint16_t kGpsPointer = 0x8825;
constexpr uint16_t kInteroperabilityPointer = 0xA005;
constexpr uint16_t kOrientation = 0x0112;

// The TIFF structure inside of EXIF. Reads outside give zero; `Has` is asked first where it matters.
class Tiff {
 public:
  explicit Tiff(std::string_view bytes) : bytes_(bytes) {
    if (bytes_.size() < 8) return;
    big_ = bytes_.substr(0, 2) == "MM";
    valid_ = (big_ || bytes_.substr(0, 2) == "II") && U16(2) == 42;
  }
  bool valid() const { return valid_; }
  bool Has(uint64_t offset, uint64_t size) const {
    return offset <= bytes_.size() && size <= bytes_.size() - offset;
  }
  uint8_t U8(uint64_t at) const { return Has(at, 1) ? static_cast<uint8_t>(bytes_[at]) : 0; }
  uint16_t U16(uint64_t at) const {
    const unsigned a = U8(at), b = U8(at + 1);
    return static_cast<uint16_t>(big_ ? a << 8 | b : b << 8 | a);
  }
  uint32_t U32(uint64_t at) const {
    const uint32_t a = U16(at), b = U16(at + 2);
    return big_ ? a << 16 | b : b << 16 | a;
  }
  std::string_view Bytes(uint64_t offset, uint64_t size) const { return bytes_.substr(offset, size); }

 private:
  std::string_view bytes_;
  bool big_ = false;
  bool valid_ = false;
};

struct Entry {
  uint16_t tag = 0;
  uint16_t type = 0;
  uint32_t count = 0;
  uint64_t value_at = 0;
};

int TypeBytes(uint16_t type) {
  constexpr int kBytes[] = {0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8};
  return type < std::size(kBytes) ? kBytes[type] : 0;
}

// Calls visit(entry) for the entries whose values lie inside of the data.
template <typename Visit>
void ForEachEntry(const Tiff& tiff, uint32_t directory, const Visit& visit) {
  if (!tiff.Has(directory, 2)) return;
  const int count = std::min<int>(tiff.U16(directory), kMaxEntries);
  for (int i = 0; i < count; ++i) {
    const uint64_t at = uint64_t{directory} + 2 + 12 * static_cast<uint64_t>(i);
    if (!tiff.Has(at, 12)) return;
    Entry entry{tiff.U16(at), tiff.U16(at + 2), tiff.U32(at + 4), at + 8};
    const uint64_t bytes = uint64_t{entry.count} * static_cast<uint64_t>(TypeBytes(entry.type));
    if (bytes == 0) continue;
    if (bytes > 4) entry.value_at = tiff.U32(at + 8);
    if (tiff.Has(entry.value_at, bytes)) visit(entry, bytes);
  }
}

std::string Ratio(int64_t numerator, int64_t denominator) {
  if (denominator == 0) return std::to_string(numerator) + "/0";
  int64_t a = std::abs(numerator), b = std::abs(denominator);
  while (b != 0) {
    const int64_t rest = a % b;
    a = b;
    b = rest;
  }
  if (a > 1) {
    numerator /= a;
    denominator /= a;
  }
  if (denominator == 1) return std::to_string(numerator);
  return std::to_string(numerator) + "/" + std::to_string(denominator);
}

std::string ElementText(const Tiff& tiff, uint16_t type, uint64_t at) {
  switch (type) {
    case 1:
      return std::to_string(tiff.U8(at));
    case 3:
      return std::to_string(tiff.U16(at));
    case 4:
      return std::to_string(tiff.U32(at));
    case 5:
      return Ratio(tiff.U32(at), tiff.U32(at + 4));
    case 6:
      return std::to_string(static_cast<int8_t>(tiff.U8(at)));
    case 8:
      return std::to_string(static_cast<int16_t>(tiff.U16(at)));
    case 9:
      return std::to_string(static_cast<int32_t>(tiff.U32(at)));
    case 10:
      return Ratio(static_cast<int32_t>(tiff.U32(at)), static_cast<int32_t>(tiff.U32(at + 4)));
    default:
      return "";
  }
}

// Empty: nothing worth writing.
std::string ValueText(const Tiff& tiff, const Entry& entry, uint64_t bytes) {
  if (entry.type == 2 || (entry.type == 7 && entry.count == 4)) {  // text; versions are 4 undefined bytes
    std::string_view text = tiff.Bytes(entry.value_at, std::min<uint64_t>(bytes, kMaxValueBytes));
    text = text.substr(0, text.find('\0'));
    while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
    return std::string(text);
  }
  if (entry.type == 7 || entry.type > 10) return "";
  if (entry.count == 1) return ElementText(tiff, entry.type, entry.value_at);
  std::string text = "[";
  const uint32_t listed = std::min(entry.count, kMaxListed);
  for (uint32_t i = 0; i < listed; ++i) {
    if (i > 0) text += ", ";
    text += ElementText(tiff, entry.type,
                        entry.value_at + uint64_t{i} * static_cast<uint64_t>(TypeBytes(entry.type)));
  }
  return text + (listed < entry.count ? ", ...]" : "]");
}

template <size_t N>
std::string TagText(const TagName (&names)[N], uint16_t tag) {
  for (const TagName& known : names) {
    if (known.tag == tag) return known.name;
  }
  char text[16];
  std::snprintf(text, sizeof(text), "Tag 0x%04X", tag);
  return text;
}

std::string KeyOf(std::string_view group, uint16_t tag) {
  std::string name;
  if (group == "EXIF") {
    name = TagText(kExifTags, tag);
  } else if (group == "GPS") {
    name = TagText(kGpsTags, tag);
  } else {
    name = TagText(kImageTags, tag);
  }
  return std::string(group) + " " + name;
}

void AddDirectory(const Tiff& tiff, uint32_t directory, std::string_view group, int depth, Json* out) {
  ForEachEntry(tiff, directory, [&](const Entry& entry, uint64_t bytes) {
    const bool is_pointer =
        entry.tag == kExifPointer || entry.tag == kGpsPointer || entry.tag == kInteroperabilityPointer;
    if (is_pointer) {
      if (depth >= 2) return;
      const std::string_view name = entry.tag == kExifPointer  ? "EXIF"
                                    : entry.tag == kGpsPointer ? "GPS"
                                                               : "Interoperability";
      AddDirectory(tiff, tiff.U32(entry.value_at), name, depth + 1, out);
      return;
    }
    std::string text = ValueText(tiff, entry, bytes);
    if (!text.empty()) (*out)[KeyOf(group, entry.tag)] = std::move(text);
  });
}

uint32_t Big32(std::string_view bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 0; i < 4; ++i) value = value << 8 | static_cast<uint8_t>(bytes[at + i]);
  return value;
}

uint32_t Little32(std::string_view bytes, size_t at) {
  uint32_t value = 0;
  for (size_t i = 4; i-- > 0;) value = value << 8 | static_cast<uint8_t>(bytes[at + i]);
  return value;
}

constexpr std::string_view kExifHeader("Exif\0\0", 6);

std::string_view WithoutHeader(std::string_view bytes) {
  return bytes.substr(0, 6) == kExifHeader ? bytes.substr(6) : bytes;
}

std::string_view ExifOfJpeg(std::string_view file) {
  size_t at = 2;
  while (at + 4 <= file.size() && static_cast<uint8_t>(file[at]) == 0xFF) {
    const auto marker = static_cast<uint8_t>(file[at + 1]);
    if (marker == 0xFF) {
      ++at;
      continue;
    }
    if (marker == 0xD9 || marker == 0xDA) return {};
    if (marker == 0x01 || (marker >= 0xD0 && marker <= 0xD8)) {
      at += 2;
      continue;
    }
    const size_t length =
        static_cast<size_t>(static_cast<uint8_t>(file[at + 2])) << 8 | static_cast<uint8_t>(file[at + 3]);
    if (length < 2 || length > file.size() - at - 2) return {};
    const std::string_view segment = file.substr(at + 4, length - 2);
    if (marker == 0xE1 && segment.substr(0, 6) == kExifHeader) return segment.substr(6);
    at += 2 + length;
  }
  return {};
}

std::string_view ExifOfPng(std::string_view file) {
  size_t at = 8;
  while (file.size() - at >= 12) {
    const uint32_t length = Big32(file, at);
    if (length > file.size() - at - 12) return {};
    if (file.substr(at + 4, 4) == "eXIf") return WithoutHeader(file.substr(at + 8, length));
    at += 12 + size_t{length};
  }
  return {};
}

std::string_view ExifOfWebp(std::string_view file) {
  size_t at = 12;
  while (at <= file.size() && file.size() - at >= 8) {
    const uint32_t length = Little32(file, at + 4);
    if (length > file.size() - at - 8) return {};
    if (file.substr(at, 4) == "EXIF") return WithoutHeader(file.substr(at + 8, length));
    at += 8 + size_t{length} + (length & 1);
  }
  return {};
}

Tiff FindExif(const uint8_t* data, int64_t size) {
  const std::string_view file(reinterpret_cast<const char*>(data), static_cast<size_t>(size));
  switch (DetectImageFormat(data, size)) {
    case ImageFormat::kJpeg:
      return Tiff(ExifOfJpeg(file));
    case ImageFormat::kPng:
      return Tiff(ExifOfPng(file));
    case ImageFormat::kWebp:
      return Tiff(ExifOfWebp(file));
    case ImageFormat::kUnknown:
      break;
  }
  return Tiff({});
}

}  // namespace

int ExifOrientation(const uint8_t* data, int64_t size) {
  const Tiff tiff = FindExif(data, size);
  if (!tiff.valid()) return 1;
  int orientation = 1;
  ForEachEntry(tiff, tiff.U32(4), [&](const Entry& entry, uint64_t) {
    if (entry.tag == kOrientation && entry.type == 3) orientation = tiff.U16(entry.value_at);
  });
  return orientation >= 1 && orientation <= 8 ? orientation : 1;
}

std::string ExifJson(const uint8_t* data, int64_t size) {
  const Tiff tiff = FindExif(data, size);
  Json object = Json::object();
  if (tiff.valid()) AddDirectory(tiff, tiff.U32(4), "Image", 0, &object);
  return CanonicalJson(object);
}

}  // namespace partita
