#include "partita/expression/kernel_node.h"

#include <arrow/array.h>
#include <arrow/array/builder_primitive.h>
#include <arrow/array/concatenate.h>
#include <arrow/array/util.h>
#include <arrow/compute/api_vector.h>
#include <arrow/compute/cast.h>
#include <arrow/compute/function.h>
#include <arrow/compute/kernel.h>
#include <arrow/compute/registry.h>
#include <arrow/device.h>
#include <arrow/type.h>

#include <algorithm>
#include <utility>

#include "partita/block/schema.h"
#include "partita/expression/expression.h"

namespace partita {
namespace {

namespace cp = arrow::compute;

class ColumnNode : public BoundNode {
 public:
  ColumnNode(int index, std::shared_ptr<arrow::DataType> type) : BoundNode(std::move(type)), index_(index) {}
  Result<arrow::Datum> Evaluate(const arrow::RecordBatch& batch, cp::ExecContext*) const override {
    return arrow::Datum(batch.column_data(index_));
  }

 private:
  const int index_;
};

class LiteralNode : public BoundNode {
 public:
  explicit LiteralNode(std::shared_ptr<arrow::Scalar> value)
      : BoundNode(value->type), value_(std::move(value)) {}
  Result<arrow::Datum> Evaluate(const arrow::RecordBatch&, cp::ExecContext*) const override {
    return arrow::Datum(value_);
  }
  std::shared_ptr<arrow::Scalar> literal() const override { return value_; }

 private:
  const std::shared_ptr<arrow::Scalar> value_;
};

// Kernels of Arrow that return memory of its global pool (a test finds them): their results are copied into
// the given pool, so that only one slice is ever outside the budget.
bool AllocatesElsewhere(const cp::Expression& call) {
  const auto* bound = call.call();
  return bound && (bound->function_name == "strftime" ||
                   (bound->function_name == "cast" && call.type()->id() == arrow::Type::DICTIONARY));
}

bool IsNullAt(const arrow::Datum& value, int64_t row) {
  return value.is_scalar() ? !value.scalar()->is_valid : value.array()->IsNull(row);
}

// binary_join_element_wise with null_handling => 'skip' gives no row at all where everything to join is null
// (seen in Arrow 26): such a row joins to an empty text.
Result<arrow::Datum> RestoreSkippedRows(const arrow::Datum& joined, const std::vector<arrow::Datum>& values,
                                        int64_t rows, cp::ExecContext* context) {
  const int64_t empty_at = joined.length();
  arrow::Int64Builder indices(context->memory_pool());
  ARROW_RETURN_NOT_OK(indices.Reserve(rows));
  int64_t next = 0;
  for (int64_t row = 0; row < rows; ++row) {
    bool skipped = !IsNullAt(values.back(), row);  // the separator: where it is null, so is the row
    for (size_t i = 0; skipped && i + 1 < values.size(); ++i) skipped = IsNullAt(values[i], row);
    indices.UnsafeAppend(skipped ? empty_at : next++);
  }
  if (next != empty_at) return BugError("a function gave another number of rows than it was given");
  ARROW_ASSIGN_OR_RAISE(auto taken, indices.Finish());
  ARROW_ASSIGN_OR_RAISE(auto text, arrow::MakeScalar("")->CastTo(joined.type()));
  ARROW_ASSIGN_OR_RAISE(auto empty, arrow::MakeArrayFromScalar(*text, 1, context->memory_pool()));
  ARROW_ASSIGN_OR_RAISE(auto source,
                        arrow::Concatenate({joined.make_array(), std::move(empty)}, context->memory_pool()));
  return cp::Take(source, taken, cp::TakeOptions::NoBoundsCheck(), context);
}

// Arrow's Expression finds the kernel, inserts implicit casts and holds the kernel's state; its inputs are
// our arguments.
class KernelNode : public BoundNode {
 public:
  KernelNode(cp::Expression call, std::vector<BoundNodePtr> args)
      : BoundNode(call.type()->GetSharedPtr()),
        call_(std::move(call)),
        allocates_elsewhere_(AllocatesElsewhere(call_)),
        args_(std::move(args)) {}

