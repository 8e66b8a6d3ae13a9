// Expression + schema -> BoundNode tree: names, types, implicit casts.
#include "partita/expression/bind.h"

#include <arrow/array/builder_base.h>
#include <arrow/array/util.h>
#include <arrow/builder.h>
#include <arrow/compute/api_scalar.h>
#include <arrow/compute/initialize.h>
#include <arrow/type.h>

#include <algorithm>
#include <iterator>
#include <mutex>
#include <utility>

#include "partita/block/schema.h"
#include "partita/expression/functions.h"
#include "partita/expression/literal.h"

namespace partita {
namespace {

namespace cp = arrow::compute;
using Call = Expression::Node::Call;
using Args = std::vector<BoundNodePtr>;

bool IsTemporal(const arrow::DataType& type) { return arrow::is_temporal(type.id()); }

bool IsComparison(std::string_view function) {
  for (std::string_view name : {"equal", "not_equal", "less", "less_equal", "greater", "greater_equal"}) {
    if (function == name) return true;
  }
  return false;
}

bool IsArithmetic(std::string_view function) {
  for (std::string_view name : {"add", "subtract", "multiply", "divide", "remainder", "modulo", "power"}) {
    if (function == name) return true;
  }
  return false;
}

bool IsString(const arrow::DataType& type) {
  return arrow::is_string(type.id()) || type.id() == arrow::Type::STRING_VIEW;
}

// The plan's function name -> the kernel: overflow is checked, but x / 0.0 is infinite as everywhere.
std::string KernelName(const std::string& function, const Args& args) {
  const bool floating = std::any_of(args.begin(), args.end(),
                                    [](const auto& arg) { return arrow::is_floating(arg->type()->id()); });
  for (std::string_view name : {"divide", "remainder", "modulo"}) {
    if (function == name) return floating ? function : function + "_checked";
  }
  for (std::string_view name :
       {"abs", "add", "multiply", "negate", "power", "shift_left", "shift_right", "subtract"}) {
    if (function == name) return function + "_checked";
  }
  return function;
}

class Binder {
 public:
  explicit Binder(const arrow::Schema& schema) : schema_(schema) {}

  Result<BoundNodePtr> Bind(const Expression& expression) const {
    if (!expression.valid()) return UserError("an argument of a function is empty");
    const auto* node = expression.node();
    if (const auto* column = node->column()) return BindColumn(column->name);
    if (const auto* literal = node->literal()) return MakeLiteralNode(literal->value);
    return BindCall(*node->call());
  }

 private:
  Result<BoundNodePtr> BindColumn(const std::string& name) const {
    ARROW_ASSIGN_OR_RAISE(int index, FindColumn(schema_, name));
    return MakeColumnNode(index, schema_.field(index)->type());
  }

  Result<Args> BindArgs(const std::vector<Expression>& expressions, size_t count) const {
    Args args;
    for (size_t i = 0; i < count; ++i) {
      ARROW_ASSIGN_OR_RAISE(auto arg, Bind(expressions[i]));
      args.push_back(std::move(arg));
    }
    return args;
  }

  Result<BoundNodePtr> BindCall(const Call& call) const {
    ARROW_RETURN_NOT_OK(CheckFunction(call.function));
    if (call.function == kArrowLiteral)
      return UserError("arrow_literal takes one string of Arrow IPC in base64");
    if (call.function == "struct_field") return BindField(call);
    if (call.function == "is_in" || call.function == "index_in") return BindSetLookup(call);
    ARROW_ASSIGN_OR_RAISE(auto args, BindArgs(call.args, call.args.size()));
    if (call.function == kCast) return BindCast(call, std::move(args));
    if (call.function == kCase) return BindCase(call, std::move(args));
    if (call.function == "and_kleene" || call.function == "or_kleene")
      return BindLogic(call, std::move(args));
    if (IsComparison(call.function) || IsArithmetic(call.function)) {
      ARROW_RETURN_NOT_OK(AdaptOperands(IsComparison(call.function), &args));
    }
    if (call.function == kConcat) {
      ARROW_RETURN_NOT_OK(NumbersToStrings(&args));
      ARROW_RETURN_NOT_OK(Unify(call, 0, &args));
    }
    if (call.function == "if_else" && args.size() == 3) ARROW_RETURN_NOT_OK(Unify(call, 1, &args));
    if (call.function == "coalesce" || call.function == "max_element_wise" ||
        call.function == "min_element_wise") {
      ARROW_RETURN_NOT_OK(Unify(call, 0, &args));
    }
    if (call.function == "utf8_length" && args.size() == 1) {
      return BindLength(std::move(args));
    }
    ARROW_ASSIGN_OR_RAISE(auto options, MakeOptions(call.function, call.options));
    const auto kernel = KernelName(call.function, args);
    return MakeKernelNode(kernel, std::move(args), std::move(options));
  }

