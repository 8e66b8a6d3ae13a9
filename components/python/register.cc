#include "components/python/register.h"

#include "components/python/function_args.h"
#include "components/python/function_step.h"

namespace partita {

void RegisterPythonComponents() {
  for (const FunctionKind kind : {FunctionKind::kMapBatches, FunctionKind::kMap, FunctionKind::kFlatMap,
                                  FunctionKind::kFilterRows, FunctionKind::kMapGroups}) {
    TransformFactory factory;
    factory.make_async = [kind](const TransformInit& init) { return MakeFunctionStep(kind, init); };
    Status status = RegisterStep(FunctionSpec(kind));
    if (status.ok()) status = RegisterTransform(std::string(FunctionStepName(kind)), std::move(factory));
    if (!status.ok()) status.Abort("registering the Python steps");
  }
}

}  // namespace partita
