#include "partita/compile/group_chain.h"

#include <algorithm>
#include <map>
#include <memory>
#include <utility>

#include "partita/pipeline/group_steps.h"

namespace partita::compile {
namespace {

class GroupChain {
 public:
  GroupChain(const GraphStep& whole, std::vector<std::string> by, Graph* graph)
      : whole_(whole), by_(std::move(by)), graph_(graph), inputs_(whole.inputs) {}

  // An exchange that only brings groups together, where no step asks for more.
  void Open() { is_open_ = true; }

  // `is_followed`: a step behind it sees groups.
  Status Add(const GroupStep& step, bool is_followed) {
    if (!SeesGroup(*step.spec)) {
      Close();
      AddRowStep(step, is_followed);
      return Status::OK();
    }
    if (step.spec->name == "sort") return AddSort(step.args);
    is_open_ = true;
    if (step.spec->name == kLimitOp) {
      ARROW_ASSIGN_OR_RAISE(const int64_t rows, GetInt(step.args, "n"));
      rows_.limit = rows_.limit < 0 ? rows : std::min(rows_.limit, rows);
      return Status::OK();
    }
    GroupRows::Number number;
    ARROW_ASSIGN_OR_RAISE(number.name, GetString(step.args, "name"));
    ARROW_ASSIGN_OR_RAISE(number.first, GetInt(step.args, "offset"));
    rows_.numbers.push_back(std::move(number));
    return Status::OK();
  }

  void Close() {
    if (!is_open_) return;
    GraphStep step;
    step.declared = whole_.declared;
    step.spec = FindStep(kGroupRowsOp);
    step.args = {{"by", by_}, {"order", order_}, {"rows", GroupRowsToJson(rows_)}};
    Push(std::move(step));
    order_ = Json::array();
    rows_ = {};
    is_open_ = false;
  }

 private:
  // Rows are numbered and cut in the order before it. Two sorts in a row are one: a later one is stable.
  Status AddSort(const Json& args) {
    if (!rows_.is_nothing()) Close();
    is_open_ = true;
    ARROW_ASSIGN_OR_RAISE(const auto by, GetStringsOr(args, "by", {}));
    ARROW_ASSIGN_OR_RAISE(const auto nulls, GetString(args, "nulls"));
    const Json& descending = args.at("descending");
    Json order = Json::array();
    for (size_t i = 0; i < by.size(); ++i) {
      order.push_back({{"column", by[i]},
                       {"descending", descending[descending.size() == 1 ? 0 : i]},
                       {"nulls_first", nulls == "first"}});
    }
    for (Json& key : order_) {
      const bool is_said = std::find(by.begin(), by.end(), key["column"].get<std::string>()) != by.end();
      if (!is_said) order.push_back(std::move(key));
    }
    order_ = std::move(order);
    return Status::OK();
  }

  void AddRowStep(const GroupStep& inner, bool is_followed) {
    auto made = std::make_shared<PipelineStep>(*whole_.declared);
    const int count = ++counts_[inner.spec->name];
    made->name += "." + inner.spec->name + (count == 1 ? "" : "_" + std::to_string(count));
    made->op = inner.spec->name;
    made->args = inner.args;
    if (inner.on_error) made->on_error = *inner.on_error;
    GraphStep step;
    step.declared = made.get();
    step.spec = inner.spec;
    step.args = inner.args;
    if (is_followed) step.passes_on = by_;
    graph_->made.push_back(std::move(made));
    Push(std::move(step));
  }

  void Push(GraphStep step) {
    step.inputs = std::exchange(inputs_, {static_cast<int>(graph_->steps.size())});
    graph_->steps.push_back(std::move(step));
  }

  const GraphStep& whole_;
  const std::vector<std::string> by_;
  Graph* graph_;
  std::vector<int> inputs_;  // of the next step
  bool is_open_ = false;     // order_ and rows_ are still to become an exchange
  Json order_ = Json::array();
  GroupRows rows_;
  std::map<std::string, int> counts_;  // of steps, by op
};

// `fn` and what says how it runs have no meaning beside `steps`.
Status CheckAlone(const GraphStep& step) {
  for (const auto& arg : step.spec->args) {
    if (arg.name == "by" || arg.name == "steps") continue;
    ARROW_ASSIGN_OR_RAISE(const Json fallback,
                          arg.required ? Result<Json>(Json()) : NormaliseArg(*step.spec, arg, Json()));
    if (step.args.at(arg.name) == fallback) continue;
    return UserError("map_groups runs `steps` or a Python function: `" + arg.name + "` is of the latter",
                     "leave out `" + arg.name + "` or `steps`");
  }
  return Status::OK();
}

}  // namespace

bool IsGroupChain(const GraphStep& step) {
  if (step.spec->name != kMapGroupsOp) return false;
  const auto steps = step.args.find("steps");
  return steps != step.args.end() && !steps->is_null();
}

Status AddGroupChain(const GraphStep& step, Graph* graph) {
  ARROW_RETURN_NOT_OK(CheckAlone(step));
  ARROW_ASSIGN_OR_RAISE(auto by, GetStringsOr(step.args, "by", {}));
  ARROW_ASSIGN_OR_RAISE(const auto steps, GroupStepsOf(step.args.at("steps")));
  size_t followed = steps.size();  // so many stand before the last step that sees groups
  while (followed > 0 && !SeesGroup(*steps[followed - 1].spec)) --followed;
  GroupChain chain(step, std::move(by), graph);
  if (followed == 0) chain.Open();
  for (size_t i = 0; i < steps.size(); ++i) ARROW_RETURN_NOT_OK(chain.Add(steps[i], i < followed));
  chain.Close();
  return Status::OK();
}

}  // namespace partita::compile
