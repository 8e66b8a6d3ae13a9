// The checks of exchanges in hostile plans. Internal to the room.
#pragma once

#include "partita/plan/plan.h"

namespace partita {

// Fields that fit the kind, keys that are in the schema, counts that nobody must fear.
Status CheckExchange(const PlanExchange& exchange);

// A source of `exchange`: what it gives follows from the exchange's columns and its `reduce`.
Status CheckExchangeSource(const PlanSource& source, const PlanExchange& exchange);
// The same of a join of two exchanges.
// A node that joins with all rows of an exchange.
Status CheckProbe(const PlanNode& node, const arrow::Schema& input, const PlanExchange& table);
Status CheckJoinSource(const PlanSource& source, const PlanExchange& left, const PlanExchange& right);

// Names, order and types agree; nullability and metadata may differ (between the inputs of a union).
bool SameColumns(const arrow::Schema& a, const arrow::Schema& b);

}  // namespace partita
