// S3Client's uploads in parts.
#include <arrow/buffer.h>
#include <arrow/io/memory.h>

#include "partita/base/digest.h"
#include "partita/storage/s3/client.h"
#include "partita/storage/s3/xml.h"

namespace partita {
namespace {

constexpr int64_t kMostAnswerBytes = 4 << 20;

std::string EscapeXml(std::string_view text) {
  std::string out;
  for (const char c : text) {
    if (c == '&') {
      out += "&amp;";
    } else if (c == '<') {
      out += "&lt;";
    } else if (c == '"') {
      out += "&quot;";
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace

Result<std::string> S3Client::CreateUpload(const std::string& key) const {
  Request request;
  request.method = "POST";
  request.key = key;
  request.query = {{"uploads", ""}};
  ARROW_ASSIGN_OR_RAISE(const std::string xml, Document(request, kMostAnswerBytes, {}));
  std::string id = XmlText(xml, "InitiateMultipartUploadResult/UploadId");
  if (id.empty()) return EnvironmentError("the server began no upload of " + Url(key), "", false);
  return id;
}

Result<std::string> S3Client::UploadPart(const std::string& key, const std::string& upload, int number,
                                         arrow::io::RandomAccessFile* part, int64_t size_bytes,
                                         const std::string& sha256, const CancelToken& cancel) const {
  Request request;
  request.method = "PUT";
  request.key = key;
  request.query = {{"partNumber", std::to_string(number)}, {"uploadId", upload}};
  request.body = part;
  request.body_bytes = size_bytes;
  request.body_sha256 = sha256;
  ARROW_ASSIGN_OR_RAISE(const HttpReply reply, CallWell(request, nullptr, cancel));
  if (reply.etag.empty())
    return EnvironmentError("the server tells no etag of a part of " + Url(key), "", false);
  return reply.etag;
}

Status S3Client::CompleteUpload(const std::string& key, const std::string& upload,
                                const std::vector<std::string>& etags, int64_t size_bytes) const {
  std::string xml = "<CompleteMultipartUpload>";
  for (size_t i = 0; i < etags.size(); ++i) {
    xml += "<Part><PartNumber>" + std::to_string(i + 1) + "</PartNumber><ETag>" + EscapeXml(etags[i]) +
           "</ETag></Part>";
  }
  xml += "</CompleteMultipartUpload>";
  Request request;
  request.method = "POST";
  request.key = key;
  request.query = {{"uploadId", upload}};
  request.body_bytes = static_cast<int64_t>(xml.size());
  request.body_sha256 = Sha256Hex(xml);
  Status last;
  for (int attempt = 0; attempt < 3; ++attempt) {
    arrow::io::BufferReader body{std::make_shared<arrow::Buffer>(xml)};
    request.body = &body;
    TextSink answer(kMostAnswerBytes);
    ARROW_ASSIGN_OR_RAISE(HttpReply reply, Call(request, &answer, {}));
    // The answer begins before the work is done: an error may come with status 200.
    if (reply.status / 100 == 2) {
      if (XmlText(answer.text(), "Error/Code").empty()) return Status::OK();
      reply.status = 500;
      reply.error_body = answer.text();
    }
    last = ErrorOf(request, reply);
    if (XmlText(reply.error_body, "Error/Code") == "NoSuchUpload") {
      // An earlier answer may have been lost on its way: then the object is there.
      ARROW_ASSIGN_OR_RAISE(const auto object, Head(key, {}));
      if (object && object->size_bytes == size_bytes) return Status::OK();
      return WithContext(EnvironmentError("what was uploaded is gone", "run again", true),
                         {.file = Url(key)});
    }
    if (!IsRetriable(last)) return last;
    ARROW_RETURN_NOT_OK(PauseFor(500, {}));
  }
  return last;
}

Status S3Client::AbortUpload(const std::string& key, const std::string& upload) const {
  Request request;
  request.method = "DELETE";
  request.key = key;
  request.query = {{"uploadId", upload}};
  ARROW_ASSIGN_OR_RAISE(const HttpReply reply, Call(request, nullptr, {}));
  if (reply.status / 100 == 2 || reply.status == 404) return Status::OK();
  return ErrorOf(request, reply);
}

Result<std::vector<std::string>> S3Client::UploadsOf(const std::string& key) const {
  Request request;
  request.query = {{"uploads", ""}, {"prefix", key}};
  ARROW_ASSIGN_OR_RAISE(const std::string xml, Document(request, kMostAnswerBytes, {}));
  std::vector<std::string> ids;
  std::string at, id;
  ARROW_RETURN_NOT_OK(ReadXml(xml, [&](const std::string& path, const std::string& text) {
    if (path == "ListMultipartUploadsResult/Upload/Key") at = text;
    if (path == "ListMultipartUploadsResult/Upload/UploadId") id = text;
    if (path == "ListMultipartUploadsResult/Upload" && at == key) ids.push_back(id);
  }));
  return ids;
}

}  // namespace partita
