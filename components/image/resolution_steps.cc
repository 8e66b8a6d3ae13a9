// extract_image_resolution and filter_image_resolution: headers only, no pixel is decoded.
#include <arrow/api.h>

#include <algorithm>

#include "components/image/image.h"
#include "components/image/image_rows.h"
#include "components/image/image_steps.h"
#include "partita/base/json.h"
#include "partita/pipeline/step_spec.h"

namespace partita {

namespace {

const uint8_t* Data(std::string_view bytes) { return reinterpret_cast<const uint8_t*>(bytes.data()); }

ArgSpec ImageArg() {
  return {.name = "image",
          .type = ArgType::kColumn,
          .default_json = R"("image")",
          .doc = "Column of encoded images (JPEG, PNG, WebP)."};
}

class ExtractMaker final : public ImageRowMaker {
 public:
  explicit ExtractMaker(BudgetPool* pool) : width_(pool), height_(pool) {}

  Result<bool> Append(int64_t, std::optional<std::string_view> image) override {
    if (!image) {
      ARROW_RETURN_NOT_OK(width_.AppendNull());
      ARROW_RETURN_NOT_OK(height_.AppendNull());
      return true;
    }
    ARROW_ASSIGN_OR_RAISE(const ImageInfo info,
                          ProbeImage(Data(*image), static_cast<int64_t>(image->size())));
    ARROW_RETURN_NOT_OK(width_.Append(info.width));
    ARROW_RETURN_NOT_OK(height_.Append(info.height));
    return true;
  }
  int64_t bytes() const override { return 0; }
  Result<std::vector<std::shared_ptr<arrow::Array>>> Finish() override {
    ARROW_ASSIGN_OR_RAISE(auto width, width_.Finish());
    ARROW_ASSIGN_OR_RAISE(auto height, height_.Finish());
    return std::vector<std::shared_ptr<arrow::Array>>{std::move(width), std::move(height)};
  }

 private:
  arrow::Int32Builder width_, height_;
};

Result<StepBinding> BindExtract(const Json& args, const std::shared_ptr<arrow::Schema>& input) {
  ARROW_ASSIGN_OR_RAISE(const std::string image, GetStringOr(args, "image", "image"));
  ARROW_RETURN_NOT_OK(CheckBytesColumn(*input, image));
  StepBinding binding;
  binding.reads = {image};
  binding.writes = {"width", "height"};
  ARROW_ASSIGN_OR_RAISE(binding.output,
                        WithColumns(*input, {{"width", arrow::int32()}, {"height", arrow::int32()}}));
  return binding;
}

Result<std::unique_ptr<Transform>> MakeExtract(const TransformInit& init) {
  ImageStep step;
  ARROW_ASSIGN_OR_RAISE(step.image_column, GetStringOr(*init.args, "image", "image"));
  step.made = {"width", "height"};
  step.new_maker = [](const arrow::RecordBatch&, BudgetPool* pool) -> Result<std::unique_ptr<ImageRowMaker>> {
    return std::make_unique<ExtractMaker>(pool);
  };
  return MakeImageTransform(std::move(step), init.output);
}

struct Limits {
  int64_t min_side = 0;
  double max_aspect_ratio = 0;  // 0: any
};

Result<Limits> ParseLimits(const Json& args) {
  Limits limits;
  ARROW_ASSIGN_OR_RAISE(limits.min_side, GetIntOr(args, "min_image_dim", 0));
  ARROW_ASSIGN_OR_RAISE(limits.max_aspect_ratio, GetDoubleOr(args, "max_aspect_ratio", 0));
  return limits;
}

class FilterMaker final : public ImageRowMaker {
 public:
  explicit FilterMaker(Limits limits) : limits_(limits) {}

  Result<bool> Append(int64_t, std::optional<std::string_view> image) override {
    if (!image) return false;
    ARROW_ASSIGN_OR_RAISE(const ImageInfo info,
                          ProbeImage(Data(*image), static_cast<int64_t>(image->size())));
    const int shortest = std::min(info.width, info.height);
    const int longest = std::max(info.width, info.height);
    if (shortest < limits_.min_side) return false;
    return limits_.max_aspect_ratio == 0 || longest <= limits_.max_aspect_ratio * shortest;
  }
  int64_t bytes() const override { return 0; }
  Result<std::vector<std::shared_ptr<arrow::Array>>> Finish() override {
    return std::vector<std::shared_ptr<arrow::Array>>{};
  }

 private:
  const Limits limits_;
};

Result<StepBinding> BindFilter(const Json& args, const std::shared_ptr<arrow::Schema>& input) {
  ARROW_ASSIGN_OR_RAISE(const std::string image, GetStringOr(args, "image", "image"));
  ARROW_RETURN_NOT_OK(CheckBytesColumn(*input, image));
  ARROW_RETURN_NOT_OK(ParseLimits(args).status());
  StepBinding binding;
  binding.reads = {image};
  binding.output = input;
  return binding;
}

Result<std::unique_ptr<Transform>> MakeFilter(const TransformInit& init) {
  ImageStep step;
  ARROW_ASSIGN_OR_RAISE(step.image_column, GetStringOr(*init.args, "image", "image"));
  ARROW_ASSIGN_OR_RAISE(const Limits limits, ParseLimits(*init.args));
  step.new_maker = [limits](const arrow::RecordBatch&,
                            BudgetPool*) -> Result<std::unique_ptr<ImageRowMaker>> {
    return std::make_unique<FilterMaker>(limits);
  };
  return MakeImageTransform(std::move(step), init.output);
}

}  // namespace

Status RegisterResolutionSteps() {
  StepSpec extract;
  extract.name = "extract_image_resolution";
  extract.summary = "Adds width and height, read from the header of each image.";
  extract.args = {ImageArg()};
  extract.bind = BindExtract;
  ARROW_RETURN_NOT_OK(RegisterStep(std::move(extract)));
  ARROW_RETURN_NOT_OK(RegisterTransform("extract_image_resolution", {.make = MakeExtract}));

  StepSpec filter;
  filter.name = "filter_image_resolution";
  filter.summary = "Keeps images that are large enough and not too long; null images are dropped.";
  filter.args = {ImageArg(),
                 {.name = "min_image_dim",
                  .type = ArgType::kInt,
                  .default_json = "0",
                  .min = 0,
                  .doc = "Least length of the shortest side in pixels."},
                 {.name = "max_aspect_ratio",
                  .type = ArgType::kFloat,
                  .default_json = "null",
                  .min = 0,
                  .doc = "Most that the longest side may be times the shortest; null: any."}};
  filter.bind = BindFilter;
  ARROW_RETURN_NOT_OK(RegisterStep(std::move(filter)));
  return RegisterTransform("filter_image_resolution", {.make = MakeFilter});
}

}  // namespace partita