  // `length` counts what the value is made of.
  Result<BoundNodePtr> BindLength(Args args) const {
    const auto id = args[0]->type()->id();
    if (arrow::is_list_like(id) || arrow::is_list_view(id))
      return MakeKernelNode("list_value_length", std::move(args), nullptr);
    if (arrow::is_binary(id) || id == arrow::Type::LARGE_BINARY || id == arrow::Type::BINARY_VIEW ||
        id == arrow::Type::FIXED_SIZE_BINARY) {
      return MakeKernelNode("binary_length", std::move(args), nullptr);
    }
    return MakeKernelNode("utf8_length", std::move(args), nullptr);
  }

  Result<BoundNodePtr> BindField(const Call& call) const {
    if (call.args.size() != 1) return UserError("a field needs one struct: write column.field");
    ARROW_ASSIGN_OR_RAISE(auto options, MakeOptions(call.function, call.options));
    const auto field = call.options["field"].get<std::string>();
    // `seg.png` where "seg.png" is a column is the common slip: name the way out.
    if (const auto* column = call.args[0].valid() ? call.args[0].node()->column() : nullptr) {
      const std::string dotted = column->name + "." + field;
      if (schema_.GetFieldIndex(column->name) < 0 && schema_.GetFieldIndex(dotted) >= 0) {
        return UserError("there is no column '" + column->name + "'",
                         "write \"" + dotted + "\" in double quotes");
      }
    }
    ARROW_ASSIGN_OR_RAISE(auto value, Bind(call.args[0]));
    if (value->type()->id() != arrow::Type::STRUCT) {
      return UserError("'" + call.args[0].ToString() + "' is " + TypeToString(*value->type()) +
                       ", not a struct with a field '" + field + "'");
    }
    ARROW_ASSIGN_OR_RAISE(int index, FindColumn(arrow::Schema(value->type()->fields()), field));
    return MakeKernelNode("struct_field", {std::move(value)},
                          std::make_shared<cp::StructFieldOptions>(std::vector<int>{index}));
  }

  Result<BoundNodePtr> BindCast(const Call& call, Args args) const {
    if (args.size() != 1) return UserError("cast takes one value: cast(x as type)");
    for (const auto& [key, value] : call.options.items()) {
      if (key != "type" && key != "safe")
        return UserError("cast has no option '" + key + "'", "its options are: type, safe");
    }
    const auto type_text = call.options.find("type");
    if (type_text == call.options.end() || !type_text->is_string()) {
      return UserError("cast needs a type: cast(x as type)");
    }
    ARROW_ASSIGN_OR_RAISE(auto type, ParseType(type_text->get_ref<const std::string&>()));
    ARROW_ASSIGN_OR_RAISE(bool safe, GetBoolOr(call.options, "safe", true));
    return MakeCastNode(std::move(args[0]), type, safe);
  }

