#include "components/register.h"
#include "partita/operator/operator.h"
#include "partita/pipeline/step_spec.h"

namespace partita {

void RegisterAll();  // declared in partita/partita.h, which stands below this room
void RegisterAll() {
  RegisterBuiltinSteps();
  RegisterBuiltinTransforms();
  RegisterComponents();
}

}  // namespace partita
