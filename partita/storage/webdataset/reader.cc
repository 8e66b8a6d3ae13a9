#include "partita/storage/webdataset/reader.h"

#include <arrow/array.h>
#include <arrow/buffer.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>

#include <algorithm>
#include <cstring>
#include <limits>

#include "partita/base/units.h"
#include "partita/base/utf8.h"
#include "partita/block/schema.h"
#include "partita/memory/budget.h"
#include "partita/storage/webdataset/layout.h"

namespace partita {
namespace {

constexpr int64_t kFirstMemberBytes = 4 << 20;  // of a compressed archive, whose size proves nothing

struct Sample {
  std::string key;
  std::vector<std::shared_ptr<arrow::Buffer>> values;  // per column of the schema; null: absent
  std::vector<bool> seen;
  int64_t bytes = 0;
  Status bad;
};

class WebDatasetReader final : public FragmentReader {
 public:
  WebDatasetReader(ReadRequest request, std::unique_ptr<ByteSource> source)
      : request_(std::move(request)), tar_(std::move(source)) {}

  Result<std::optional<ReadBatch>> Next() override {
    ARROW_RETURN_NOT_OK(Gather());
    if (samples_.empty()) return std::nullopt;
    // Good samples before the first bad one, as many as make a block; a larger one alone, so that it is not
    // copied.
    size_t good = 0;
    int64_t bytes = 0;
    while (good < samples_.size() && samples_[good].bad.ok() &&
           (good == 0 || bytes + samples_[good].bytes <= request_.target_block_bytes)) {
      bytes += samples_[good++].bytes;
    }
    if (good == 0) {
      const Status bad = WithContext(samples_[0].bad, {.file = request_.fragment.file.location, .row = row_});
      Drop(1);
      return bad;
    }
    auto batch = MakeBatch(good);
    while (batch.status().IsOutOfMemory() && good > 1) batch = MakeBatch(good /= 2);
    if (!batch.ok())
      return WithContext(batch.status(), {.file = request_.fragment.file.location, .row = row_});
    ReadBatch out{.batch = std::move(*batch), .first_row = row_};
    Drop(good);
    return out;
  }
  int64_t bytes_read() const override { return tar_.bytes_read(); }

 private:
  void Drop(size_t count) {
    for (size_t i = 0; i < count; ++i) gathered_bytes_ -= samples_[i].bytes;
    samples_.erase(samples_.begin(), samples_.begin() + static_cast<int64_t>(count));
    row_ += static_cast<int64_t>(count);
  }

  // Reads until the samples at hand make a block, or one more than that waits.
  Status Gather() {
    while (!ended_) {
      const int64_t have = static_cast<int64_t>(samples_.size());
      if (row_ + have >= request_.max_rows) return Status::OK();
      if (have > 0 && (gathered_bytes_ >= request_.target_block_bytes || !samples_.back().bad.ok()))
        return Status::OK();
      ARROW_RETURN_NOT_OK(request_.cancel.Check());
      const Status status = TakeMember();
      if (status.ok()) continue;
      // Rows that are complete leave before an error is told; a refusal is no reason to hold them either.
      if (!samples_.empty()) return Status::OK();
      return WithContext(status, {.file = request_.fragment.file.location});
    }
    return Status::OK();
  }

  // One step: the next member, or bytes of the current one. May be repeated after OutOfMemory.
  Status TakeMember() {
    if (!member_) {
      ARROW_ASSIGN_OR_RAISE(member_, tar_.Next());
      if (!member_) {
        EndSample();
        ended_ = true;
        return Status::OK();
      }
      column_ = -1;
      value_.reset();
      filled_ = 0;
      Classify();
    }
    if (column_ >= 0) ARROW_RETURN_NOT_OK(FillValue());
    member_.reset();
    return Status::OK();
  }

  // To which sample and column the member belongs.
  void Classify() {
    std::string key, extension;
    if (!member_->bad_name.ok()) {
      EndSample();
      Sample bad = NewSample("");
      bad.bad = member_->bad_name;
      samples_.push_back(std::move(bad));
      return;
    }
    if (!SplitMemberName(member_->name, &key, &extension)) return;
    if (!current_ || current_->key != key) {
      EndSample();
      current_ = NewSample(std::move(key));
    }
    const int column = request_.schema->GetFieldIndex(extension);
    if (column < 0 || extension == kSampleKeyColumn) return;
    const auto i = static_cast<size_t>(column);
    if (current_->seen[i]) {
      current_->bad =
          DataError("the sample '" + current_->key + "' has two members that end in ." + extension,
                    "give each sample a key of its own");
      return;
    }
    current_->seen[i] = true;
    if (current_->bad.ok()) column_ = column;
  }

