#include "partita/engine/node_path.h"

#include <algorithm>
#include <charconv>

#include "partita/base/env.h"

namespace partita {

Result<NodePath> NodePath::Parse(std::string_view path) {
  const auto wrong = [&] { return BugError("'" + std::string(path) + "' names no block of a node"); };
  if (!Is(path)) return wrong();
  std::string_view rest = path.substr(std::string_view("node://").size());
  const auto host_end = rest.find('/');
  const auto at_end = host_end == rest.npos ? rest.npos : rest.find('/', host_end + 1);
  if (at_end == rest.npos) return wrong();
  const std::string_view address = rest.substr(0, host_end);
  const auto colon = address.rfind(':');
  if (colon == address.npos || colon == 0) return wrong();
  NodePath parsed;
  const auto* end = address.data() + address.size();
  const auto [last, error] = std::from_chars(address.data() + colon + 1, end, parsed.port);
  if (error != std::errc() || last != end || parsed.port <= 0 || parsed.port > 65535) return wrong();
  std::string_view host = address.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  parsed.host = host;
  parsed.at = rest.substr(0, at_end);
  parsed.name = rest.substr(at_end + 1);
  if (!IsSafeRelativePath(parsed.name)) return wrong();
  return parsed;
}

std::string ExchangeFolderName(int exchange) { return "exchange-" + std::to_string(exchange); }

std::string_view WhyOnStorage(const Plan& plan, int index) {
  const auto& stage = plan.stages[static_cast<size_t>(index)];
  if (stage.is_volatile) return "a step before it is volatile: its rows cannot be made again";
  const bool quarantines = stage.source.on_error == OnError::kQuarantine ||
                           std::any_of(stage.nodes.begin(), stage.nodes.end(), [](const PlanNode& node) {
                             return node.on_error == OnError::kQuarantine;
                           });
  if (quarantines) return "its tasks quarantine rows, which are counted once";
  for (const auto& output : stage.outputs) {
    if (output.kind != PlanOutput::Kind::kExchange) return "its tasks write a dataset as well";
    // How many tasks are needed follows from what the first of them made.
    if (plan.exchanges[static_cast<size_t>(output.target)].has_prefix_limit()) return "it is a limit of rows";
    for (const auto& reader : plan.stages) {
      for (const auto& node : reader.nodes) {
        if (node.table == output.target) return "every worker reads all of it, as a table";
      }
    }
  }
  return "";
}

}  // namespace partita