  Result<BoundNodePtr> BindCase(const Call& call, Args args) const {
    if (args.size() < 2) return UserError("case needs a condition and a value");
    Args conditions, values;
    std::vector<std::string> names;
    for (size_t i = 0; i + 1 < args.size(); i += 2) {
      if (args[i]->type()->id() != arrow::Type::BOOL && args[i]->type()->id() != arrow::Type::NA) {
        return UserError("the condition '" + call.args[i].ToString() + "' is " +
                         TypeToString(*args[i]->type()) + ", not bool");
      }
      ARROW_ASSIGN_OR_RAISE(auto condition, MakeCastNode(args[i], arrow::boolean()));
      conditions.push_back(std::move(condition));
      values.push_back(args[i + 1]);
      names.push_back(std::to_string(i / 2));
    }
    if (args.size() % 2 == 1) values.push_back(args.back());
    ARROW_RETURN_NOT_OK(Unify(call, 0, &values));
    ARROW_ASSIGN_OR_RAISE(auto all,
                          MakeKernelNode("make_struct", std::move(conditions),
                                         std::make_shared<cp::MakeStructOptions>(std::move(names))));
    values.insert(values.begin(), std::move(all));
    return MakeKernelNode("case_when", std::move(values), nullptr);
  }

  Result<BoundNodePtr> BindLogic(const Call& call, Args args) const {
    if (args.empty()) return UserError("'" + call.function + "' needs at least one argument");
    for (size_t i = 0; i < args.size(); ++i) {
      const auto id = args[i]->type()->id();
      if (id != arrow::Type::BOOL && id != arrow::Type::NA) {
        return UserError(
            "'" + call.args[i].ToString() + "' is " + TypeToString(*args[i]->type()) + ", and / or need bool",
            "compare it with something");
      }
      ARROW_ASSIGN_OR_RAISE(args[i], MakeCastNode(args[i], arrow::boolean()));
    }
    // A balanced tree: thousands of conjuncts must not be thousands of stack frames.
    while (args.size() > 1) {
      Args next;
      for (size_t i = 0; i + 1 < args.size(); i += 2) {
        ARROW_ASSIGN_OR_RAISE(auto pair, MakeKernelNode(call.function, {args[i], args[i + 1]}, nullptr));
        next.push_back(std::move(pair));
      }
      if (args.size() % 2 == 1) next.push_back(args.back());
      args = std::move(next);
    }
    return args[0];
  }

  // Operands of one comparison or arithmetic operation, before Arrow's own implicit casts: those would turn
  // large integers beside a float into errors, and do not read '2024-01-31' beside a date.
  static Status AdaptOperands(bool comparison, Args* args) {
    if (args->size() != 2) return Status::OK();
    for (size_t i = 0; i < 2; ++i) {
      const auto literal = (*args)[i]->literal();
      const auto& other = (*args)[1 - i]->type();
      if (!literal || !literal->is_valid) continue;
      ARROW_ASSIGN_OR_RAISE(auto adapted, AdaptLiteral(comparison, literal, other));
      if (adapted) (*args)[i] = MakeLiteralNode(std::move(adapted));
    }
    ARROW_RETURN_NOT_OK(IntegersToDecimal(args));
    return IntegersToFloat(args);
  }

  static Result<std::shared_ptr<arrow::Scalar>> AdaptLiteral(bool comparison,
                                                             const std::shared_ptr<arrow::Scalar>& literal,
                                                             const std::shared_ptr<arrow::DataType>& other) {
    if (comparison && IsString(*literal->type) && IsTemporal(*other)) {
      auto value = FoldCast(literal, other);
      if (value.ok()) return value;
      return UserError(LiteralToText(*literal) + " is no " + TypeToString(*other),
                       "write it as in '2024-01-31' or '2024-01-31 10:00:00'");
    }
    // 5 takes the integer type of what it is compared with, where it fits: no cast of a whole column. Beside
    // uint64, Arrow would cast the column to int64, where large values do not fit.
    const bool adapts = arrow::is_integer(other->id()) && (comparison || other->id() == arrow::Type::UINT64);
    if (adapts && literal->type->id() == arrow::Type::INT64) {
      auto value = FoldCast(literal, other);
      if (value.ok()) return value;
    }
    return nullptr;
  }

