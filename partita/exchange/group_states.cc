#include "partita/exchange/group_states.h"

#include <arrow/type.h>

#include <algorithm>

#include "partita/base/json.h"
#include "partita/memory/budget.h"

namespace partita {
namespace {

// How the only stage that reads the exchange reduces its rows; null: not at all, or there are several.
const Json* ReduceOf(const Plan& plan, int exchange) {
  const Json* reduce = nullptr;
  for (const auto& stage : plan.stages) {
    const auto& source = stage.source;
    if (source.kind != PlanSource::Kind::kExchange) continue;
    if (source.exchange != exchange && source.right_exchange != exchange) continue;
    if (reduce != nullptr) return nullptr;
    reduce = &source.reduce;
  }
  return reduce;
}

}  // namespace

Result<std::unique_ptr<Aggregate>> GroupStates::Make(const Function& function,
                                                     std::shared_ptr<BudgetPool> pool) const {
  return MakeAggregate(function.spec, function.input.type(), std::move(pool));
}

std::vector<std::string> GroupStates::KeysAlone() const {
  std::vector<std::string> alone;
  for (size_t key = 0; key < keys.size(); ++key) {
    const auto& name = exchange.schema->field(static_cast<int>(key))->name();
    const bool is_read = std::any_of(functions.begin(), functions.end(), [&](const Function& function) {
      return function.spec.column == name || function.spec.other == name;
    });
    if (!is_read) alone.push_back(name);
  }
  return alone;
}

Result<std::unique_ptr<GroupStates>> GroupStatesOf(const Plan& plan, int exchange,
                                                   const std::shared_ptr<BudgetPool>& pool) {
  const auto& rows = plan.exchanges[static_cast<size_t>(exchange)];
  const Json* reduce = ReduceOf(plan, exchange);
  if (rows.kind != PlanExchange::Kind::kHash || reduce == nullptr || !reduce->is_object() ||
      reduce->value("op", std::string()) != "aggregate") {
    return nullptr;
  }
  ARROW_ASSIGN_OR_RAISE(auto specs, AggregatesFromJson(reduce->value("aggregates", Json::array())));
  auto states = std::make_unique<GroupStates>();
  arrow::FieldVector fields;
  for (const auto& key : rows.keys) {
    states->keys.push_back(rows.schema->GetFieldIndex(key.column));
    fields.push_back(rows.schema->field(states->keys.back()));
  }
  for (auto& spec : specs) {
    GroupStates::Function function;
    ARROW_ASSIGN_OR_RAISE(function.input, AggregateInput::Make(spec, *rows.schema));
    if (!CombinesStates(spec.function, function.input.type())) return nullptr;
    function.spec = std::move(spec);
    ARROW_ASSIGN_OR_RAISE(const auto aggregate, states->Make(function, pool));
    function.first_state = static_cast<int>(fields.size());
    for (const auto& type : aggregate->state_types()) {
      fields.push_back(arrow::field("__state" + std::to_string(fields.size()), type));
    }
    function.states = static_cast<int>(fields.size()) - function.first_state;
    states->functions.push_back(std::move(function));
  }
  states->exchange = rows;
  states->exchange.schema = arrow::schema(std::move(fields));
  return states;
}

}  // namespace partita
