#include "partita/engine/exchange_places.h"

#include <algorithm>
#include <array>
#include <set>

#include "partita/base/json.h"
#include "partita/base/units.h"
#include "partita/block/schema.h"
#include "partita/dataset/snapshot.h"
#include "partita/engine/exchange_store.h"
#include "partita/engine/node_path.h"
#include "partita/plan/plan.h"

namespace partita {
namespace {

constexpr std::string_view kAllSteps = "*";
// Of sources: what is read again when rows are lost that came from more may take longer than a constant
// (law 4), and is written to the storage instead.
constexpr int64_t kMostReadAgain = kGiB;

constexpr std::array<std::pair<std::string_view, ExchangePlace>, 4> kNames = {
    {{"auto", ExchangePlace::kAuto},
     {"memory", ExchangePlace::kMemory},
     {"disk", ExchangePlace::kDisk},
     {"nodes", ExchangePlace::kNodes}}};

Result<ExchangePlace> PlaceNamed(std::string_view name) {
  for (const auto& [known, place] : kNames) {
    if (known == name) return place;
  }
  return UserError("'" + std::string(name) + "' is no place for exchanged rows",
                   "use auto, memory, disk or nodes, for all (`nodes`) or for a step (`auto,sort=disk`)");
}

Status AddChoice(std::string_view step, std::string_view name, ExchangeChoice* choice) {
  ARROW_ASSIGN_OR_RAISE(const auto place, PlaceNamed(name));
  if (step == kAllSteps) {
    choice->all = place;
  } else {
    choice->steps[std::string(step)] = place;
  }
  return Status::OK();
}

// What it takes to make the rows again that a stage leaves.
struct Cost {
  int64_t source_bytes = 0;
  std::string function;  // a step that calls the user's code, on the way from what is kept; "": none
};

int64_t BytesOf(const Snapshot& snapshot, const std::string& step) {
  const auto* source = snapshot.Find(step);
  if (source == nullptr) return 0;
  int64_t bytes = 0;
  for (const auto& file : source->files) bytes += file.entry.size_bytes;
  return bytes;
}

bool HandsOver(const Plan& plan) {
  return !plan.sinks.empty() && std::all_of(plan.sinks.begin(), plan.sinks.end(),
                                            [](const PlanSink& sink) { return sink.op == "collect"; });
}

class Placing {
 public:
  Placing(const Plan& plan, const Snapshot& snapshot, const ExchangeChoice& choice)
      : plan_(plan),
        snapshot_(snapshot),
        choice_(choice),
        placed_(plan.exchanges.size()),
        known_(plan.exchanges.size()),
        costs_(plan.stages.size()) {}

  std::vector<PlacedExchange> Place() {
    // A stage comes after those that write what it reads.
    for (size_t s = 0; s < plan_.stages.size(); ++s) costs_[s] = CostOf(static_cast<int>(s));
    for (size_t x = 0; x < placed_.size(); ++x) PlaceOne(static_cast<int>(x));
    GoTogether();
    return std::move(placed_);
  }

 private:
  Cost CostOf(int index) {
    const auto& stage = plan_.stages[static_cast<size_t>(index)];
    Cost cost;
    if (stage.source.kind == PlanSource::Kind::kScan)
      cost.source_bytes = BytesOf(snapshot_, stage.source.step);
    for (const int exchange : ExchangesReadBy(plan_, index)) {
      PlaceOne(exchange);
      const Cost before = CostOfExchange(exchange);
      cost.source_bytes += before.source_bytes;
      // What lies on the storage is read again, not made again.
      if (placed_[static_cast<size_t>(exchange)].on_nodes && cost.function.empty())
        cost.function = before.function;
    }
    for (const auto& node : stage.nodes) {
      if (cost.function.empty() && node.args.is_object() && node.args.contains("fn"))
        cost.function = node.step;
    }
    return cost;
  }

  Cost CostOfExchange(int exchange) const {
    Cost cost;
    for (const auto& writer : WritersOf(plan_, exchange)) {
      const auto& part = costs_[static_cast<size_t>(writer.stage)];
      cost.source_bytes += part.source_bytes;
      if (cost.function.empty()) cost.function = part.function;
    }
    return cost;
  }

  void PlaceOne(int index) {
    const auto x = static_cast<size_t>(index);
    if (known_[x]) return;
    known_[x] = true;
    const ExchangePlace chosen = choice_.Of(plan_.exchanges[x].step);
    auto& placed = placed_[x];
    placed.in_memory = chosen != ExchangePlace::kDisk;
    placed.why = WhyStored(index, chosen);
    placed.on_nodes = placed.why.empty();
    if (!placed.on_nodes) return;
    if (chosen == ExchangePlace::kNodes) {
      placed.why = "as chosen";
    } else if (HandsOver(plan_)) {
      placed.why = "nothing is kept of a run that hands over its rows";
    } else {
      const int64_t bytes = CostOfExchange(index).source_bytes;
      placed.why = bytes == 0 ? "no file is read to make them again"
                              : "reading " + FormatBytes(bytes) + " makes them again";
    }
  }

  // "": the rows may stay on the nodes.
  std::string WhyStored(int exchange, ExchangePlace chosen) const {
    if (chosen == ExchangePlace::kDisk || chosen == ExchangePlace::kMemory) return "as chosen";
    for (const auto& writer : WritersOf(plan_, exchange)) {
      const auto why = WhyOnStorage(plan_, writer.stage);
      if (!why.empty()) return std::string(why);
    }
    if (chosen == ExchangePlace::kNodes || HandsOver(plan_)) return "";
    const Cost cost = CostOfExchange(exchange);
    if (!cost.function.empty())
      return "the function of step '" + cost.function + "' would be called again for rows that are lost";
    if (cost.source_bytes > kMostReadAgain)
      return "making them again means reading " + FormatBytes(cost.source_bytes) + ", more than " +
             FormatBytes(kMostReadAgain);
    return "";
  }

