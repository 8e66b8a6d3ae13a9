// resize_images: encoded image in, encoded image out.
#include <arrow/api.h>

#include "components/image/image_rows.h"
#include "components/image/image_steps.h"
#include "components/image/resize_images.h"
#include "partita/base/json.h"
#include "partita/pipeline/step_spec.h"

namespace partita {

namespace {

struct Args {
  std::string image;
  ResizeOptions options;
};

Result<Args> ParseArgs(const Json& args) {
  Args parsed;
  ARROW_ASSIGN_OR_RAISE(parsed.image, GetStringOr(args, "image", "image"));
  ARROW_ASSIGN_OR_RAISE(parsed.options, ResizeOptionsFromArgs(args));
  return parsed;
}

std::vector<NewColumn> MadeColumns(const Args& args) {
  std::vector<NewColumn> columns = {{args.image, arrow::binary()},
                                    {"width", arrow::int32()},
                                    {"height", arrow::int32()},
                                    {"original_width", arrow::int32()},
                                    {"original_height", arrow::int32()}};
  if (args.options.extract_exif) columns.push_back({"exif", arrow::utf8()});
  return columns;
}

Result<StepBinding> Bind(const Json& json, const std::shared_ptr<arrow::Schema>& input) {
  ARROW_ASSIGN_OR_RAISE(const Args args, ParseArgs(json));
  ARROW_RETURN_NOT_OK(CheckBytesColumn(*input, args.image));
  StepBinding binding;
  binding.reads = {args.image};
  const std::vector<NewColumn> columns = MadeColumns(args);
  for (const NewColumn& column : columns) binding.writes.push_back(column.name);
  ARROW_ASSIGN_OR_RAISE(binding.output, WithColumns(*input, columns));
  return binding;
}

class Maker final : public ImageRowMaker {
 public:
  Maker(ResizeOptions options, BudgetPool* pool)
      : options_(options),
        pool_(pool),
        sizes_{Sizes(pool), Sizes(pool), Sizes(pool), Sizes(pool)},
        exif_(pool) {}

  Result<bool> Append(int64_t, std::optional<std::string_view> image) override {
    if (!image) {
      images_.AppendNull();
      for (Sizes& sizes : sizes_) ARROW_RETURN_NOT_OK(sizes.AppendNull());
      ARROW_RETURN_NOT_OK(exif_.AppendNull());
      return true;
    }
    ARROW_ASSIGN_OR_RAISE(ResizedImage made,
                          ResizeImage(reinterpret_cast<const uint8_t*>(image->data()),
                                      static_cast<int64_t>(image->size()), options_, pool_));
    const int values[] = {made.width, made.height, made.original_width, made.original_height};
    for (int i = 0; i < 4; ++i) {
      ARROW_RETURN_NOT_OK(values[i] > 0 ? sizes_[i].Append(values[i]) : sizes_[i].AppendNull());
    }
    ARROW_RETURN_NOT_OK(exif_.Append(made.exif_json));
    images_.Append(std::move(made.bytes));
    return true;
  }

  int64_t bytes() const override { return images_.bytes(); }

  Result<std::vector<std::shared_ptr<arrow::Array>>> Finish() override {
    std::vector<std::shared_ptr<arrow::Array>> columns(1);
    ARROW_ASSIGN_OR_RAISE(columns[0], images_.Finish(pool_));
    for (Sizes& sizes : sizes_) {
      ARROW_ASSIGN_OR_RAISE(auto column, sizes.Finish());
      columns.push_back(std::move(column));
    }
    ARROW_ASSIGN_OR_RAISE(auto exif, exif_.Finish());
    columns.push_back(std::move(exif));
    return columns;
  }

 private:
  using Sizes = arrow::Int32Builder;
  const ResizeOptions options_;
  BudgetPool* pool_;
  BinaryCollector images_;
  Sizes sizes_[4];
  arrow::StringBuilder exif_;
};

Result<std::unique_ptr<Transform>> Make(const TransformInit& init) {
  ARROW_ASSIGN_OR_RAISE(const Args args, ParseArgs(*init.args));
  ImageStep step;
  step.image_column = args.image;
  for (const NewColumn& column : MadeColumns(args)) step.made.push_back(column.name);
  step.new_maker = [options = args.options](const arrow::RecordBatch&,
                                            BudgetPool* pool) -> Result<std::unique_ptr<ImageRowMaker>> {
    return std::make_unique<Maker>(options, pool);
  };
  return MakeImageTransform(std::move(step), init.output);
}

}  // namespace

Status RegisterResizeSteps() {
  StepSpec spec;
  spec.name = "resize_images";
  spec.summary = "Resizes and re-encodes images; adds width, height, original_width and original_height.";
  spec.args = {{.name = "image",
                .type = ArgType::kColumn,
                .default_json = R"("image")",
                .doc = "Column of encoded images (JPEG, PNG, WebP); replaced by the resized ones."}};
  for (ArgSpec& arg : ResizeArgSpecs()) spec.args.push_back(std::move(arg));
  spec.least_bytes = 8 << 20;
  spec.bind = Bind;
  ARROW_RETURN_NOT_OK(RegisterStep(std::move(spec)));
  return RegisterTransform("resize_images", {.make = Make});
}

}  // namespace partita
