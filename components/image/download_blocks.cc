#include "components/image/download_blocks.h"

#include <arrow/api.h>
#include <arrow/compute/api_vector.h>
#include <arrow/compute/exec.h>

#include <algorithm>
#include <cctype>
#include <cstring>
#include <map>

#include "components/image/image.h"
#include "partita/base/digest.h"
#include "partita/block/schema.h"

namespace partita {
namespace {

std::string_view BodyView(const DownloadResult& result) {
  return {reinterpret_cast<const char*>(result.body->data()), static_cast<size_t>(result.body->size())};
}

// Formats that we cannot decode are images too: what to do with them is a later step's affair.
bool LooksLikeImage(std::string_view bytes) {
  if (DetectImageFormat(reinterpret_cast<const uint8_t*>(bytes.data()), static_cast<int64_t>(bytes.size())) !=
      ImageFormat::kUnknown) {
    return true;
  }
  using namespace std::string_view_literals;
  static constexpr std::string_view kMagic[] = {"GIF87a"sv,   "GIF89a"sv,         "BM"sv,
                                                "II*\0"sv,    "MM\0*"sv,          "\0\0\1\0"sv,
                                                "\xFF\x0A"sv, "\0\0\0\x0CJXL "sv, "\0\0\0\x0CjP  "sv};
  for (std::string_view magic : kMagic) {
    if (bytes.substr(0, magic.size()) == magic) return true;
  }
  if (bytes.size() < 12 || bytes.substr(4, 4) != "ftyp") return false;
  static constexpr std::string_view kBrands[] = {"avif", "avis", "heic", "heix", "mif1", "msf1", "hevc"};
  return std::find(std::begin(kBrands), std::end(kBrands), bytes.substr(8, 4)) != std::end(kBrands);
}

bool SameHex(std::string_view a, std::string_view b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) {
           return std::tolower(static_cast<unsigned char>(x)) == std::tolower(static_cast<unsigned char>(y));
         });
}

// A call's rows while they become blocks.
struct Assembly {
  const DownloadColumns& columns;
  const std::shared_ptr<arrow::Schema>& output;
  const Block& in;
  std::vector<DownloadResult>& results;
  const OperatorContext& ctx;
  std::vector<std::string> hashes = {};

  Status Judge();
  Status CheckBody(int64_t row, const arrow::Array* expected);
  void Count() const;
  Status BuildPieces(const std::vector<int64_t>& rows, std::vector<Block>* blocks);
  Status BuildOrSplit(const int64_t* rows, int64_t n, std::vector<Block>* blocks);
  Result<Block> Build(const int64_t* rows, int64_t n);
  Result<std::shared_ptr<arrow::Array>> Bytes(const int64_t* rows, int64_t n);
  Result<std::shared_ptr<arrow::Array>> Added(const std::string& name, const int64_t* rows, int64_t n);
  int64_t body_bytes(int64_t row) const { return results[row].body ? results[row].body->size() : 0; }
};

// Downloads that arrived may still be no good.
Status Assembly::Judge() {
  std::shared_ptr<arrow::Array> expected;
  if (!columns.verify_column.empty()) {
    ARROW_ASSIGN_OR_RAISE(const int index, FindColumn(*in.batch->schema(), columns.verify_column));
    expected = in.batch->column(index);
  }
  hashes.resize(results.size());
  for (int64_t row = 0; row < in.num_rows(); ++row) {
    DownloadResult& result = results[row];
    if (result.status.ok()) {
      ARROW_RETURN_NOT_OK(CheckBody(row, expected.get()));
    } else if (result.status.IsCancelled() || result.status.IsOutOfMemory()) {
      return result.status;
    }
    if (!result.status.ok()) result.body.reset();
  }
  return Status::OK();
}

Status Assembly::CheckBody(int64_t row, const arrow::Array* expected) {
  DownloadResult& result = results[row];
  const std::string_view body = BodyView(result);
  if (columns.must_be_image && !LooksLikeImage(body)) {
    result.status = DataError("not an image");
    return Status::OK();
  }
  if (!columns.compute_hash.empty()) {
    ARROW_ASSIGN_OR_RAISE(hashes[row], DigestHex(columns.compute_hash, body));
  }
  if (expected == nullptr) return Status::OK();
  std::string hash = hashes[row];
  if (columns.verify_kind != columns.compute_hash) {
    ARROW_ASSIGN_OR_RAISE(hash, DigestHex(columns.verify_kind, body));
  }
  ARROW_ASSIGN_OR_RAISE(auto wanted, TextAt(*expected, row));
  if (!wanted || !SameHex(*wanted, hash)) result.status = DataError("hash mismatch");
  return Status::OK();
}

