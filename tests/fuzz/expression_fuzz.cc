// An expression as hostile text: what is parsed is written as JSON and read again as the same one, and
// evaluates to a valid array or an error of its author or the data.
#include <arrow/api.h>

#include "partita/base/json.h"
#include "partita/expression/expression.h"
#include "partita/memory/budget.h"
#include "tests/fuzz/fuzz_input.h"

namespace {

using namespace partita;

std::shared_ptr<arrow::RecordBatch> Batch() {
  arrow::Int64Builder i;
  arrow::DoubleBuilder d;
  arrow::StringBuilder s;
  arrow::BooleanBuilder b;
  bool ok = i.AppendValues({0, -1, 7, INT64_MAX, INT64_MIN}).ok() &&
            d.AppendValues({0, -1.5, 7, 1e300, 1e-300}).ok() &&
            s.AppendValues({"", "a", "Zürich", "2024-02-30", "17"}).ok() &&
            b.AppendValues(std::vector<bool>{true, false, true, false, true}).ok();
  ok = ok && i.AppendNull().ok() && d.AppendNull().ok() && s.AppendNull().ok() && b.AppendNull().ok();
  if (!ok) std::abort();
  const auto schema = arrow::schema({arrow::field("i", arrow::int64()), arrow::field("d", arrow::float64()),
                                     arrow::field("s", arrow::utf8()), arrow::field("b", arrow::boolean())});
  return arrow::RecordBatch::Make(schema, 6, {*i.Finish(), *d.Finish(), *s.Finish(), *b.Finish()});
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto batch = Batch();
  const auto parsed = Expression::Parse(fuzz::Text(data, size));
  if (!parsed.ok()) {
    FUZZ_CHECK(KindOf(parsed.status()) == ErrorKind::kUser, RenderError(parsed.status()));
    return 0;
  }
  const Json json = parsed->ToJson();
  const auto from_json = Expression::FromJson(json);
  FUZZ_CHECK(from_json.ok() && from_json->ToJson() == json, CanonicalJson(json));
  (void)Expression::Parse(parsed->ToString());
  const auto bound = BoundExpression::Bind(*parsed, batch->schema());
  if (!bound.ok()) {
    fuzz::CheckKind(bound.status());
    return 0;
  }
  const auto pool = Budget::Make(64 << 20)->root();
  {
    const auto values = (*bound)->Evaluate(*batch, pool.get());
    if (values.ok()) {
      const Status valid = (*values)->ValidateFull();
      FUZZ_CHECK(valid.ok(), parsed->ToString() + ": " + valid.ToString());
      FUZZ_CHECK((*values)->length() == batch->num_rows(), parsed->ToString());
    } else {
      fuzz::CheckKind(values.status());
    }
  }
  FUZZ_CHECK(pool->bytes_allocated() == 0, "memory is not given back");
  (void)MaySatisfy(*parsed, *batch->schema(),
                   {{.column = "i", .min = arrow::MakeScalar(int64_t{3}), .max = nullptr}});
  return 0;
}
