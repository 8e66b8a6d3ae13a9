// The image steps, one definition each. Internal to the registration.
#pragma once

#include "partita/base/error.h"

namespace partita {

Status RegisterResizeSteps();      // resize_images
Status RegisterResolutionSteps();  // extract_image_resolution, filter_image_resolution
Status RegisterPixelSteps();       // decode_image, encode_image

}  // namespace partita