void Assembly::Count() const {
  if (ctx.counters == nullptr) return;
  std::map<std::string, int64_t> failures;
  int64_t bytes = 0;
  for (size_t row = 0; row < results.size(); ++row) {
    if (results[row].status.ok()) {
      bytes += body_bytes(static_cast<int64_t>(row));
    } else {
      ++failures[DownloadErrorKey(MessageOf(results[row].status))];
    }
  }
  if (bytes > 0) ctx.counters->AddDetail("downloaded_bytes", bytes);
  for (const auto& [key, n] : failures) ctx.counters->AddDetail(key, n);
}

Status Assembly::BuildPieces(const std::vector<int64_t>& rows, std::vector<Block>* blocks) {
  const int64_t target = std::clamp<int64_t>(ctx.target_block_bytes, 1, 1 << 30);
  size_t begin = 0;
  int64_t bytes = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    const int64_t row_bytes = body_bytes(rows[i]);
    if (i > begin && bytes + row_bytes > target) {
      ARROW_RETURN_NOT_OK(BuildOrSplit(rows.data() + begin, static_cast<int64_t>(i - begin), blocks));
      begin = i;
      bytes = 0;
    }
    bytes += row_bytes;
  }
  if (begin == rows.size()) return Status::OK();
  return BuildOrSplit(rows.data() + begin, static_cast<int64_t>(rows.size() - begin), blocks);
}

// A block of one row takes its body as it is, so short memory costs smaller blocks and not the downloads.
Status Assembly::BuildOrSplit(const int64_t* rows, int64_t n, std::vector<Block>* blocks) {
  auto block = Build(rows, n);
  if (block.ok()) {
    blocks->push_back(std::move(*block));
    return Status::OK();
  }
  if (!block.status().IsOutOfMemory() || n == 1) return block.status();
  ARROW_RETURN_NOT_OK(BuildOrSplit(rows, n / 2, blocks));
  return BuildOrSplit(rows + n / 2, n - n / 2, blocks);
}

Result<Block> Assembly::Build(const int64_t* rows, int64_t n) {
  Block piece;
  std::shared_ptr<arrow::RecordBatch> kept;
  if (rows[n - 1] - rows[0] == n - 1) {
    piece.ordinals = in.ordinals.Slice(rows[0], n);
    kept = in.batch->Slice(rows[0], n);
  } else {
    piece.ordinals = in.ordinals.Take(std::vector<int64_t>(rows, rows + n));
    arrow::Int64Builder indices(ctx.pool.get());
    ARROW_RETURN_NOT_OK(indices.AppendValues(rows, n));
    ARROW_ASSIGN_OR_RAISE(auto index_array, indices.Finish());
    arrow::compute::ExecContext exec(ctx.pool.get());
    exec.set_use_threads(false);
    ARROW_ASSIGN_OR_RAISE(
        auto taken,
        arrow::compute::Take(in.batch, index_array, arrow::compute::TakeOptions::NoBoundsCheck(), &exec));
    kept = taken.record_batch();
  }
  std::vector<std::shared_ptr<arrow::Array>> arrays(static_cast<size_t>(output->num_fields()));
  int bytes_index = -1;
  for (int i = 0; i < output->num_fields(); ++i) {
    const std::string& name = output->field(i)->name();
    if (name == columns.output) {
      bytes_index = i;
      continue;
    }
    ARROW_ASSIGN_OR_RAISE(arrays[i], Added(name, rows, n));
    if (arrays[i] == nullptr) arrays[i] = kept->GetColumnByName(name);
    if (arrays[i] == nullptr) return BugError("no column '" + name + "' in the input of a download");
  }
  if (bytes_index >= 0) {  // last: it lets go of the bodies
    ARROW_ASSIGN_OR_RAISE(arrays[bytes_index], Bytes(rows, n));
  }
  piece.batch = arrow::RecordBatch::Make(output, n, std::move(arrays));
  return piece;
}

Result<std::shared_ptr<arrow::Array>> Assembly::Bytes(const int64_t* rows, int64_t n) {
  int64_t total = 0, nulls = 0;
  for (int64_t i = 0; i < n; ++i) {
    total += body_bytes(rows[i]);
    nulls += results[rows[i]].body == nullptr;
  }
  arrow::MemoryPool* pool = ctx.pool.get();
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> offsets_buffer,
                        arrow::AllocateBuffer((n + 1) * 4, pool));
  std::shared_ptr<arrow::Buffer> validity;
  if (nulls > 0) {
    ARROW_ASSIGN_OR_RAISE(validity, arrow::AllocateEmptyBitmap(n, pool));
  }
  std::shared_ptr<arrow::Buffer> data;
  if (n == 1 && nulls == 0) {
    data = results[rows[0]].body;
  } else {
    ARROW_ASSIGN_OR_RAISE(data, arrow::AllocateBuffer(total, pool));
  }
  auto* offsets = reinterpret_cast<int32_t*>(offsets_buffer->mutable_data());
  int32_t at = 0;
  for (int64_t i = 0; i < n; ++i) {
    offsets[i] = at;
    std::shared_ptr<arrow::Buffer> body = std::move(results[rows[i]].body);
    if (body == nullptr) continue;
    if (validity) validity->mutable_data()[i / 8] |= static_cast<uint8_t>(1 << (i % 8));
    if (body != data && body->size() > 0) {
      std::memcpy(data->mutable_data() + at, body->data(), static_cast<size_t>(body->size()));
    }
    at += static_cast<int32_t>(body->size());
  }
  offsets[n] = at;
  return arrow::MakeArray(
      arrow::ArrayData::Make(arrow::binary(), n, {validity, offsets_buffer, data}, nulls));
}

