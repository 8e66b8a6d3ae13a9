#include "partita/operator/operator.h"

#include <map>

#include "partita/operator/filter.h"
#include "partita/operator/local_shuffle.h"
#include "partita/operator/probe.h"
#include "partita/operator/project.h"
#include "partita/operator/sample.h"

namespace partita {
namespace {

std::map<std::string, TransformFactory, std::less<>>& Registry() {
  static auto* registry = new std::map<std::string, TransformFactory, std::less<>>();
  return *registry;
}

}  // namespace

Status RegisterTransform(std::string name, TransformFactory factory) {
  if (static_cast<bool>(factory.make) == static_cast<bool>(factory.make_async)) {
    return BugError("transform '" + name + "' must have exactly one factory");
  }
  auto [it, inserted] = Registry().emplace(std::move(name), std::move(factory));
  if (!inserted) return BugError("transform '" + it->first + "' is registered twice");
  return Status::OK();
}

const TransformFactory* FindTransform(std::string_view name) {
  auto it = Registry().find(name);
  return it == Registry().end() ? nullptr : &it->second;
}

void RegisterBuiltinTransforms() {
  static const bool done = [] {
    TransformFactory filter, join, local_shuffle, project, sample;
    filter.make = MakeFilter;
    join.make = MakeProbe;
    local_shuffle.make_async = MakeLocalShuffle;
    project.make = MakeProject;
    sample.make = MakeSample;
    (void)RegisterTransform("filter", std::move(filter));
    (void)RegisterTransform("join", std::move(join));
    (void)RegisterTransform("local_shuffle", std::move(local_shuffle));
    (void)RegisterTransform("project", std::move(project));
    (void)RegisterTransform("sample", std::move(sample));
    return true;
  }();
  (void)done;
}

}  // namespace partita
