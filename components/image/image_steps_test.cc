// The steps as the executor runs them: bind, make, process.
#include <arrow/api.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "components/image/image_encoder.h"
#include "components/image/image_samples.h"
#include "components/image/register.h"
#include "partita/base/json.h"
#include "partita/operator/operator.h"
#include "partita/pipeline/step_spec.h"

namespace partita {
namespace {

using samples::Data;
using samples::Jpeg;
using samples::Photo;
using samples::Pool;
using testing::ElementsAre;
using testing::HasSubstr;

class Errors final : public RowErrors {
 public:
  Status Add(int64_t row, const Status& error) override {
    if (fail) return error;
    rows[row] = MessageOf(error);
    return Status::OK();
  }
  std::map<int64_t, std::string> rows;
  bool fail = false;
};

class Output final : public BlockOutput {
 public:
  Status Emit(Block block) override {
    EXPECT_TRUE(block.batch->ValidateFull().ok());
    EXPECT_EQ(block.ordinals.size(), block.batch->num_rows());
    blocks.push_back(std::move(block));
    return Status::OK();
  }
  std::vector<Block> blocks;
};

class ImageSteps : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    static const bool once = [] {
      RegisterImageSteps();
      return true;
    }();
    (void)once;
  }

  Result<std::unique_ptr<Transform>> Make(const std::string& name, const std::string& args_json,
                                          const std::shared_ptr<arrow::Schema>& input) {
    const StepSpec* spec = FindStep(name);
    ARROW_ASSIGN_OR_RAISE(args_, NormaliseArgs(*spec, *ParseJson(args_json)));
    ARROW_ASSIGN_OR_RAISE(binding_, spec->bind(args_, input));
    return FindTransform(name)->make({.args = &args_, .input = input, .output = binding_.output});
  }

  Status Run(const std::string& name, const std::string& args_json,
             const std::shared_ptr<arrow::RecordBatch>& batch) {
    ARROW_ASSIGN_OR_RAISE(auto transform, Make(name, args_json, batch->schema()));
    OperatorContext ctx;
    ctx.step = name;
    ctx.pool = pool_;
    ctx.errors = &errors_;
    ctx.target_block_bytes = target_block_bytes_;
    return transform->Process({batch, RowOrdinals::Range(100, batch->num_rows())}, ctx, output_);
  }

  // id, image (binary): a good JPEG, null, not an image, a PNG.
  std::shared_ptr<arrow::RecordBatch> Batch() {
    arrow::Int64Builder ids;
    arrow::BinaryBuilder images;
    EXPECT_TRUE(ids.AppendValues({10, 11, 12, 13}).ok());
    EXPECT_TRUE(images.Append(Jpeg(Photo(64, 48, 3, pool_.get()))).ok());
    EXPECT_TRUE(images.AppendNull().ok());
    EXPECT_TRUE(images.Append("no image").ok());
    const Image png = Photo(30, 90, 4, pool_.get());
    EXPECT_TRUE(
        images.Append((*EncodeImage(png.view(), ImageFormat::kPng, 6, pool_.get()))->ToString()).ok());
    return arrow::RecordBatch::Make(
        arrow::schema({arrow::field("id", arrow::int64()), arrow::field("image", arrow::binary())}), 4,
        {*ids.Finish(), *images.Finish()});
  }

  // Column `name` of all output rows, as text.
  std::vector<std::string> Column(const std::string& name) {
    std::vector<std::string> values;
    for (const Block& block : output_.blocks) {
      const auto column = block.batch->GetColumnByName(name);
      for (int64_t i = 0; i < column->length(); ++i) values.push_back((*column->GetScalar(i))->ToString());
    }
    return values;
  }

  std::shared_ptr<BudgetPool> pool_ = Pool();
  Json args_;
  StepBinding binding_;
  Errors errors_;
  Output output_;
  int64_t target_block_bytes_ = 4 << 20;
};

TEST_F(ImageSteps, ResizeImages) {
  ASSERT_TRUE(
      Run("resize_images", R"({"size": 32, "mode": "center_crop", "extract_exif": true})", Batch()).ok());
  EXPECT_EQ(
      binding_.output->ToString(),
      "id: int64\nimage: binary\nwidth: int32\nheight: int32\noriginal_width: int32\noriginal_height: int32\n"
      "exif: string");
  EXPECT_THAT(Column("id"), ElementsAre("10", "11", "13"));
  EXPECT_THAT(Column("width"), ElementsAre("32", "null", "32"));
  EXPECT_THAT(Column("original_height"), ElementsAre("48", "null", "90"));
  EXPECT_THAT(Column("exif"), ElementsAre("{}", "null", "{}"));
  ASSERT_EQ(errors_.rows.size(), 1u);
  EXPECT_THAT(errors_.rows[2], HasSubstr("not an image"));
  ASSERT_EQ(output_.blocks.size(), 1u);
  EXPECT_EQ(output_.blocks[0].ordinals.At(2), 103);
  const auto images =
      std::static_pointer_cast<arrow::BinaryArray>(output_.blocks[0].batch->GetColumnByName("image"));
  EXPECT_EQ(DetectImageFormat(Data(std::string(images->GetView(2))), images->GetView(2).size()),
            ImageFormat::kJpeg);
  EXPECT_TRUE(images->IsNull(1));
}

TEST_F(ImageSteps, OutputIsCutByBytesAndTheRowsStay) {
  target_block_bytes_ = 1;
  ASSERT_TRUE(Run("resize_images", R"({"size": 32})", Batch()).ok());
  EXPECT_GE(output_.blocks.size(), 2u);
  EXPECT_THAT(Column("id"), ElementsAre("10", "11", "13"));
}