// A column that the step adds besides the bytes; null for a column of the input.
Result<std::shared_ptr<arrow::Array>> Assembly::Added(const std::string& name, const int64_t* rows,
                                                      int64_t n) {
  const bool hash = !columns.compute_hash.empty() && name == columns.compute_hash;
  const bool status = columns.keep_failed && name == "status";
  const bool message = columns.keep_failed && name == "error_message";
  if (hash || status || message) {
    arrow::StringBuilder builder(ctx.pool.get());
    for (int64_t i = 0; i < n; ++i) {
      const DownloadResult& result = results[rows[i]];
      const bool ok = result.status.ok();
      if (status) {
        ARROW_RETURN_NOT_OK(builder.Append(ok ? "success" : "failed_to_download"));
      } else if (message ? ok : hashes[rows[i]].empty()) {
        ARROW_RETURN_NOT_OK(builder.AppendNull());
      } else {
        ARROW_RETURN_NOT_OK(builder.Append(message ? MessageOf(result.status) : hashes[rows[i]]));
      }
    }
    return builder.Finish();
  }
  if (columns.keep_failed && name == "http_status") {
    arrow::Int32Builder builder(ctx.pool.get());
    for (int64_t i = 0; i < n; ++i) {
      const int http_status = results[rows[i]].http_status;
      ARROW_RETURN_NOT_OK(http_status == 0 ? builder.AppendNull() : builder.Append(http_status));
    }
    return builder.Finish();
  }
  return nullptr;
}

}  // namespace

Result<std::shared_ptr<arrow::Schema>> DownloadOutputSchema(const DownloadColumns& columns,
                                                            const std::shared_ptr<arrow::Schema>& input) {
  arrow::FieldVector added = {arrow::field(columns.output, arrow::binary())};
  if (!columns.compute_hash.empty()) added.push_back(arrow::field(columns.compute_hash, arrow::utf8()));
  if (columns.keep_failed) {
    added.push_back(arrow::field("status", arrow::utf8()));
    added.push_back(arrow::field("error_message", arrow::utf8()));
    added.push_back(arrow::field("http_status", arrow::int32()));
  }
  std::shared_ptr<arrow::Schema> output = input;
  for (const auto& field : added) {
    const std::vector<int> same = output->GetAllFieldIndices(field->name());
    if (same.size() > 1) return UserError("the input has two columns '" + field->name() + "'");
    ARROW_ASSIGN_OR_RAISE(output, same.empty() ? output->AddField(output->num_fields(), field)
                                               : output->SetField(same[0], field));
  }
  return output;
}

Result<std::optional<std::string>> TextAt(const arrow::Array& array, int64_t row) {
  ARROW_ASSIGN_OR_RAISE(auto scalar, array.GetScalar(row));
  if (scalar->is_valid && scalar->type->id() == arrow::Type::DICTIONARY) {
    ARROW_ASSIGN_OR_RAISE(scalar, static_cast<const arrow::DictionaryScalar&>(*scalar).GetEncodedValue());
  }
  if (!scalar->is_valid) return std::nullopt;
  if (!arrow::is_base_binary_like(scalar->type->id()) && !arrow::is_binary_view_like(scalar->type->id())) {
    return UserError("expected a column of strings, not " + scalar->type->ToString());
  }
  return std::string(static_cast<const arrow::BaseBinaryScalar&>(*scalar).view());
}

Result<std::vector<Block>> AssembleDownloads(const DownloadColumns& columns,
                                             const std::shared_ptr<arrow::Schema>& output, const Block& in,
                                             std::vector<DownloadResult>* results,
                                             const OperatorContext& ctx) {
  Assembly assembly{columns, output, in, *results, ctx};
  ARROW_RETURN_NOT_OK(assembly.Judge());
  std::vector<int64_t> kept;
  for (int64_t row = 0; row < in.num_rows(); ++row) {
    const Status& status = (*results)[row].status;
    if (status.ok() || columns.keep_failed) {
      kept.push_back(row);
    } else {
      ARROW_RETURN_NOT_OK(ctx.errors->Add(row, status));
    }
  }
  assembly.Count();
  std::vector<Block> blocks;
  ARROW_RETURN_NOT_OK(assembly.BuildPieces(kept, &blocks));
  return blocks;
}

}  // namespace partita