  // Integers beside decimals become decimals of their digits; Arrow would ask for the digits of any int64.
  static Status IntegersToDecimal(Args* args) {
    for (size_t i = 0; i < 2; ++i) {
      const auto& type = *(*args)[i]->type();
      if (!arrow::is_decimal((*args)[1 - i]->type()->id()) || !arrow::is_integer(type.id())) continue;
      if (const auto literal = (*args)[i]->literal(); literal && literal->is_valid) {
        const auto text = literal->ToString();
        const auto digits = static_cast<int32_t>(text.size()) - (text.starts_with('-') ? 1 : 0);
        ARROW_ASSIGN_OR_RAISE(auto exact, FoldCast(arrow::MakeScalar(text), arrow::decimal128(digits, 0)));
        (*args)[i] = MakeLiteralNode(std::move(exact));
        continue;
      }
      ARROW_ASSIGN_OR_RAISE(const int32_t digits, arrow::MaxDecimalDigitsForInteger(type.id()));
      ARROW_ASSIGN_OR_RAISE((*args)[i], MakeCastNode((*args)[i], arrow::decimal128(digits, 0)));
    }
    return Status::OK();
  }

  // Integers beside floats become the nearest float64, as in SQL and NumPy.
  static Status IntegersToFloat(Args* args) {
    bool floating = false, integer = false;
    for (const auto& arg : *args) {
      floating = floating || arrow::is_floating(arg->type()->id());
      integer = integer || arrow::is_integer(arg->type()->id());
    }
    if (!floating || !integer) return Status::OK();
    for (auto& arg : *args) {
      if (!arrow::is_integer(arg->type()->id())) continue;
      ARROW_ASSIGN_OR_RAISE(arg, MakeCastNode(arg, arrow::float64(), true, true));
    }
    return Status::OK();
  }

  // Alternatives of one result get one type: string beside large_string, 1 beside 0.5, null beside anything.
  static Status Unify(const Call& call, size_t first, Args* args) {
    Args values(args->begin() + static_cast<std::ptrdiff_t>(std::min(first, args->size())), args->end());
    ARROW_RETURN_NOT_OK(IntegersToFloat(&values));
    std::vector<std::shared_ptr<arrow::DataType>> types;
    for (const auto& value : values) types.push_back(value->type());
    const bool equal =
        std::all_of(types.begin(), types.end(), [&](const auto& t) { return t->Equals(*types[0]); });
    const auto common = equal ? nullptr : CommonType(types);
    if (!equal && !common) {
      std::string text;
      for (const auto& type : types) text += (text.empty() ? "" : ", ") + TypeToString(*type);
      return UserError("the values of '" + call.function + "' have no common type: " + text,
                       "cast them to one type, as in cast(x as string)");
    }
    for (size_t i = 0; i < values.size(); ++i) {
      (*args)[first + i] = values[i];
      if (common) {
        ARROW_ASSIGN_OR_RAISE((*args)[first + i], MakeCastNode(values[i], common));
      }
    }
    return Status::OK();
  }

  static Status NumbersToStrings(Args* args) {
    for (auto& arg : *args) {
      const auto& type = *arg->type();
      if (arrow::is_integer(type.id()) || arrow::is_floating(type.id()) || arrow::is_decimal(type.id()) ||
          IsTemporal(type)) {
        ARROW_ASSIGN_OR_RAISE(arg, MakeCastNode(arg, arrow::utf8()));
      }
    }
    return Status::OK();
  }

