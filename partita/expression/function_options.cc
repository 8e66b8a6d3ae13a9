// JSON options -> Arrow's FunctionOptions. The option names and kinds are those of the table in functions.cc.
#include <arrow/array/util.h>
#include <arrow/compute/api_scalar.h>

#include <limits>
#include <optional>
#include <unordered_map>
#include <utility>

#include "partita/block/schema.h"
#include "partita/expression/functions.h"
#include "partita/expression/literal.h"

namespace partita {
namespace {

namespace cp = arrow::compute;
using OptionsPtr = std::shared_ptr<cp::FunctionOptions>;

// Reads checked options: kinds are already right (see CheckOptions).
class Reader {
 public:
  Reader(std::string function, const Json& options) : function_(std::move(function)), options_(options) {}

  std::string String(const char* name, std::string fallback = "") const {
    return options_.contains(name) ? options_.at(name).get<std::string>() : std::move(fallback);
  }
  int64_t Int(const char* name, int64_t fallback = 0) const {
    return options_.contains(name) ? options_.at(name).get<int64_t>() : fallback;
  }
  std::optional<int64_t> MaybeInt(const char* name) const {
    return options_.contains(name) ? std::optional(options_.at(name).get<int64_t>()) : std::nullopt;
  }
  double Double(const char* name, double fallback) const {
    return options_.contains(name) ? options_.at(name).get<double>() : fallback;
  }
  bool Bool(const char* name, bool fallback) const {
    return options_.contains(name) ? options_.at(name).get<bool>() : fallback;
  }
  const Json* Find(const char* name) const { return options_.contains(name) ? &options_.at(name) : nullptr; }

  template <typename Enum>
  Result<Enum> Word(const char* name, Enum fallback,
                    const std::vector<std::pair<std::string, Enum>>& words) const {
    if (!options_.contains(name)) return fallback;
    const auto given = options_.at(name).get<std::string>();
    std::string known;
    for (const auto& [word, value] : words) {
      if (word == given) return value;
      known += (known.empty() ? "" : ", ") + word;
    }
    return UserError("function '" + function_ + "': option '" + name + "' cannot be '" + given + "'",
                     "use one of: " + known);
  }

