#include "partita/storage/webdataset/writer.h"

#include <arrow/array.h>
#include <arrow/io/interfaces.h>
#include <arrow/record_batch.h>
#include <arrow/type.h>

#include <cstdio>

#include "partita/base/json.h"
#include "partita/memory/budget.h"
#include "partita/storage/json/cell.h"
#include "partita/storage/text/scalar_text.h"
#include "partita/storage/webdataset/layout.h"
#include "partita/storage/webdataset/tar_writer.h"

namespace partita {
namespace {

constexpr int64_t kWindowBytes = 256 << 10;
constexpr int64_t kMemberWindowBytes = 64 << 10;
constexpr int64_t kMaxPartition = 100'000, kMaxRow = 1'000'000;

class WebDatasetWriter final : public FileWriter {
 public:
  WebDatasetWriter(std::shared_ptr<arrow::io::OutputStream> stream, WriteRequest request, SampleLayout layout,
                   std::unique_ptr<TextSink> out, std::unique_ptr<TextSink> member)
      : stream_(std::move(stream)),
        request_(std::move(request)),
        layout_(std::move(layout)),
        out_(std::move(out)),
        member_(std::move(member)),
        tar_(out_.get()) {
    out_->SetStream(stream_.get());
    for (const int column : layout_.json_columns) {
      // `"name":`, once for all rows.
      member_->Restart();
      WriteJsonString(request_.schema->field(column)->name(), member_.get());
      json_names_.push_back(std::string(member_->text()) + ":");
    }
  }

  Status Write(const std::shared_ptr<arrow::RecordBatch>& batch) override {
    ARROW_RETURN_NOT_OK(request_.cancel.Check());
    columns_.clear();
    for (int i = 0; i < batch->num_columns(); ++i) {
      ARROW_ASSIGN_OR_RAISE(auto column, JsonCellWriter::Make(batch->column(i)));
      columns_.push_back(std::move(column));
    }
    ARROW_RETURN_NOT_OK(CheckKeys(batch->num_rows()));  // before the first byte: an error takes nothing
    for (int64_t row = 0; row < batch->num_rows(); ++row) WriteSample(row);
    columns_.clear();
    return out_->status();
  }

  Status Finish() override {
    tar_.Finish();
    return out_->Flush();
  }

 private:
  Status CheckKeys(int64_t rows) {
    if (layout_.key_column < 0) return Status::OK();
    std::string previous = last_key_;
    const JsonCellWriter& column = *columns_[static_cast<size_t>(layout_.key_column)];
    for (int64_t row = 0; row < rows; ++row) {
      Status status;
      if (column.IsNull(row)) {
        status = DataError("the key of a sample is null");
      } else {
        const std::string key = KeyOf(row);
        status = CheckSampleKey(key);
        if (status.ok() && key == previous) {
          status =
              DataError("two samples in a row have the key '" + key + "': readers would take them for one",
                        "name a column with unique values, or none");
        }
        previous = key;
      }
      if (!status.ok()) return WithContext(status, {.row = rows_ + row});
    }
    return Status::OK();
  }

  std::string KeyOf(int64_t row) {
    if (layout_.key_column >= 0) {
      member_->Restart();
      columns_[static_cast<size_t>(layout_.key_column)]->WriteText(row, member_.get());
      return member_->whole() ? std::string(member_->text())
                              : std::string(2000, 'x');  // far too long: CheckSampleKey refuses
    }
    const int64_t ordinal = request_.first_row_key + rows_;
    char text[64];
    // Beyond the digits of the usual form, a separator keeps keys unique.
    const bool usual = request_.partition < kMaxPartition && ordinal < kMaxRow;
    std::snprintf(text, sizeof(text), usual ? "%05lld%06lld" : "%05lld_%06lld",
                  static_cast<long long>(request_.partition), static_cast<long long>(ordinal));
    return text;
  }

  void WriteSample(int64_t row) {
    const std::string key = KeyOf(row) + ".";
    for (const SampleLayout::Member& member : layout_.members) {
      const JsonCellWriter& column = *columns_[static_cast<size_t>(member.column)];
      if (column.IsNull(row)) continue;
      WriteMember(key, member, [&](TextSink* out) { column.WriteText(row, out); });
    }
    if (layout_.writes_json) {
      static const SampleLayout::Member kJson{
          .column = -1, .extension = "json", .sniff = false, .fallback = ""};
      WriteMember(key, kJson, [&](TextSink* out) { WriteJson(row, out); });
    }
    if (layout_.key_column >= 0) last_key_.assign(key, 0, key.size() - 1);
    ++rows_;
  }

  void WriteJson(int64_t row, TextSink* out) {
    out->Append('{');
    for (size_t i = 0; i < layout_.json_columns.size(); ++i) {
      if (i > 0) out->Append(',');
      out->Append(json_names_[i]);
      columns_[static_cast<size_t>(layout_.json_columns[i])]->Write(row, out);
    }
    out->Append('}');
  }

  // A tar header comes before the bytes it counts. What fits a window is made there first; what does not is
  // counted, then made again into the stream: no value needs memory of its size.
  template <typename WriteValue>
  void WriteMember(const std::string& key, const SampleLayout::Member& member,
                   const WriteValue& write_value) {
    member_->Restart();
    write_value(member_.get());
    const int64_t size_bytes = member_->total_bytes();
    const bool whole = member_->whole();
    std::string name = key + member.extension;
    if (member.sniff) {
      const std::string_view media = SniffMediaExtension(member_->head());
      name = media.empty() ? key + member.fallback : name + std::string(media);
    }
    tar_.Begin(name, size_bytes);
    if (whole) {
      out_->Append(member_->text());
    } else {
      write_value(out_.get());
    }
    tar_.End();
  }

  std::shared_ptr<arrow::io::OutputStream> stream_;
  WriteRequest request_;
  SampleLayout layout_;
  std::unique_ptr<TextSink> out_, member_;
  TarWriter tar_;
  std::vector<std::string> json_names_;
  std::vector<std::unique_ptr<JsonCellWriter>> columns_;
  std::string last_key_;
  int64_t rows_ = 0;
};

}  // namespace

Result<std::unique_ptr<FileWriter>> OpenWebDatasetWriter(std::shared_ptr<arrow::io::OutputStream> stream,
                                                         WriteRequest request) {
  const Json none = Json::object();
  ARROW_ASSIGN_OR_RAISE(SampleLayout layout,
                        SampleLayout::Make(*request.schema, request.args ? *request.args : none));
  ARROW_ASSIGN_OR_RAISE(auto out, TextSink::Make(kWindowBytes, request.pool.get()));
  ARROW_ASSIGN_OR_RAISE(auto member, TextSink::Make(kMemberWindowBytes, request.pool.get()));
  return std::make_unique<WebDatasetWriter>(std::move(stream), std::move(request), std::move(layout),
                                            std::move(out), std::move(member));
}

}  // namespace partita
