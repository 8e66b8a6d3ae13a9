#include "components/image/image_steps.h"

#include "components/image/register.h"

namespace partita {

void RegisterImageSteps() {
  // A name that is taken is a bug of ours, seen by the first test that starts.
  for (const Status& status : {RegisterResizeSteps(), RegisterResolutionSteps(), RegisterPixelSteps()}) {
    if (!status.ok()) status.Abort("registering the image steps");
  }
}

}  // namespace partita