  Sample NewSample(std::string key) const {
    const auto columns = static_cast<size_t>(request_.schema->num_fields());
    return {.key = std::move(key),
            .values = std::vector<std::shared_ptr<arrow::Buffer>>(columns),
            .seen = std::vector<bool>(columns),
            .bytes = 64,
            .bad = Status::OK()};
  }

  void EndSample() {
    if (!current_) return;
    current_->bytes += static_cast<int64_t>(current_->key.size());
    gathered_bytes_ += current_->bytes;
    samples_.push_back(std::move(*current_));
    current_.reset();
  }

  Status FillValue() {
    const int64_t size = member_->size_bytes;
    arrow::MemoryPool* pool = request_.pool.get();
    const FileEntry& file = request_.fragment.file;
    const auto& type = *request_.schema->field(column_)->type();
    const bool large = type.id() == arrow::Type::LARGE_STRING || type.id() == arrow::Type::LARGE_BINARY;
    if (!large && size > std::numeric_limits<int32_t>::max()) {
      current_->bad =
          DataError("the member '" + member_->name + "' has " + FormatBytes(size) + ", more than 2 GiB",
                    "declare it in column_types as large_binary");
      return Status::OK();
    }
    if (value_ == nullptr) {
      // A header's size is believed as far as the file can hold it.
      if (!IsCompressed(file.location) && file.size_bytes >= 0 &&
          size > file.size_bytes - tar_.position_bytes()) {
        return DataError("the member '" + member_->name + "' claims more bytes than the archive has",
                         "get the file again from its source");
      }
      const int64_t first = IsCompressed(file.location) ? std::min(size, kFirstMemberBytes) : size;
      auto buffer = arrow::AllocateResizableBuffer(first, pool);
      if (!buffer.ok()) return Refused(size);
      value_ = std::move(*buffer);
    }
    while (filled_ < size) {
      ARROW_RETURN_NOT_OK(request_.cancel.Check());
      if (filled_ == value_->size() && !value_->Resize(std::min(size, filled_ * 2)).ok())
        return Refused(size);
      const int64_t ask = std::min<int64_t>(value_->size() - filled_, 8 << 20);
      ARROW_ASSIGN_OR_RAISE(const int64_t got, tar_.Read(ask, value_->mutable_data() + filled_));
      filled_ += got;
    }
    const bool text = type.id() == arrow::Type::STRING || type.id() == arrow::Type::LARGE_STRING;
    if (text && !IsUtf8({reinterpret_cast<const char*>(value_->data()), static_cast<size_t>(size)})) {
      current_->bad = DataError("the member '" + member_->name + "' is not valid UTF-8",
                                "declare it in column_types as binary");
      value_.reset();
      return Status::OK();
    }
    current_->bytes += size;
    current_->values[static_cast<size_t>(column_)] = std::move(value_);
    return Status::OK();
  }

  Status Refused(int64_t size) const {
    return OutOfMemoryError(
        "the member '" + member_->name + "' of " + FormatBytes(size) + " does not fit in memory",
        "give the run more memory");
  }

  Result<std::shared_ptr<arrow::RecordBatch>> MakeBatch(size_t rows) {
    arrow::ArrayVector arrays;
    for (int i = 0; i < request_.schema->num_fields(); ++i) {
      const auto& type = request_.schema->field(i)->type();
      const bool large = type->id() == arrow::Type::LARGE_STRING || type->id() == arrow::Type::LARGE_BINARY;
      ARROW_ASSIGN_OR_RAISE(auto array, large ? MakeColumn<int64_t>(i, rows) : MakeColumn<int32_t>(i, rows));
      arrays.push_back(std::move(array));
    }
    return arrow::RecordBatch::Make(request_.schema, static_cast<int64_t>(rows), std::move(arrays));
  }

