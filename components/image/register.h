// The image steps: download, download_images, decode_image, resize_images, encode_image,
// extract_image_resolution, filter_image_resolution.
#pragma once

namespace partita {

void RegisterImageComponents();
void RegisterImageSteps();     // codecs and resizing: image_steps.cc
void RegisterDownloadSteps();  // network: download_steps.cc

}  // namespace partita