  // One task's shares of several exchanges go the same way, and so do all shares of an exchange.
  void GoTogether() {
    for (bool changed = true; changed;) {
      changed = false;
      for (const auto& stage : plan_.stages) {
        const PlacedExchange* stored = nullptr;
        for (const auto& output : stage.outputs) {
          if (output.kind != PlanOutput::Kind::kExchange) continue;
          const auto& placed = placed_[static_cast<size_t>(output.target)];
          if (!placed.on_nodes) stored = &placed;
        }
        for (const auto& output : stage.outputs) {
          if (stored == nullptr || output.kind != PlanOutput::Kind::kExchange) continue;
          auto& placed = placed_[static_cast<size_t>(output.target)];
          if (!placed.on_nodes) continue;
          placed.on_nodes = false;
          placed.why = "the tasks that make them leave other rows there: " + stored->why;
          changed = true;
        }
      }
    }
  }

  const Plan& plan_;
  const Snapshot& snapshot_;
  const ExchangeChoice& choice_;
  std::vector<PlacedExchange> placed_;
  std::vector<bool> known_;
  std::vector<Cost> costs_;
};

}  // namespace

std::string_view ExchangePlaceName(ExchangePlace place) {
  for (const auto& [name, known] : kNames) {
    if (known == place) return name;
  }
  return "";
}

Result<ExchangeChoice> ExchangeChoice::Parse(std::string_view text) {
  ExchangeChoice choice;
  if (text.starts_with('{')) {
    ARROW_ASSIGN_OR_RAISE(const Json json, ParseJson(std::string(text)));
    for (const auto& [step, place] : json.items()) {
      if (!place.is_string()) return PlaceNamed(place.dump()).status();
      ARROW_RETURN_NOT_OK(AddChoice(step, place.get<std::string>(), &choice));
    }
    return choice;
  }
  for (std::string_view rest = text;;) {
    const auto part = rest.substr(0, rest.find(','));
    // Steps have names of the user's; places never have a sign.
    const auto equals = part.rfind('=');
    ARROW_RETURN_NOT_OK(equals == part.npos
                            ? AddChoice(kAllSteps, part, &choice)
                            : AddChoice(part.substr(0, equals), part.substr(equals + 1), &choice));
    if (part.size() == rest.size()) return choice;
    rest.remove_prefix(part.size() + 1);
  }
}

std::string ExchangeChoice::Text() const {
  std::string text(ExchangePlaceName(all));
  for (const auto& [step, place] : steps) text += "," + step + "=" + std::string(ExchangePlaceName(place));
  return text;
}

ExchangePlace ExchangeChoice::Of(const std::string& step) const {
  const auto found = steps.find(step);
  return found == steps.end() ? all : found->second;
}

Status ExchangeChoice::Check(const Plan& plan) const {
  std::set<std::string> exchanging, all_steps;
  for (const auto& exchange : plan.exchanges) exchanging.insert(exchange.step);
  for (const auto& stage : plan.stages) {
    all_steps.insert(stage.source.step);
    for (const auto& node : stage.nodes) all_steps.insert(node.step);
  }
  for (const auto& sink : plan.sinks) all_steps.insert(sink.step);
  for (const auto& [step, place] : steps) {
    if (exchanging.contains(step) || all_steps.contains(step)) continue;
    std::string listed;
    for (const auto& name : exchanging) listed += (listed.empty() ? "" : ", ") + name;
    const auto nearest = NearestName(step, {exchanging.begin(), exchanging.end()});
    return UserError("option exchange: the pipeline has no step '" + step + "'",
                     !nearest.empty() ? "did you mean '" + nearest + "'?"
                     : listed.empty() ? "no rows change partition in it"
                                      : "rows change partition at: " + listed);
  }
  return Status::OK();
}

std::vector<PlacedExchange> PlaceExchanges(const Plan& plan, const Snapshot& snapshot,
                                           const ExchangeChoice& choice) {
  return Placing(plan, snapshot, choice).Place();
}

std::string DescribePlaces(const Plan& plan, const std::vector<PlacedExchange>& placed) {
  std::string text;
  for (size_t x = 0; x < placed.size(); ++x) {
    text += "exchange " + std::to_string(x) + " (" + plan.exchanges[x].step + "): on a cluster " +
            (placed[x].on_nodes ? "on the nodes" : "on the storage of the run") + ": " + placed[x].why + "\n";
  }
  return text;
}

StagePlaces PlaceStages(const Plan& plan, const std::vector<PlacedExchange>& placed) {
  StagePlaces places;
  for (const auto& stage : plan.stages) {
    bool in_memory = true, on_nodes = true, exchanges = false;
    for (const auto& output : stage.outputs) {
      if (output.kind != PlanOutput::Kind::kExchange) continue;
      const auto& one = placed[static_cast<size_t>(output.target)];
      exchanges = true;
      in_memory = in_memory && one.in_memory;
      on_nodes = on_nodes && one.on_nodes;
    }
    places.in_memory.push_back(exchanges && in_memory);
    places.on_nodes.push_back(exchanges && on_nodes);
  }
  return places;
}

}  // namespace partita