  Result<arrow::Datum> Evaluate(const arrow::RecordBatch& batch, cp::ExecContext* context) const override {
    std::vector<arrow::Datum> values;
    values.reserve(args_.size());
    for (const auto& arg : args_) {
      ARROW_ASSIGN_OR_RAISE(auto value, arg->Evaluate(batch, context));
      values.push_back(std::move(value));
    }
    ARROW_ASSIGN_OR_RAISE(
        auto result, cp::ExecuteScalarExpression(call_, cp::ExecBatch(values, batch.num_rows()), context));
    if (result.is_array() && result.length() != batch.num_rows() && !values.empty()) {
      ARROW_ASSIGN_OR_RAISE(result, RestoreSkippedRows(result, values, batch.num_rows(), context));
    }
    if (result.is_array() && allocates_elsewhere_) {
      const auto manager = arrow::CPUDevice::memory_manager(context->memory_pool());
      ARROW_ASSIGN_OR_RAISE(auto copy, result.make_array()->CopyTo(manager));
      return arrow::Datum(std::move(copy));
    }
    if (result.kind() != arrow::Datum::CHUNKED_ARRAY) return result;
    // A kernel makes chunks where its result outgrows 32-bit offsets: the caller halves the slice.
    return Status::CapacityError("the values of one slice take more than 2 GiB");
  }

