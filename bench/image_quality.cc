// How far is a scaled JPEG decode from a full one? Both are resized by box average; the difference is of 255,
// over all channels. Writes the tables of docs/image_quality.md.
//
//   image_quality FOLDER     (of JPEGs)
#include <arrow/buffer.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "components/image/image_reader.h"
#include "components/image/jpeg.h"
#include "components/image/resize.h"
#include "partita/memory/budget.h"

namespace partita {
namespace {

struct File {
  std::string name;
  std::string bytes;
};

template <typename T>
T Must(Result<T> result) {
  if (result.ok()) return std::move(result).ValueUnsafe();
  std::fprintf(stderr, "%s\n", RenderError(result.status()).c_str());
  std::exit(1);
}

Result<Image> Decode(const File& file, int n, BudgetPool* pool) {
  ARROW_ASSIGN_OR_RAISE(auto reader, OpenImage(reinterpret_cast<const uint8_t*>(file.bytes.data()),
                                               static_cast<int64_t>(file.bytes.size()), AlphaMode::kOnWhite,
                                               kDefaultMaxImagePixels, pool));
  ARROW_ASSIGN_OR_RAISE(Image image, Image::Allocate(reader->ScaledWidth(n), reader->ScaledHeight(n),
                                                     reader->channels(), pool));
  ARROW_RETURN_NOT_OK(reader->Start(n, 0, image.width));
  ARROW_RETURN_NOT_OK(reader->ReadRows(image.height, image.row(0), image.stride_bytes()));
  return image;
}

// `full` gives the size in pixels of the file; `image` is that, decoded at n/8.
Result<Image> Shrink(const Image& image, const Image& full, int n, int width, int height, BudgetPool* pool) {
  ARROW_ASSIGN_OR_RAISE(Image out, Image::Allocate(width, height, image.channels, pool));
  const ResizeAxis x{image.width, int64_t{full.width} * n, width, 0, width};
  const ResizeAxis y{image.height, int64_t{full.height} * n, height, 0, height};
  ARROW_ASSIGN_OR_RAISE(auto resizer, RowResizer::Make(x, y, image.channels, Interpolation::kArea, out.row(0),
                                                       out.stride_bytes(), pool));
  for (int r = resizer->row_begin(); r < resizer->row_end(); ++r) resizer->Push(image.view().row(r));
  return out;
}

double MeanDifference(const Image& a, const Image& b) {
  int64_t sum = 0;
  for (int64_t i = 0; i < a.size_bytes(); ++i) sum += std::abs(a.buffer->data()[i] - b.buffer->data()[i]);
  return static_cast<double>(sum) / static_cast<double>(a.size_bytes());
}

struct Row {
  double sum = 0, worst = 0;
  int images = 0;
  std::string worst_name;
  void Add(double difference, const std::string& name) {
    sum += difference;
    ++images;
    if (difference < worst) return;
    worst = difference;
    worst_name = name;
  }
};

void PrintScales(const std::vector<File>& files, BudgetPool* pool) {
  std::printf(
      "| decoded at | decoded / output | ratio | mean | worst image |\n| --- | --- | --- | --- | --- |\n");
  for (const int n : {4, 2, 1}) {
    for (const double rest : {1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0}) {
      const double ratio = rest * 8 / n;
      Row row;
      for (const File& file : files) {
        const Image full = Must(Decode(file, 8, pool));
        const Image scaled = Must(Decode(file, n, pool));
        const int width = std::max(1, static_cast<int>(std::lround(full.width / ratio)));
        const int height = std::max(1, static_cast<int>(std::lround(full.height / ratio)));
        row.Add(MeanDifference(Must(Shrink(full, full, 8, width, height, pool)),
                               Must(Shrink(scaled, full, n, width, height, pool))),
                file.name);
      }
      std::printf("| %d/8 | %.2f | %.2f | %.2f | %.2f |\n", n, rest, ratio, row.sum / row.images, row.worst);
    }
  }
}

void PrintSizes(const std::vector<File>& files, BudgetPool* pool) {
  std::printf("\n| shortest side | mean | worst image | which |\n| --- | --- | --- | --- |\n");
  for (const int size : {384, 320, 256, 224, 192, 128, 96, 64, 32}) {
    Row row;
    for (const File& file : files) {
      const Image full = Must(Decode(file, 8, pool));
      const double scale = static_cast<double>(size) / std::min(full.width, full.height);
      if (scale > 1) continue;
      const int width = std::max(1, static_cast<int>(std::nearbyint(full.width * scale)));
      const int height = std::max(1, static_cast<int>(std::nearbyint(full.height * scale)));
      const int n = JpegScaleFor(full.width, full.height, width, height);
      row.Add(MeanDifference(Must(Shrink(full, full, 8, width, height, pool)),
                             Must(Shrink(Must(Decode(file, n, pool)), full, n, width, height, pool))),
              file.name);
    }
    if (row.images == 0) continue;
    std::printf("| %d | %.2f | %.2f | %s |\n", size, row.sum / row.images, row.worst, row.worst_name.c_str());
  }
}

}  // namespace
}  // namespace partita

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: image_quality FOLDER\n");
    return 2;
  }
  std::vector<partita::File> files;
  for (const auto& entry : std::filesystem::directory_iterator(argv[1])) {
    std::ifstream in(entry.path(), std::ios::binary);
    files.push_back({entry.path().filename().string(), {std::istreambuf_iterator<char>(in), {}}});
  }
  std::sort(files.begin(), files.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  if (files.empty()) return 2;
  const auto pool = partita::Budget::Make(int64_t{2} << 30)->root();
  partita::PrintScales(files, pool.get());
  partita::PrintSizes(files, pool.get());
  return 0;
}
