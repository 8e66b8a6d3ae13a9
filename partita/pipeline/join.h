// Joins of two inputs: which keys meet, which columns come out and of which types. Pure; the one definition
// for pipeline, plan and engine.
//
//   how     rows                                                   columns
//   inner   of both, where keys are equal                          of both
//   left    inner, and left rows that match none                   of both; those of the right may be null
//   right   inner, and right rows that match none                  of both; those of the left may be null
//   full    inner, and rows of either side that match none         of both; all may be null
//   semi    left rows that match at least one right row, once      of the left
//   anti    left rows that match none                              of the left
//   cross   each left row with each right row; there are no keys   of both
//   asof    each left row once, beside the nearest right row of its   of both; those of the right may be null
//           key, if it has one; there may be no keys
//   zip     the first left row with the first right row, and so on; no keys; as many rows on both sides
//
// A null key equals nothing, not even a null. NaN equals NaN, -0 equals 0. Keys of two types are compared as
// their common type, which both columns become.
//
// A key that has one name in both inputs is one column of the result, which stands where the left one stood:
// the value of the left row, or of the right one where there is no left row. Of keys with two names, inner
// and left joins drop the right column, right joins the left one; full joins keep both. The columns of the
// left come first. A right column that is named like a column of the left gets a suffix.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "partita/base/error.h"
#include "partita/base/json.h"

namespace arrow {
class DataType;
class Schema;
}  // namespace arrow

namespace partita {

enum class JoinHow { kInner, kLeft, kRight, kFull, kSemi, kAnti, kCross, kAsof, kZip };
std::string_view JoinHowName(JoinHow how);  // "inner", ...

// The key columns of both inputs, pairwise.
struct JoinKeys {
  std::vector<std::string> left, right;
};

struct JoinColumn {
  enum class Side { kLeft, kRight, kKey } side = Side::kLeft;
  std::string name;    // in the result
  std::string column;  // in its input; of kKey: in both
};

struct Join {
  JoinHow how = JoinHow::kInner;
  std::vector<JoinColumn> columns;  // in the order of the result; of semi and anti joins: all kLeft

  // Whether a row of the result may have no left resp. no right row.
  bool may_lack_left() const { return how == JoinHow::kRight || how == JoinHow::kFull; }
  bool may_lack_right() const {
    return how == JoinHow::kLeft || how == JoinHow::kFull || how == JoinHow::kAsof;
  }
  bool gives_left_only() const { return how == JoinHow::kSemi || how == JoinHow::kAnti; }
};

// The columns of both inputs, keys as their common type.
struct JoinInputs {
  JoinKeys keys;
  std::shared_ptr<arrow::Schema> left, right;
};
// The keys that the arguments `on`, `left_on` and `right_on` name, and what they must be cast to. User
// errors.
Result<JoinInputs> JoinInputsOf(const Json& args, const std::shared_ptr<arrow::Schema>& left,
                                const std::shared_ptr<arrow::Schema>& right);
// As many of both sides, none twice, all there, of types that can be keys, pairwise of one type; none of a
// cross join. User errors.
Status CheckJoinKeys(JoinHow how, const JoinKeys& keys, const arrow::Schema& left,
                     const arrow::Schema& right);
// The type that values of both are compared as: the wider number, the larger text, what a dictionary stands
// for. Null where there is none that loses nothing.
std::shared_ptr<arrow::DataType> CommonKeyType(const std::shared_ptr<arrow::DataType>& a,
                                               const std::shared_ptr<arrow::DataType>& b);

// The join that normalised arguments of the step ask for. Names that clash in spite of the suffix are user
// errors.
Result<Join> JoinOf(const Json& args, const JoinInputs& inputs);

// What an as-of join orders by: right rows whose `right` is not after (backward) or not before (forward) the
// left row's `left`; of several, the nearest, of equally near ones the last (backward) or the first. nearest:
// the nearer of both, backward where they are equally near. Null and what belongs to it match nothing.
struct Asof {
  enum class Direction { kBackward, kForward, kNearest } direction = Direction::kBackward;
  std::string left, right;
};
struct AsofInputs {
  JoinInputs inputs;  // with the keys `by`
  Asof asof;
  Json join_args;  // for JoinOf
};
// What normalised arguments of join_asof ask for. User errors.
Result<AsofInputs> AsofInputsOf(const Json& args, const std::shared_ptr<arrow::Schema>& left,
                                const std::shared_ptr<arrow::Schema>& right);
// Numbers and times of at most 64 bits.
bool IsAsofType(const arrow::DataType& type);
// {"left": ..., "right": ..., "direction": "backward"}. FromJson checks hostile input by itself.
Json AsofToJson(const Asof& asof);
Result<Asof> AsofFromJson(const Json& value);

// As plans hold it: {"op": "join", "how": "left", "columns": [{"name", "side": "left" | "right" | "key",
// "column"}, ...]}; where a stage reads both sides of an as-of join, with "asof": {...} too, which FromJson
// leaves alone. FromJson checks hostile input by itself, JoinSchema in the light of the inputs.
Json JoinToJson(const Join& join);
// The arguments of a join that does what a zip with these arguments asks for.
Result<Json> ZipArgs(const Json& args);
Result<Join> JoinFromJson(const Json& value);

// The columns of the result: the fields of the inputs, nullable where a row may be missing. An error where a
// column is not in its input, is no key of both, or has the name of another.
Result<std::shared_ptr<arrow::Schema>> JoinSchema(const Join& join, const JoinKeys& keys,
                                                  const arrow::Schema& left, const arrow::Schema& right);

}  // namespace partita
