#include "components/image/register.h"

namespace partita {

void RegisterImageComponents() {
  RegisterImageSteps();
  RegisterDownloadSteps();
}

}  // namespace partita