  template <typename Offset>
  Result<std::shared_ptr<arrow::Array>> MakeColumn(int column, size_t rows) {
    const arrow::Field& field = *request_.schema->field(column);
    const bool is_key = field.name() == kSampleKeyColumn;
    const auto value_of = [&](size_t row) -> std::optional<std::string_view> {
      const Sample& sample = samples_[row];
      if (is_key) return sample.key;
      const auto& value = sample.values[static_cast<size_t>(column)];
      if (value == nullptr) return std::nullopt;
      return std::string_view(reinterpret_cast<const char*>(value->data()),
                              static_cast<size_t>(value->size()));
    };
    arrow::MemoryPool* pool = request_.pool.get();
    int64_t total = 0, nulls = 0;
    for (size_t row = 0; row < rows; ++row) {
      const auto value = value_of(row);
      total += value ? static_cast<int64_t>(value->size()) : 0;
      nulls += !value;
    }
    if (total > std::numeric_limits<Offset>::max()) {
      return rows > 1 ? OutOfMemoryError("more than 2 GiB of values in one block")
                      : BugError("a value beyond its offsets");
    }
    ARROW_ASSIGN_OR_RAISE(auto offsets,
                          arrow::AllocateBuffer(static_cast<int64_t>((rows + 1) * sizeof(Offset)), pool));
    std::shared_ptr<arrow::Buffer> validity, data;
    if (nulls > 0) {
      ARROW_ASSIGN_OR_RAISE(validity, arrow::AllocateEmptyBitmap(static_cast<int64_t>(rows), pool));
    }
    const bool borrow = rows == 1 && !is_key && nulls == 0;  // one fat value is not copied
    if (borrow) {
      data = samples_[0].values[static_cast<size_t>(column)];
    } else {
      ARROW_ASSIGN_OR_RAISE(data, arrow::AllocateBuffer(total, pool));
    }
    auto* offset = reinterpret_cast<Offset*>(offsets->mutable_data());
    int64_t at = 0;
    for (size_t row = 0; row < rows; ++row) {
      offset[row] = static_cast<Offset>(at);
      const auto value = value_of(row);
      if (!value) continue;
      if (validity) arrow::bit_util::SetBit(validity->mutable_data(), static_cast<int64_t>(row));
      if (!borrow && !value->empty()) std::memcpy(data->mutable_data() + at, value->data(), value->size());
      at += static_cast<int64_t>(value->size());
    }
    offset[rows] = static_cast<Offset>(at);
    return arrow::MakeArray(arrow::ArrayData::Make(field.type(), static_cast<int64_t>(rows),
                                                   {std::move(validity), std::move(offsets), std::move(data)},
                                                   nulls));
  }

  ReadRequest request_;
  TarReader tar_;
  std::optional<TarMember> member_;
  int column_ = -1;  // of the current member; -1: not wanted
  std::shared_ptr<arrow::ResizableBuffer> value_;
  int64_t filled_ = 0;
  std::optional<Sample> current_;
  std::vector<Sample> samples_;  // complete
  int64_t gathered_bytes_ = 0, row_ = 0;
  bool ended_ = false;
};

}  // namespace

Result<std::unique_ptr<FragmentReader>> OpenWebDatasetReader(ReadRequest request) {
  if (request.fragment.range != Fragment::Range::kWhole) return BugError("a tar cannot be split");
  for (const auto& field : request.schema->fields()) {
    const arrow::Type::type id = field->type()->id();
    if (!arrow::is_base_binary_like(id)) {
      return UserError("a tar member cannot be read as " + TypeToString(*field->type()) + " (column '" +
                           field->name() + "')",
                       "read it as string or binary and cast it");
    }
  }
  ARROW_ASSIGN_OR_RAISE(auto source, OpenByteSource(request.env, request.fragment.file, 0, request.pool.get(),
                                                    request.pool.get(), request.cancel));
  return std::make_unique<WebDatasetReader>(std::move(request), std::move(source));
}

Result<std::vector<std::string>> ListExtensions(TarReader* tar, int64_t max_samples, int64_t max_bytes) {
  std::vector<std::string> extensions;
  std::string key, last_key, extension;
  int64_t samples = 0;
  while (tar->position_bytes() < max_bytes) {
    ARROW_ASSIGN_OR_RAISE(const auto member, tar->Next());
    if (!member) break;
    if (!member->bad_name.ok() || !SplitMemberName(member->name, &key, &extension)) continue;
    if (samples == 0 || key != last_key) {
      if (++samples > max_samples) break;
      last_key = key;
    }
    if (std::find(extensions.begin(), extensions.end(), extension) == extensions.end())
      extensions.push_back(extension);
    if (extensions.size() > 1000) return DataError("the samples have more than 1000 different extensions");
  }
  return extensions;
}

}  // namespace partita
