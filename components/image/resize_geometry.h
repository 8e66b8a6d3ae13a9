// Where the pixels go: sizes of img2dataset's resize modes, as pure arithmetic.
#pragma once

#include "components/image/resize_images.h"

namespace partita {

struct ResizeGeometry {
  bool changes = false;                     // false: the pixels stay as they are
  int scaled_width = 0, scaled_height = 0;  // after scaling, before cropping
  int crop_x = 0, crop_y = 0, crop_width = 0, crop_height = 0;
  int pad_left = 0, pad_top = 0;  // of the output; the rest of the border is right and below
  int width = 0, height = 0;      // of the output
  Interpolation interpolation = Interpolation::kArea;
};

ResizeGeometry PlanResize(int width, int height, const ResizeOptions& options);

}  // namespace partita
