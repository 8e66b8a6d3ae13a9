#include "partita/compile/test_pipeline.h"

namespace partita {
namespace {

Result<std::vector<std::shared_ptr<arrow::Schema>>> Schemas(const TestPipeline& test) {
  return StepSchemas(test.pipeline, test.snapshot);
}

TEST(StepSchemas, FollowsTheColumns) {
  TestPipeline test;
  test.Parquet("rows")
      .Add("with_columns", {{"columns", {{"area", "width * height"}}}})
      .Add("test_fetch")
      .Add("select", {{"columns", {"image", "area"}}})
      .Add("write_parquet", {{"path", "out"}});
  auto schemas = Schemas(test);
  ASSERT_TRUE(schemas.ok()) << RenderError(schemas.status());
  ASSERT_EQ(schemas->size(), 5u);
  EXPECT_EQ((*schemas)[1]->field_names(),
            (std::vector<std::string>{"url", "caption", "width", "height", "area"}));
  EXPECT_EQ((*schemas)[2]->field_names().back(), "status");
  EXPECT_EQ((*schemas)[3]->field_names(), (std::vector<std::string>{"image", "area"}));
  EXPECT_TRUE((*schemas)[4]->Equals(*(*schemas)[3])) << "a sink has its input's columns";
  EXPECT_TRUE((*schemas)[3]->field(1)->type()->Equals(arrow::int64()));
}

TEST(StepSchemas, NeedsNoSink) {
  auto schemas = Schemas(TestPipeline().Parquet("rows"));
  ASSERT_TRUE(schemas.ok());
  EXPECT_EQ(schemas->front()->num_fields(), 4);
}

TEST(StepSchemas, ColumnsOfASourceAreChosenInTheOrderGiven) {
  TestPipeline test;
  test.Parquet("rows");
  test.pipeline.steps[0].args["columns"] = {"width", "url"};
  auto schemas = Schemas(test);
  ASSERT_TRUE(schemas.ok()) << schemas.status();
  EXPECT_EQ(schemas->front()->field_names(), (std::vector<std::string>{"width", "url"}));
  test.pipeline.steps[0].args["columns"] = {"widht"};
  EXPECT_THAT(Schemas(test), IsUserError("width", "rows"));
}

TEST(StepSchemas, ErrorsNameTheStepAndItsLine) {
  TestPipeline test;
  test.Parquet("rows").Add("filter", {{"predicate", "widht > 3"}}, "wide").At(7, 3);
  EXPECT_THAT(Schemas(test), IsUserError("line 7, column 3: ", "wide"));
  EXPECT_THAT(
      Schemas(TestPipeline().Parquet("rows").Add("write_csv", {{"path", "o"}, {"partition_by", {"yeer"}}})),
      IsUserError("yeer", "write_csv"));
  EXPECT_THAT(
      Schemas(TestPipeline().Parquet("rows").Add("write_webdataset", {{"path", "o"}, {"key", "kee"}})),
      IsUserError("kee", "write_webdataset"));
  TestPipeline stranger;
  stranger.Add("read_parquet", {{"path", "x"}});
  EXPECT_THAT(Schemas(stranger), IsUserError("snapshot", "read_parquet"));
}

TEST(StepSchemas, RefusesAmbiguousColumns) {
  TestPipeline test;
  test.Parquet("rows");
  test.snapshot.sources[0].schema =
      arrow::schema({arrow::field("a", arrow::int32()), arrow::field("a", arrow::utf8())});
  EXPECT_THAT(Schemas(test), IsUserError("two columns are named 'a'", "rows"));
}

class UnionSchemas : public testing::Test {
 protected:
  Result<std::shared_ptr<arrow::Schema>> Union(arrow::FieldVector a, arrow::FieldVector b) {
    TestPipeline test;
    test.Parquet("a").Parquet("b").Add("union", Json::object(), "both", {"a", "b"});
    test.snapshot.sources[0].schema = arrow::schema(std::move(a));
    test.snapshot.sources[1].schema = arrow::schema(std::move(b));
    ARROW_ASSIGN_OR_RAISE(auto schemas, Schemas(test));
    return schemas.back();
  }
  std::shared_ptr<arrow::Field> x_ = arrow::field("x", arrow::int64());
  std::shared_ptr<arrow::Field> y_ = arrow::field("y", arrow::utf8());
};

TEST_F(UnionSchemas, NameTheColumnThatDiffers) {
  EXPECT_THAT(Union({x_, y_}, {arrow::field("x", arrow::int32()), y_}),
              IsUserError("column 'x' is int64 in 'a' and int32 in 'b'", "both"));
  EXPECT_THAT(Union({x_, y_}, {x_}), IsUserError("'b' has no column 'y'", "both"));
  EXPECT_THAT(Union({x_}, {x_, y_}), IsUserError("'a' has no column 'y'", "both"));
  EXPECT_THAT(Union({x_, y_}, {y_, x_}), IsUserError("another order", "both"));
}

TEST_F(UnionSchemas, AreNullableWhereOneInputIs) {
  auto schema = Union({x_->WithNullable(false), y_}, {x_, y_->WithNullable(false)});
  ASSERT_TRUE(schema.ok()) << schema.status();
  EXPECT_TRUE((*schema)->Equals(*arrow::schema({x_, y_})));
}

}  // namespace
}  // namespace partita
