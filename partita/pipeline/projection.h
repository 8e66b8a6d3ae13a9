// Steps that only compute columns from columns (select, drop, rename, with_columns, cast) as one form: the
// list of output columns. Pure.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "partita/base/error.h"
#include "partita/base/json_fwd.h"
#include "partita/expression/expression.h"

namespace arrow {
class Field;
class Schema;
}  // namespace arrow

namespace partita {

using Projection = std::vector<std::pair<std::string, Expression>>;

bool IsProjectionStep(std::string_view op);
// The output columns of such a step, in order, over its input. `args` are normalised; unknown columns are
// user errors.
Result<Projection> ProjectionOf(std::string_view op, const Json& args, const arrow::Schema& input);

// The schema of a projection: a plain column keeps its field (nullability, metadata) under the new name; what
// is computed is nullable.
Result<std::shared_ptr<arrow::Schema>> ProjectionSchema(const Projection& projection,
                                                        const std::shared_ptr<arrow::Schema>& input);
// The column's name where the expression is a plain column, else "".
std::string PlainColumn(const Expression& expression);

// [[name, expression JSON], ...] as normalised arguments of type kExpressionMap hold it.
Result<Projection> ProjectionFromJson(const Json& columns);
Json ProjectionToJson(const Projection& projection);

}  // namespace partita