TEST_F(ImageSteps, ARowErrorCanFailTheRun) {
  errors_.fail = true;
  const Status status = Run("resize_images", "{}", Batch());
  EXPECT_EQ(KindOf(status), ErrorKind::kData);
}

TEST_F(ImageSteps, ShortMemoryIsNoRowError) {
  const auto batch = Batch();
  pool_ = Pool(100 << 10);
  EXPECT_TRUE(Run("resize_images", "{}", batch).IsOutOfMemory());
  EXPECT_TRUE(errors_.rows.empty());
}

TEST_F(ImageSteps, AColumnOfNumbersIsAUserError) {
  const Status status = Run("resize_images", R"({"image": "id"})", Batch());
  EXPECT_EQ(KindOf(status), ErrorKind::kUser);
  EXPECT_THAT(MessageOf(status), HasSubstr("int64"));
}

TEST_F(ImageSteps, TextAndLargeColumnsHoldImagesToo) {
  const auto batch = Batch();
  for (const auto& type : {arrow::large_binary(), arrow::binary_view()}) {
    output_.blocks.clear();
    errors_.rows.clear();
    const auto& images = static_cast<const arrow::BinaryArray&>(*batch->column(1));
    arrow::LargeBinaryBuilder large;
    arrow::BinaryViewBuilder views;
    for (int64_t i = 0; i < 4; ++i) {
      ASSERT_TRUE((images.IsNull(i) ? large.AppendNull() : large.Append(images.GetView(i))).ok());
      ASSERT_TRUE((images.IsNull(i) ? views.AppendNull() : views.Append(images.GetView(i))).ok());
    }
    const auto column = type->id() == arrow::Type::LARGE_BINARY ? *large.Finish() : *views.Finish();
    const auto wide = *batch->SetColumn(1, arrow::field("image", type), column);
    const Status status = Run("extract_image_resolution", "{}", wide);
    ASSERT_TRUE(status.ok()) << status.ToString();
    EXPECT_THAT(Column("width"), ElementsAre("64", "null", "30"));
  }
}

TEST_F(ImageSteps, FilterImageResolution) {
  ASSERT_TRUE(
      Run("filter_image_resolution", R"({"min_image_dim": 20, "max_aspect_ratio": 2})", Batch()).ok());
  EXPECT_THAT(Column("id"), ElementsAre("10"));
  EXPECT_EQ(errors_.rows.size(), 1u);
}

TEST_F(ImageSteps, DecodeAndEncodeGoBackAndForth) {
  ASSERT_TRUE(Run("decode_image", R"({"mode": "unchanged"})", Batch()).ok());
  EXPECT_THAT(Column("channels"), ElementsAre("3", "null", "4"));
  const auto pixels =
      std::static_pointer_cast<arrow::BinaryArray>(output_.blocks[0].batch->GetColumnByName("image"));
  EXPECT_EQ(pixels->value_length(0), 64 * 48 * 3);
  const std::string rgba(pixels->GetView(2));
  const auto decoded = output_.blocks[0].batch;

  output_.blocks.clear();
  errors_.rows.clear();
  ASSERT_TRUE(Run("encode_image", R"({"encode_format": "png"})", decoded).ok());
  const auto pngs =
      std::static_pointer_cast<arrow::BinaryArray>(output_.blocks[0].batch->GetColumnByName("image"));
  const Image again = *samples::Decode(std::string(pngs->GetView(2)), pool_.get(), AlphaMode::kKeep);
  EXPECT_EQ(std::string(reinterpret_cast<const char*>(again.buffer->data()), again.size_bytes()), rgba);
  EXPECT_TRUE(pngs->IsNull(1));
}

TEST_F(ImageSteps, DecodeModes) {
  ASSERT_TRUE(Run("decode_image", R"({"mode": "gray"})", Batch()).ok());
  EXPECT_THAT(Column("channels"), ElementsAre("1", "null", "1"));
}

TEST_F(ImageSteps, EncodeChecksTheLength) {
  arrow::BinaryBuilder pixels;
  arrow::Int32Builder sizes;
  ASSERT_TRUE(pixels.AppendValues(std::vector<std::string>{"123", "1234"}).ok());
  ASSERT_TRUE(sizes.AppendValues({1, 1}).ok());
  const auto one = *sizes.Finish();
  ASSERT_TRUE(sizes.AppendValues({3, 3}).ok());
  const auto three = *sizes.Finish();
  const auto schema =
      arrow::schema({arrow::field("image", arrow::binary()), arrow::field("width", arrow::int32()),
                     arrow::field("height", arrow::int32()), arrow::field("channels", arrow::int32())});
  ASSERT_TRUE(
      Run("encode_image", "{}", arrow::RecordBatch::Make(schema, 2, {*pixels.Finish(), one, one, three}))
          .ok());
  EXPECT_EQ(errors_.rows.size(), 1u);
  EXPECT_THAT(errors_.rows[1], HasSubstr("4 bytes"));
}

TEST_F(ImageSteps, TheSameRowsInAnyBlocksGiveTheSameBytes) {
  const auto batch = Batch();
  ASSERT_TRUE(Run("resize_images", R"({"size": 40, "mode": "keep_ratio"})", batch).ok());
  const auto whole = Column("image");
  output_.blocks.clear();
  for (int64_t i = 0; i < 4; ++i) {
    ASSERT_TRUE(Run("resize_images", R"({"size": 40, "mode": "keep_ratio"})", batch->Slice(i, 1)).ok());
  }
  EXPECT_EQ(Column("image"), whole);
}

}  // namespace
}  // namespace partita
