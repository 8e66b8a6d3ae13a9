#include "components/image/resize_geometry.h"

#include <algorithm>
#include <cmath>

namespace partita {

namespace {

// Python's round: halves to the even neighbour, which is the default rounding mode of nearbyint.
int Scaled(int length, double scale) { return std::max(1, static_cast<int>(std::nearbyint(length * scale))); }

}  // namespace

ResizeGeometry PlanResize(int width, int height, const ResizeOptions& options) {
  ResizeGeometry g;
  g.scaled_width = g.crop_width = g.width = width;
  g.scaled_height = g.crop_height = g.height = height;
  if (options.mode == ResizeMode::kNo) return g;

  const double to_width = options.width / static_cast<double>(width);
  const double to_height = options.height / static_cast<double>(height);
  const bool covers = options.mode == ResizeMode::kKeepRatio || options.mode == ResizeMode::kCenterCrop;
  const double scale = covers ? std::max(to_width, to_height) : std::min(to_width, to_height);
  const bool shrinks = scale < 1;
  if (options.resize_only_if_bigger && !shrinks) return g;

  g.interpolation = shrinks ? options.downscale : options.upscale;
  if (options.mode == ResizeMode::kFixed) {
    g.scaled_width = options.width;
    g.scaled_height = options.height;
  } else if (scale != 1) {
    g.scaled_width = Scaled(width, scale);
    g.scaled_height = Scaled(height, scale);
  }
  g.crop_width = g.width = g.scaled_width;
  g.crop_height = g.height = g.scaled_height;
  if (options.mode == ResizeMode::kCenterCrop) {
    g.crop_width = g.width = std::min(options.width, g.scaled_width);
    g.crop_height = g.height = std::min(options.height, g.scaled_height);
    g.crop_x = (g.scaled_width - g.crop_width) / 2;
    g.crop_y = (g.scaled_height - g.crop_height) / 2;
  } else if (options.mode == ResizeMode::kBorder) {
    g.width = std::max(options.width, g.scaled_width);
    g.height = std::max(options.height, g.scaled_height);
    g.pad_left = (g.width - g.scaled_width) / 2;
    g.pad_top = (g.height - g.scaled_height) / 2;
  }
  g.changes = g.width != width || g.height != height || g.scaled_width != width || g.scaled_height != height;
  return g;
}

}  // namespace partita