 private:
  const std::string function_;
  const Json& options_;
};

Result<cp::RoundMode> ReadRoundMode(const Reader& in) {
  using cp::RoundMode;
  return in.Word<RoundMode>("round_mode", RoundMode::HALF_TO_EVEN,
                            {{"down", RoundMode::DOWN},
                             {"up", RoundMode::UP},
                             {"towards_zero", RoundMode::TOWARDS_ZERO},
                             {"towards_infinity", RoundMode::TOWARDS_INFINITY},
                             {"half_down", RoundMode::HALF_DOWN},
                             {"half_up", RoundMode::HALF_UP},
                             {"half_towards_zero", RoundMode::HALF_TOWARDS_ZERO},
                             {"half_towards_infinity", RoundMode::HALF_TOWARDS_INFINITY},
                             {"half_to_even", RoundMode::HALF_TO_EVEN},
                             {"half_to_odd", RoundMode::HALF_TO_ODD}});
}

Result<OptionsPtr> ReadMatch(const Reader& in) {
  return std::make_shared<cp::MatchSubstringOptions>(in.String("pattern"), in.Bool("ignore_case", false));
}

Result<OptionsPtr> ReadReplace(const Reader& in) {
  return std::make_shared<cp::ReplaceSubstringOptions>(in.String("pattern"), in.String("replacement"),
                                                       in.Int("max_replacements", -1));
}

Result<OptionsPtr> ReadReplaceSlice(const Reader& in) {
  return std::make_shared<cp::ReplaceSliceOptions>(in.Int("start"), in.Int("stop"), in.String("replacement"));
}

Result<OptionsPtr> ReadSplit(const Reader& in) {
  return std::make_shared<cp::SplitOptions>(in.Int("max_splits", -1), in.Bool("reverse", false));
}

Result<OptionsPtr> ReadSplitPattern(const Reader& in) {
  return std::make_shared<cp::SplitPatternOptions>(in.String("pattern"), in.Int("max_splits", -1),
                                                   in.Bool("reverse", false));
}

// No number has more digits; and Arrow counts them one by one.
constexpr int64_t kMaxRoundDigits = 400;

Result<OptionsPtr> ReadRound(const Reader& in) {
  ARROW_ASSIGN_OR_RAISE(auto mode, ReadRoundMode(in));
  const int64_t digits = in.Int("ndigits");
  if (digits > kMaxRoundDigits || digits < -kMaxRoundDigits) {
    return UserError("function 'round': ndigits " + std::to_string(digits) + " is beyond any number",
                     "use -400 to 400");
  }
  return std::make_shared<cp::RoundOptions>(digits, mode);
}

Result<OptionsPtr> ReadRoundBinary(const Reader& in) {
  ARROW_ASSIGN_OR_RAISE(auto mode, ReadRoundMode(in));
  return std::make_shared<cp::RoundBinaryOptions>(mode);
}

Result<OptionsPtr> ReadRoundToMultiple(const Reader& in) {
  ARROW_ASSIGN_OR_RAISE(auto mode, ReadRoundMode(in));
  return std::make_shared<cp::RoundToMultipleOptions>(in.Double("multiple", 1), mode);
}

Result<OptionsPtr> ReadRoundTemporal(const Reader& in) {
  using cp::CalendarUnit;
  ARROW_ASSIGN_OR_RAISE(auto unit, in.Word<CalendarUnit>("unit", CalendarUnit::DAY,
                                                         {{"nanosecond", CalendarUnit::NANOSECOND},
                                                          {"microsecond", CalendarUnit::MICROSECOND},
                                                          {"millisecond", CalendarUnit::MILLISECOND},
                                                          {"second", CalendarUnit::SECOND},
                                                          {"minute", CalendarUnit::MINUTE},
                                                          {"hour", CalendarUnit::HOUR},
                                                          {"day", CalendarUnit::DAY},
                                                          {"week", CalendarUnit::WEEK},
                                                          {"month", CalendarUnit::MONTH},
                                                          {"quarter", CalendarUnit::QUARTER},
                                                          {"year", CalendarUnit::YEAR}}));
  const int64_t multiple = in.Int("multiple", 1);
  if (multiple < 1 || multiple > std::numeric_limits<int>::max()) {
    return UserError("option 'multiple' must be at least 1, is " + std::to_string(multiple));
  }
  return std::make_shared<cp::RoundTemporalOptions>(
      static_cast<int>(multiple), unit, in.Bool("week_starts_monday", true),
      in.Bool("ceil_is_strictly_greater", false), in.Bool("calendar_based_origin", false));
}

Status CheckStep(int64_t step) {
  return step == 0 ? UserError("option 'step' cannot be 0", "use a positive or negative step") : Status::OK();
}

Result<OptionsPtr> ReadSlice(const Reader& in) {
  const int64_t step = in.Int("step", 1);
  ARROW_RETURN_NOT_OK(CheckStep(step));
  const int64_t end = step > 0 ? std::numeric_limits<int64_t>::max() : std::numeric_limits<int64_t>::min();
  return std::make_shared<cp::SliceOptions>(in.Int("start"), in.Int("stop", end), step);
}

Result<OptionsPtr> ReadListSlice(const Reader& in) {
  const int64_t step = in.Int("step", 1);
  ARROW_RETURN_NOT_OK(CheckStep(step));
  std::optional<bool> fixed;
  if (in.Find("return_fixed_size_list")) fixed = in.Bool("return_fixed_size_list", false);
  return std::make_shared<cp::ListSliceOptions>(in.Int("start"), in.MaybeInt("stop"), step, fixed);
}

Result<OptionsPtr> ReadPad(const Reader& in) {
  return std::make_shared<cp::PadOptions>(in.Int("width"), in.String("padding", " "),
                                          in.Bool("lean_left_on_odd_padding", true));
}

Result<OptionsPtr> ReadStrptime(const Reader& in) {
  using arrow::TimeUnit;
  ARROW_ASSIGN_OR_RAISE(auto unit, in.Word<TimeUnit::type>("unit", TimeUnit::MICRO,
                                                           {{"s", TimeUnit::SECOND},
                                                            {"ms", TimeUnit::MILLI},
                                                            {"us", TimeUnit::MICRO},
                                                            {"ns", TimeUnit::NANO}}));
  return std::make_shared<cp::StrptimeOptions>(in.String("format"), unit, in.Bool("error_is_null", false));
}

Result<OptionsPtr> ReadDayOfWeek(const Reader& in) {
  const int64_t week_start = in.Int("week_start", 1);
  if (week_start < 1 || week_start > 7)
    return UserError("option 'week_start' must be 1 (Monday) to 7 (Sunday)");
  return std::make_shared<cp::DayOfWeekOptions>(in.Bool("count_from_zero", true),
                                                static_cast<uint32_t>(week_start));
}

Result<OptionsPtr> ReadWeek(const Reader& in) {
  return std::make_shared<cp::WeekOptions>(in.Bool("week_starts_monday", true),
                                           in.Bool("count_from_zero", false),
                                           in.Bool("first_week_is_fully_in_year", false));
}

Result<OptionsPtr> ReadTimezone(const Reader& in) {
  using T = cp::AssumeTimezoneOptions;
  ARROW_ASSIGN_OR_RAISE(auto ambiguous, in.Word<T::Ambiguous>("ambiguous", T::AMBIGUOUS_RAISE,
                                                              {{"raise", T::AMBIGUOUS_RAISE},
                                                               {"earliest", T::AMBIGUOUS_EARLIEST},
                                                               {"latest", T::AMBIGUOUS_LATEST}}));
  ARROW_ASSIGN_OR_RAISE(auto nonexistent, in.Word<T::Nonexistent>("nonexistent", T::NONEXISTENT_RAISE,
                                                                  {{"raise", T::NONEXISTENT_RAISE},
                                                                   {"earliest", T::NONEXISTENT_EARLIEST},
                                                                   {"latest", T::NONEXISTENT_LATEST}}));
  return std::make_shared<T>(in.String("timezone"), ambiguous, nonexistent);
}

Result<OptionsPtr> ReadNormalize(const Reader& in) {
  using T = cp::Utf8NormalizeOptions;
  ARROW_ASSIGN_OR_RAISE(
      auto form, in.Word<T::Form>("form", T::NFC,
                                  {{"NFC", T::NFC}, {"NFKC", T::NFKC}, {"NFD", T::NFD}, {"NFKD", T::NFKD}}));
  return std::make_shared<T>(form);
}

Result<OptionsPtr> ReadJoin(const Reader& in) {
  using T = cp::JoinOptions;
  ARROW_ASSIGN_OR_RAISE(auto nulls,
                        in.Word<T::NullHandlingBehavior>(
                            "null_handling", T::EMIT_NULL,
                            {{"emit_null", T::EMIT_NULL}, {"skip", T::SKIP}, {"replace", T::REPLACE}}));
  return std::make_shared<T>(nulls, in.String("null_replacement"));
}

Result<OptionsPtr> ReadMapLookup(const Reader& in) {
  using T = cp::MapLookupOptions;
  ARROW_ASSIGN_OR_RAISE(auto key, ScalarFromJsonValue(*in.Find("query_key")));
  ARROW_ASSIGN_OR_RAISE(auto occurrence,
                        in.Word<T::Occurrence>("occurrence", T::FIRST,
                                               {{"first", T::FIRST}, {"last", T::LAST}, {"all", T::ALL}}));
  return std::make_shared<T>(key, occurrence);
}

Result<OptionsPtr> ReadMakeStruct(const Reader& in) {
  std::vector<std::string> names;
  for (const auto& name : *in.Find("field_names")) names.push_back(name.get<std::string>());
  return std::make_shared<cp::MakeStructOptions>(std::move(names));
}

using ReadFunction = Result<OptionsPtr> (*)(const Reader&);

const std::unordered_map<std::string_view, ReadFunction>& Readers() {
  static const auto* readers = [] {
    auto* all = new std::unordered_map<std::string_view, ReadFunction>();
    auto add = [&](ReadFunction read, std::initializer_list<std::string_view> names) {
      for (auto name : names) (*all)[name] = read;
    };
    add(ReadMatch,
        {"count_substring", "count_substring_regex", "ends_with", "find_substring", "find_substring_regex",
         "match_like", "match_substring", "match_substring_regex", "starts_with"});
    add(ReadReplace, {"replace_substring", "replace_substring_regex"});
    add(ReadReplaceSlice, {"binary_replace_slice", "utf8_replace_slice"});
    add(ReadSplit, {"ascii_split_whitespace", "utf8_split_whitespace"});
    add(ReadSplitPattern, {"split_pattern", "split_pattern_regex"});
    add(ReadRound, {"round"});
    add(ReadRoundBinary, {"round_binary"});
    add(ReadRoundToMultiple, {"round_to_multiple"});
    add(ReadRoundTemporal, {"ceil_temporal", "floor_temporal", "round_temporal"});
    add(ReadSlice, {"binary_slice", "utf8_slice_codeunits"});
    add(ReadListSlice, {"list_slice"});
    add(ReadPad, {"ascii_center", "ascii_lpad", "ascii_rpad", "utf8_center", "utf8_lpad", "utf8_rpad"});
    add(ReadStrptime, {"strptime"});
    add(ReadDayOfWeek, {"day_of_week", "weeks_between"});
    add(ReadWeek, {"week"});
    add(ReadTimezone, {"assume_timezone"});
    add(ReadNormalize, {"utf8_normalize"});
    add(ReadJoin, {kConcat});
    add(ReadMapLookup, {"map_lookup"});
    add(ReadMakeStruct, {"make_struct"});
    add(
        [](const Reader& in) -> Result<OptionsPtr> {
          return std::make_shared<cp::ExtractRegexOptions>(in.String("pattern"));
        },
        {"extract_regex"});
    add(
        [](const Reader& in) -> Result<OptionsPtr> {
          return std::make_shared<cp::ExtractRegexSpanOptions>(in.String("pattern"));
        },
        {"extract_regex_span"});
    add(
        [](const Reader& in) -> Result<OptionsPtr> {
          return std::make_shared<cp::TrimOptions>(in.String("characters"));
        },
        {"ascii_ltrim", "ascii_rtrim", "ascii_trim", "utf8_ltrim", "utf8_rtrim", "utf8_trim"});
    add(
        [](const Reader& in) -> Result<OptionsPtr> {
          return std::make_shared<cp::ZeroFillOptions>(in.Int("width"), in.String("padding", "0"));
        },
        {"utf8_zero_fill"});
    add(
        [](const Reader& in) -> Result<OptionsPtr> {
          // The locale is always C: the output must not depend on the host.
          return std::make_shared<cp::StrftimeOptions>(
              in.String("format", cp::StrftimeOptions::kDefaultFormat));
        },
        {"strftime"});
    add(
        [](const Reader& in) -> Result<OptionsPtr> {
          return std::make_shared<cp::NullOptions>(in.Bool("nan_is_null", false));
        },
        {"is_null"});
    add(
        [](const Reader& in) -> Result<OptionsPtr> {
          return std::make_shared<cp::ElementWiseAggregateOptions>(in.Bool("skip_nulls", true));
        },
        {"max_element_wise", "min_element_wise"});
    add(
        [](const Reader& in) -> Result<OptionsPtr> {
          return std::make_shared<cp::StructFieldOptions>(arrow::FieldRef(in.String("field")));
        },
        {"struct_field"});
    return all;
  }();
  return *readers;
}

bool IsKind(const Json& value, OptionKind kind) {
  switch (kind) {
    case OptionKind::kString:
    case OptionKind::kWord:
      return value.is_string();
    case OptionKind::kInt:
      return value.is_number_integer() &&
             !(value.is_number_unsigned() &&
               value.get<uint64_t>() > uint64_t{std::numeric_limits<int64_t>::max()});
    case OptionKind::kDouble:
      return value.is_number();
    case OptionKind::kBool:
      return value.is_boolean();
    case OptionKind::kNames: {
      if (!value.is_array()) return false;
      for (const auto& name : value) {
        if (!name.is_string()) return false;
      }
      return true;
    }
    case OptionKind::kValue:
      return true;
  }
  return false;
}

std::string_view KindName(OptionKind kind) {
  switch (kind) {
    case OptionKind::kInt:
      return "an integer";
    case OptionKind::kDouble:
      return "a number";
    case OptionKind::kBool:
      return "true or false";
    case OptionKind::kNames:
      return "a list of strings";
    case OptionKind::kValue:
      return "a value";
    default:
      return "a string";
  }
}

Status CheckOptions(const std::string& function, const std::vector<OptionSpec>& specs, const Json& options) {
  std::vector<std::string> names;
  for (const auto& spec : specs) names.emplace_back(spec.name);
  for (const auto& [key, value] : options.items()) {
    const auto spec =
        std::find_if(specs.begin(), specs.end(), [&k = key](const OptionSpec& s) { return s.name == k; });
    if (spec == specs.end()) {
      const auto nearest = NearestName(key, names);
      std::string known;
      for (const auto& name : names) known += (known.empty() ? "" : ", ") + name;
      return UserError("function '" + function + "' has no option '" + key + "'" +
                           (nearest.empty() ? "" : " (did you mean '" + nearest + "'?)"),
                       known.empty() ? "it takes no options" : "its options are: " + known);
    }
    if (!IsKind(value, spec->kind)) {
      return UserError("function '" + function + "': option '" + key + "' must be " +
                       std::string(KindName(spec->kind)) + ", is " + value.dump());
    }
  }
  for (const auto& spec : specs) {
    if (spec.required && !options.contains(spec.name)) {
      return UserError("function '" + function + "' needs the option '" + std::string(spec.name) + "', " +
                           std::string(KindName(spec.kind)) + " literal",
                       "write " + function + "(..., " + std::string(spec.name) + " => ...)");
    }
  }
  return Status::OK();
}

}  // namespace

Result<OptionsPtr> MakeOptions(const std::string& function, const Json& options) {
  static const std::vector<OptionSpec> kNone;
  const auto* specs = OptionsOf(function);
  ARROW_RETURN_NOT_OK(CheckOptions(function, specs ? *specs : kNone, options));
  const auto reader = Readers().find(function);
  if (reader == Readers().end()) return nullptr;
  return reader->second(Reader(function, options));
}

}  // namespace partita
