#include "components/register.h"

#include <mutex>

#include "components/image/register.h"
#include "components/python/register.h"

namespace partita {

void RegisterComponents() {
  static std::once_flag once;
  std::call_once(once, [] {
    RegisterImageComponents();
    RegisterPythonComponents();
  });
}

}  // namespace partita