 private:
  const cp::Expression call_;
  const bool allocates_elsewhere_;
  const std::vector<BoundNodePtr> args_;
};

std::string ShownName(const std::string& function) {
  return function.ends_with("_checked") ? function.substr(0, function.size() - 8) : function;
}

std::string TypeList(const std::vector<BoundNodePtr>& args) {
  std::string text = "(";
  for (size_t i = 0; i < args.size(); ++i) text += (i > 0 ? ", " : "") + TypeToString(*args[i]->type());
  return text + ")";
}

// The plain type that kernels know behind an encoding or an extension; null where the type is plain.
std::shared_ptr<arrow::DataType> PlainType(const arrow::DataType& type) {
  switch (type.id()) {
    case arrow::Type::DICTIONARY:
      return static_cast<const arrow::DictionaryType&>(type).value_type();
    case arrow::Type::EXTENSION:
      return static_cast<const arrow::ExtensionType&>(type).storage_type();
    case arrow::Type::RUN_END_ENCODED:
      return static_cast<const arrow::RunEndEncodedType&>(type).value_type();
    case arrow::Type::STRING_VIEW:
      return arrow::large_utf8();
    case arrow::Type::BINARY_VIEW:
      return arrow::large_binary();
    default:
      return nullptr;
  }
}

Result<cp::Expression> BindCall(const std::string& function, const std::vector<BoundNodePtr>& args,
                                const std::shared_ptr<cp::FunctionOptions>& options) {
  arrow::FieldVector inputs;
  std::vector<cp::Expression> arguments;
  for (size_t i = 0; i < args.size(); ++i) {
    inputs.push_back(arrow::field("", args[i]->type()));
    const auto literal = args[i]->literal();
    arguments.push_back(literal ? cp::literal(arrow::Datum(literal))
                                : cp::field_ref(arrow::FieldRef(static_cast<int>(i))));
  }
  return cp::call(function, std::move(arguments), options).Bind(arrow::Schema(std::move(inputs)));
}

// Bad options (a regular expression, a time zone) show when a kernel runs: let it run on one null, so that
// the author of the pipeline hears of them before any row is read.
Status TryOnNull(const std::string& function, const cp::Expression& call,
                 const std::vector<BoundNodePtr>& args) {
  std::vector<arrow::Datum> values;
  for (const auto& arg : args) {
    ARROW_ASSIGN_OR_RAISE(auto null, arrow::MakeArrayOfNull(arg->type(), 1));
    values.emplace_back(std::move(null));
  }
  cp::ExecContext context;
  context.set_use_threads(false);
  const auto result = cp::ExecuteScalarExpression(call, cp::ExecBatch(std::move(values), 1), &context);
  if (result.ok() || result.status().IsOutOfMemory()) return Status::OK();
  return UserError("function '" + function + "' refuses its options: " + result.status().message(),
                   "correct the options");
}

}  // namespace

BoundNodePtr MakeColumnNode(int index, std::shared_ptr<arrow::DataType> type) {
  return std::make_shared<ColumnNode>(index, std::move(type));
}

BoundNodePtr MakeLiteralNode(std::shared_ptr<arrow::Scalar> value) {
  return std::make_shared<LiteralNode>(std::move(value));
}

Result<BoundNodePtr> MakeCastNode(BoundNodePtr value, const std::shared_ptr<arrow::DataType>& type, bool safe,
                                  bool lossy_float) {
  if (value->type()->Equals(*type)) return value;
  if (const auto literal = value->literal(); literal && !literal->is_valid) {
    return MakeLiteralNode(arrow::MakeNullScalar(type));
  }
  auto options = std::make_shared<cp::CastOptions>(safe);
  options->to_type = type;
  if (lossy_float) options->allow_float_truncate = true;
  std::vector<BoundNodePtr> args{value};
  auto call = BindCall("cast", args, options);
  if (call.ok()) return std::make_shared<KernelNode>(*std::move(call), std::move(args));
  // What has no direct cast may have one by way of the plain type behind the encoding.
  if (const auto plain = PlainType(*value->type()); plain && !plain->Equals(*type)) {
    auto decoded = BindCall("cast", args, std::make_shared<cp::CastOptions>(cp::CastOptions::Safe(plain)));
    if (decoded.ok()) {
      return MakeCastNode(std::make_shared<KernelNode>(*std::move(decoded), std::move(args)), type, safe,
                          lossy_float);
    }
  }
  return UserError("there is no cast from " + TypeToString(*value->type()) + " to " + TypeToString(*type),
                   "cast by way of string, or change the type");
}

Result<BoundNodePtr> MakeKernelNode(const std::string& function, std::vector<BoundNodePtr> args,
                                    std::shared_ptr<cp::FunctionOptions> options) {
  ARROW_ASSIGN_OR_RAISE(auto registered, cp::GetFunctionRegistry()->GetFunction(function));
  const auto& arity = registered->arity();
  const int count = static_cast<int>(args.size());
  if (arity.is_varargs ? count < arity.num_args : count != arity.num_args) {
    return UserError("function '" + ShownName(function) + "' takes " + (arity.is_varargs ? "at least " : "") +
                         std::to_string(arity.num_args) + (arity.num_args == 1 ? " argument" : " arguments") +
                         ", not " + std::to_string(count),
                     options ? "an option must be a literal: name => value" : "");
  }
  auto call = BindCall(function, args, options);
  if (!call.ok()) {
    std::vector<BoundNodePtr> decoded;
    bool changed = false;
    for (const auto& arg : args) {
      const auto plain = PlainType(*arg->type());
      changed = changed || plain;
      if (plain) {
        ARROW_ASSIGN_OR_RAISE(auto cast, MakeCastNode(arg, plain));
        decoded.push_back(std::move(cast));
      } else {
        decoded.push_back(arg);
      }
    }
    if (changed) return MakeKernelNode(function, std::move(decoded), std::move(options));
    // Arrow's own words name kernels and narrowed types that the author never wrote.
    const std::string why = call.status().IsNotImplemented() ? "" : ": " + call.status().message();
    return UserError("function '" + ShownName(function) + "' does not take " + TypeList(args) + why,
                     "cast the arguments, as in cast(x as float64)");
  }
  if (options) ARROW_RETURN_NOT_OK(TryOnNull(function, *call, args));
  return std::make_shared<KernelNode>(*std::move(call), std::move(args));
}

std::shared_ptr<arrow::DataType> CommonType(const std::vector<std::shared_ptr<arrow::DataType>>& types) {
  std::shared_ptr<arrow::DataType> common;
  const bool mixed =
      std::any_of(types.begin(), types.end(), [&](const auto& t) { return !t->Equals(*types[0]); });
  for (auto type : types) {
    // One encoding of a value beside another, or beside none: what they stand for is compared.
    if (auto plain = mixed ? PlainType(*type) : nullptr) type = plain;
    if (type->id() == arrow::Type::NA || (common && common->Equals(*type))) continue;
    if (!common) {
      common = type;
      continue;
    }
    auto equal = cp::GetFunctionRegistry()->GetFunction("equal");
    if (!equal.ok()) return nullptr;
    std::vector<arrow::TypeHolder> pair{common, type};
    if (!(*equal)->DispatchBest(&pair).ok() || !(pair[0] == pair[1])) return nullptr;
    common = pair[0].GetSharedPtr();
  }
  return common ? common : arrow::null();
}

}  // namespace partita
