// Rows that can be skipped into: chunks, and streams of intervals of an epoch's line.
#include "partita/session/ingest.h"

#include "partita/base/json.h"
#include "partita/base/units.h"
#include "python/src/session.h"

namespace partita::python {
namespace {

using Intervals = std::vector<std::pair<int64_t, int64_t>>;

Ingest* Open(const PySession& self, const Pipeline& pipeline, const std::string& step, int64_t chunk_bytes,
             const std::string& index, const OptionPairs& given, nb::handle_t<Observer> observer,
             nb::object on_poll) {
  const RunOptions options = ValueOrThrow(MakeRunOptions(pipeline.options, given));
  const Call call(observer, std::move(on_poll));
  return new Ingest(call([&](const RunControl& control) {
    return OpenIngest(self.session.get(), pipeline, step, chunk_bytes, index, options, control);
  }));
}

Ingest* FromText(const std::string& text) {
  nb::gil_scoped_release release;
  return new Ingest(ValueOrThrow(Ingest::FromText(text)));
}

StreamHandle* Stream(const PySession& self, const Ingest& ingest, uint64_t seed, int64_t epoch,
                     const std::string& shuffle, int64_t window_rows, int64_t window_bytes,
                     const Intervals& intervals, int64_t batch_rows, const OptionPairs& given,
                     nb::handle_t<Observer> observer, nb::object on_poll) {
  EpochOrder order{seed, epoch, ValueOrThrow(ParseEpochShuffle(shuffle)), window_rows, window_bytes};
  std::vector<RowInterval> wanted;
  for (const auto& [begin, end] : intervals) wanted.push_back({begin, end});
  const RunOptions options = ValueOrThrow(MakeRunOptions(ingest.compiled.options, given));
  const Call call(observer, std::move(on_poll));
  auto stream = call([&](const RunControl& control) {
    return StreamLine(self.session.get(), ingest, order, wanted, batch_rows, options, control);
  });
  return new StreamHandle(
      std::make_shared<PyStream>(self.session, std::move(stream), call.cancel(), call.poll()));
}

}  // namespace

void BindIngest(nb::module_& m) {
  nb::class_<Ingest>(m, "Ingest", "A pipeline over stored data whose rows are counted, chunk by chunk.")
      .def_static("from_text", &FromText, nb::arg("text"), nb::rv_policy::take_ownership)
      .def(
          "to_text", [](const Ingest& self) { return ValueOrThrow(self.ToText()); },
          nb::call_guard<nb::gil_scoped_release>())
      .def("digest", &Ingest::Digest, nb::call_guard<nb::gil_scoped_release>())
      .def("schema", [](const Ingest& self) { return ToCapsule(*self.compiled.plan.sinks[0].schema); })
      .def_ro("num_rows", &Ingest::num_rows)
      .def_ro("num_bytes", &Ingest::num_bytes)
      .def_ro("chunk_rows", &Ingest::chunk_rows);
  m.def(
      "parse_bytes", [](const std::string& text) { return ValueOrThrow(ParseBytes(text)); }, nb::arg("text"));
  m.def("open_ingest", &Open, nb::arg("session"), nb::arg("pipeline"), nb::arg("step"),
        nb::arg("chunk_bytes"), nb::arg("index"), nb::arg("options"), nb::arg("observer"),
        nb::arg("on_poll").none(), nb::rv_policy::take_ownership);
  m.def("stream_line", &Stream, nb::arg("session"), nb::arg("ingest"), nb::arg("seed"), nb::arg("epoch"),
        nb::arg("shuffle"), nb::arg("window_rows"), nb::arg("window_bytes"), nb::arg("intervals"),
        nb::arg("batch_rows"), nb::arg("options"), nb::arg("observer"), nb::arg("on_poll").none(),
        nb::rv_policy::take_ownership);
}

}  // namespace partita::python