  // x in (1, 2, null), with SQL's answer null where only a null could tell.
  Result<BoundNodePtr> BindSetLookup(const Call& call) const {
    if (call.args.empty()) return UserError("'" + call.function + "' needs a value and a list");
    if (!call.options.empty()) {
      return UserError(
          "'" + call.function + "' has no option '" + call.options.begin().key() + "' of this form",
          "write value_set => [literal, ...]");
    }
    ARROW_ASSIGN_OR_RAISE(auto value, Bind(call.args[0]));
    std::vector<std::shared_ptr<arrow::Scalar>> items;
    std::vector<std::shared_ptr<arrow::DataType>> types;
    auto value_type = value->type();
    if (value_type->id() == arrow::Type::DICTIONARY) {
      value_type = static_cast<const arrow::DictionaryType&>(*value_type).value_type();
    }
    bool floating = arrow::is_floating(value_type->id()), integer = arrow::is_integer(value_type->id());
    for (size_t i = 1; i < call.args.size(); ++i) {
      const auto* literal = call.args[i].valid() ? call.args[i].node()->literal() : nullptr;
      if (!literal)
        return UserError("'" + call.args[i].ToString() + "' in a list is no literal",
                         "compare with '=' and 'or'");
      ARROW_ASSIGN_OR_RAISE(auto adapted, literal->value->is_valid
                                              ? AdaptLiteral(true, literal->value, value_type)
                                              : std::shared_ptr<arrow::Scalar>());
      items.push_back(adapted ? adapted : literal->value);
      types.push_back(items.back()->type);
      floating = floating || arrow::is_floating(types.back()->id());
      integer = integer || arrow::is_integer(types.back()->id());
    }
    types.push_back(value_type);
    if (items.empty()) return MakeLiteralNode(arrow::MakeScalar(false));  // nothing is in an empty list
    const auto common = floating && integer ? arrow::float64() : CommonType(types);
    if (!common) {
      return UserError("'" + call.args[0].ToString() + "' is " + TypeToString(*value_type) +
                           ", which cannot be compared with the values of the list",
                       "write values of that type");
    }
    ARROW_ASSIGN_OR_RAISE(auto set, MakeValueSet(items, common));
    ARROW_ASSIGN_OR_RAISE(value, MakeCastNode(value, common, true, floating && integer));
    using Lookup = cp::SetLookupOptions;
    return MakeKernelNode(
        call.function, {std::move(value)},
        std::make_shared<Lookup>(arrow::Datum(set),
                                 call.function == "is_in" ? Lookup::INCONCLUSIVE : Lookup::MATCH));
  }

  static Result<std::shared_ptr<arrow::Array>> MakeValueSet(
      const std::vector<std::shared_ptr<arrow::Scalar>>& items,
      const std::shared_ptr<arrow::DataType>& type) {
    std::unique_ptr<arrow::ArrayBuilder> builder;
    ARROW_RETURN_NOT_OK(arrow::MakeBuilder(arrow::default_memory_pool(), type, &builder));
    for (const auto& item : items) {
      if (!item->is_valid) {
        ARROW_RETURN_NOT_OK(builder->AppendNull());
        continue;
      }
      ARROW_ASSIGN_OR_RAISE(auto cast, MakeCastNode(MakeLiteralNode(item), type, true, true));
      auto context = cp::ExecContext();
      const auto empty = arrow::RecordBatch::Make(arrow::schema({}), 1, arrow::ArrayVector{});
      auto value = cast->Evaluate(*empty, &context);
      if (!value.ok()) return UserError(LiteralToText(*item) + " is no " + TypeToString(*type));
      if (value->is_array()) {
        ARROW_ASSIGN_OR_RAISE(auto scalar, value->make_array()->GetScalar(0));
        ARROW_RETURN_NOT_OK(builder->AppendScalar(*scalar));
      } else {
        ARROW_RETURN_NOT_OK(builder->AppendScalar(*value->scalar()));
      }
    }
    return builder->Finish();
  }

  const arrow::Schema& schema_;
};

}  // namespace

Status EnsureComputeKernels() {
  static std::once_flag once;
  static Status* status = new Status();
  std::call_once(once, [] { *status = cp::Initialize(); });
  return *status;
}

Result<BoundNodePtr> BindNode(const Expression& expression, const arrow::Schema& schema) {
  ARROW_RETURN_NOT_OK(CheckDepth(expression));
  ARROW_RETURN_NOT_OK(EnsureComputeKernels());
  return Binder(schema).Bind(expression);
}

}  // namespace partita
