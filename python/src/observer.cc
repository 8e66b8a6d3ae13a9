// What a run tells while it goes on. Cheap to read from another thread.
#include "partita/observe/observe.h"

#include "partita/base/json.h"
#include "python/src/bindings.h"

namespace partita::python {
namespace {

std::string Snapshot(const Observer& observer) {
  Json snapshot = observer.ToJson();
  snapshot["current_wait"] =
      std::string(WaitReasonName(static_cast<WaitReason>(observer.current_wait.load())));
  return CanonicalJson(snapshot);
}

// (events as JSON, where to go on)
std::pair<std::string, size_t> EventsSince(const Observer& observer, size_t cursor) {
  Json events = Json::array();
  for (const Event& event : observer.EventsSince(&cursor)) {
    events.push_back({{"kind", std::string(EventKindName(event.kind))},
                      {"time_us", event.time_us},
                      {"stage", event.stage},
                      {"partition", event.partition},
                      {"step", event.step},
                      {"message", event.message}});
  }
  return {CanonicalJson(events), cursor};
}

}  // namespace

void BindObserver(nb::module_& m) {
  nb::class_<Observer>(m, "Observer", "Counters and events of one run.")
      .def(nb::init<>())
      .def("snapshot", &Snapshot, "The counters now, as JSON.")
      .def("events_since", &EventsSince, nb::arg("cursor"),
           "Events after `cursor` as JSON, and the next cursor.");
}

}  // namespace partita::python
