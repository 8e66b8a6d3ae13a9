#include "partita/runs/run_file.h"

#include <arrow/api.h>
#include <arrow/io/memory.h>
#include <arrow/ipc/api.h>

#include <algorithm>
#include <cstring>

#include "partita/base/digest.h"
#include "partita/runs/kept_runs.h"

namespace partita {
namespace {

constexpr char kMagic[8] = {'P', 'X', 'R', 'U', 'N', 'S', '1', '\n'};

struct Trailer {
  int64_t index_offset = 0, index_length = 0;
  uint64_t index_checksum = 0;
  char magic[8] = {};
};
static_assert(sizeof(Trailer) == 32);

Status Damaged(const std::string& path, std::string_view what) {
  return WithContext(
      EnvironmentError("a spilled or exchanged file is damaged: " + std::string(what),
                       "check the disk; the same command redoes the lost work", /*retriable=*/false),
      {.file = path});
}

bool HasDictionaries(const arrow::DataType& type) {
  if (type.id() == arrow::Type::DICTIONARY) return true;
  if (type.id() == arrow::Type::EXTENSION) {
    return HasDictionaries(*static_cast<const arrow::ExtensionType&>(type).storage_type());
  }
  return std::any_of(type.fields().begin(), type.fields().end(),
                     [](const auto& f) { return HasDictionaries(*f->type()); });
}

bool HasDictionaries(const arrow::Schema& schema) {
  return std::any_of(schema.fields().begin(), schema.fields().end(),
                     [](const auto& f) { return HasDictionaries(*f->type()); });
}

template <typename T>
void Put(std::string* out, T value) {
  static_assert(std::is_trivially_copyable_v<T>);
  out->append(reinterpret_cast<const char*>(&value), sizeof value);
}

void PutText(std::string* out, std::string_view text) {
  Put<uint32_t>(out, static_cast<uint32_t>(text.size()));
  out->append(text);
}

void PutPoint(std::string* out, const KeyPoint& point) {
  Put(out, point.prefix.hi);
  Put(out, point.prefix.lo);
  PutText(out, point.whole);
}

// Bounds-checked; `ok` turns false at the first lie and stays so.
struct IndexReader {
  std::string_view in;
  bool ok = true;

  template <typename T>
  T Get() {
    T value{};
    if (in.size() < sizeof value) {
      ok = false;
      return value;
    }
    std::memcpy(&value, in.data(), sizeof value);
    in.remove_prefix(sizeof value);
    return value;
  }
  std::string_view Text() {
    const auto size = Get<uint32_t>();
    if (in.size() < size) ok = false;
    if (!ok) return {};
    const auto text = in.substr(0, size);
    in.remove_prefix(size);
    return text;
  }
  KeyPoint Point() {
    KeyPoint point;
    point.prefix.hi = Get<uint64_t>();
    point.prefix.lo = Get<uint64_t>();
    point.whole = Text();
    return point;
  }
  // A count of things that take at least `least` bytes each.
  uint64_t Count(size_t least) {
    const auto count = Get<uint64_t>();
    if (count > in.size() / least) ok = false;
    return ok ? count : 0;
  }
};

std::string IndexToBytes(const RunIndex& index, std::string_view schema) {
  std::string out;
  PutText(&out, schema);
  Put<int64_t>(&out, index.rows);
  Put<uint64_t>(&out, index.runs.size());
  for (const auto& run : index.runs) {
    Put<uint64_t>(&out, run.size());
    for (const auto& frame : run) {
      Put(&out, frame.offset);
      Put(&out, frame.length);
      Put(&out, frame.rows);
      Put(&out, frame.checksum);
      PutPoint(&out, frame.first);
    }
  }
  Put<uint64_t>(&out, index.sample.size());
  for (const auto& row : index.sample) {
    Put(&out, row.hash);
    PutPoint(&out, row.point);
    Put(&out, row.run);
    Put(&out, row.rank);
  }
  return out;
}

arrow::ipc::IpcWriteOptions WriteOptionsOf(arrow::MemoryPool* pool) {
  auto options = arrow::ipc::IpcWriteOptions::Defaults();
  options.memory_pool = pool;
  options.use_threads = false;
  return options;
}

// As a stream: its schema names the dictionaries.
Result<std::shared_ptr<arrow::Buffer>> SerialiseWithDictionaries(const arrow::RecordBatch& batch,
                                                                 arrow::MemoryPool* pool) {
  const auto options = WriteOptionsOf(pool);
  ARROW_ASSIGN_OR_RAISE(auto stream, arrow::io::BufferOutputStream::Create(64 << 10, pool));
  ARROW_ASSIGN_OR_RAISE(auto writer, arrow::ipc::MakeStreamWriter(stream, batch.schema(), options));
  ARROW_RETURN_NOT_OK(writer->WriteRecordBatch(batch));
  ARROW_RETURN_NOT_OK(writer->Close());
  return stream->Finish();
}

// Whole pages, so that a read may go around the page cache.
Result<std::shared_ptr<arrow::Buffer>> PagesFor(const RunFrame& frame, arrow::MemoryPool* pool) {
  const int64_t pages = (frame.length + kDirectAlignment - 1) / kDirectAlignment;
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> buffer,
                        arrow::AllocateBuffer(pages * kDirectAlignment, kDirectAlignment, pool));
  return buffer;
}

}  // namespace

KeyPoint PointOf(const KeyPrefix& prefix, std::string_view whole) {
  KeyPoint point{prefix, {}};
  if (whole.size() > 16) point.whole = whole.substr(0, kMaxPointBytes);
  return point;
}

int CompareToPoint(const RowKeys& keys, int64_t row, const KeyPoint& point) {
  const auto order = keys.prefix(row) <=> point.prefix;
  if (order != 0) return order < 0 ? -1 : 1;
  const auto whole = keys.whole(row).substr(0, kMaxPointBytes);
  if (whole.size() <= 16 || point.whole.empty())
    return 0;  // encodings are prefix-free: both are short, and equal
  const int c = whole.compare(point.whole);
  return c < 0 ? -1 : c > 0 ? 1 : 0;
}

int ComparePoints(const KeyPoint& a, const KeyPoint& b) {
  const auto order = a.prefix <=> b.prefix;
  if (order != 0) return order < 0 ? -1 : 1;
  const int c = a.whole.compare(b.whole);
  return c < 0 ? -1 : c > 0 ? 1 : 0;
}

int64_t RunIndex::size_bytes() const {
  size_t bytes = sizeof(RunIndex) + sample.size() * sizeof(SampledRow);
  for (const auto& row : sample) bytes += row.point.whole.capacity();
  for (const auto& run : runs) {
    bytes += run.size() * sizeof(RunFrame);
    for (const auto& frame : run) bytes += frame.first.whole.capacity();
  }
  return static_cast<int64_t>(bytes);
}

Result<std::unique_ptr<RunFileWriter>> RunFileWriter::Open(Env* env, const std::string& path,
                                                           std::shared_ptr<arrow::Schema> schema,
                                                           int64_t cached_bytes) {
  auto writer = std::unique_ptr<RunFileWriter>(new RunFileWriter());
  ARROW_ASSIGN_OR_RAISE(writer->stream_,
                        env->OpenWrite(path, {.window_bytes = 0, .cached_bytes = cached_bytes}));
  ARROW_RETURN_NOT_OK(writer->stream_->Write(kMagic, sizeof kMagic));
  writer->frames_ = std::make_unique<Frames>(writer->stream_.get());
  writer->position_ = sizeof kMagic;
  writer->dictionaries_ = HasDictionaries(*schema);
  writer->index_.schema = std::move(schema);
  return writer;
}

// What is written of one frame, counted and summed on its way: its columns need not be copied together first.
class RunFileWriter::Frames final : public arrow::io::OutputStream {
 public:
  explicit Frames(arrow::io::OutputStream* out) : out_(out) {}

  using arrow::io::OutputStream::Write;
  Status Write(const void* data, int64_t nbytes) override {
    sum_.Update(data, nbytes);
    size_ += nbytes;
    return out_->Write(data, nbytes);
  }
  Status Close() override { return Status::OK(); }
  bool closed() const override { return false; }
  Result<int64_t> Tell() const override { return size_; }

  void Begin() {
    sum_.Reset();
    size_ = 0;
  }
  int64_t size_bytes() const { return size_; }
  uint64_t checksum() const { return sum_.Value(); }

 private:
  arrow::io::OutputStream* out_;
  Checksummer sum_;
  int64_t size_ = 0;
};

RunFileWriter::~RunFileWriter() {
  if (stream_ && !stream_->closed()) (void)stream_->Close();
}

Status RunFileWriter::Append(const arrow::RecordBatch& batch, KeyPoint first, arrow::MemoryPool* pool) {
  // What may be refused comes before what is written.
  std::shared_ptr<arrow::Buffer> buffer;
  arrow::ipc::IpcPayload payload;
  const auto options = WriteOptionsOf(pool);
  if (dictionaries_) {
    ARROW_ASSIGN_OR_RAISE(buffer, SerialiseWithDictionaries(batch, pool));
  } else {
    ARROW_RETURN_NOT_OK(arrow::ipc::GetRecordBatchPayload(batch, options, &payload));
  }
  if (const int64_t past = position_ % kDirectAlignment; past != 0) {
    static constexpr char kZeros[kDirectAlignment] = {};
    ARROW_RETURN_NOT_OK(stream_->Write(kZeros, kDirectAlignment - past));
    position_ += kDirectAlignment - past;
  }
  frames_->Begin();
  if (dictionaries_) {
    ARROW_RETURN_NOT_OK(frames_->Write(buffer->data(), buffer->size()));
  } else {
    int32_t metadata_length = 0;
    ARROW_RETURN_NOT_OK(arrow::ipc::WriteIpcPayload(payload, options, frames_.get(), &metadata_length));
  }
  RunFrame frame;
  frame.offset = position_;
  frame.length = frames_->size_bytes();
  frame.rows = batch.num_rows();
  frame.checksum = frames_->checksum();
  frame.first = std::move(first);
  frame.rank = rank();
  position_ += frame.length;
  index_.longest_frame = std::max(index_.longest_frame, frame.length);
  index_.rows += batch.num_rows();
  if (!in_run_) index_.runs.emplace_back();
  in_run_ = true;
  index_.runs.back().push_back(std::move(frame));
  return Status::OK();
}

void RunFileWriter::EndRun() { in_run_ = false; }

Status RunFileWriter::Close(std::vector<SampledRow> sample) {
  index_.sample = std::move(sample);
  ARROW_ASSIGN_OR_RAISE(auto schema, arrow::ipc::SerializeSchema(*index_.schema));
  const std::string index = IndexToBytes(index_, std::string_view(*schema));
  Trailer trailer;
  trailer.index_offset = position_;
  trailer.index_length = static_cast<int64_t>(index.size());
  trailer.index_checksum = Checksum64(index.data(), trailer.index_length);
  std::memcpy(trailer.magic, kMagic, sizeof kMagic);
  ARROW_RETURN_NOT_OK(stream_->Write(index.data(), trailer.index_length));
  ARROW_RETURN_NOT_OK(stream_->Write(&trailer, sizeof trailer));
  position_ += trailer.index_length + static_cast<int64_t>(sizeof trailer);
  return stream_->Close();
}

Result<RunIndex> RunFileReader::ReadIndex(Env* env, const std::string& path, arrow::MemoryPool* pool) {
  ARROW_ASSIGN_OR_RAISE(auto file, env->OpenRead(path));
  ARROW_ASSIGN_OR_RAISE(const int64_t size, file->GetSize());
  constexpr int64_t kLeast = sizeof kMagic + sizeof(Trailer);
  Trailer trailer;
  if (size < kLeast) return Damaged(path, "too short");
  ARROW_ASSIGN_OR_RAISE(int64_t got,
                        file->ReadAt(size - static_cast<int64_t>(sizeof trailer), sizeof trailer, &trailer));
  if (got != sizeof trailer || std::memcmp(trailer.magic, kMagic, sizeof kMagic) != 0)
    return Damaged(path, "no trailer");
  const int64_t end = size - static_cast<int64_t>(sizeof trailer);
  if (trailer.index_offset < static_cast<int64_t>(sizeof kMagic) || trailer.index_length < 0 ||
      trailer.index_length > end || trailer.index_offset != end - trailer.index_length) {
    return Damaged(path, "bad trailer");
  }
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> bytes,
                        arrow::AllocateBuffer(trailer.index_length, pool));
  ARROW_ASSIGN_OR_RAISE(got, file->ReadAt(trailer.index_offset, trailer.index_length, bytes->mutable_data()));
  if (got != trailer.index_length || Checksum64(bytes->data(), got) != trailer.index_checksum) {
    return Damaged(path, "checksum of the index");
  }
  IndexReader reader{std::string_view(*bytes)};
  RunIndex index;
  const auto schema_text = reader.Text();
  if (!reader.ok) return Damaged(path, "bad index");
  arrow::io::BufferReader schema_input(std::make_shared<arrow::Buffer>(
      reinterpret_cast<const uint8_t*>(schema_text.data()), static_cast<int64_t>(schema_text.size())));
  arrow::ipc::DictionaryMemo memo;
  ARROW_ASSIGN_OR_RAISE(index.schema, arrow::ipc::ReadSchema(&schema_input, &memo));
  index.rows = reader.Get<int64_t>();
  const auto runs = reader.Count(8);
  for (uint64_t r = 0; r < runs && reader.ok; ++r) {
    auto& run = index.runs.emplace_back();
    const auto frames = reader.Count(52);
    int64_t rank = 0;
    for (uint64_t f = 0; f < frames && reader.ok; ++f) {
      RunFrame frame;
      frame.offset = reader.Get<int64_t>();
      frame.length = reader.Get<int64_t>();
      frame.rows = reader.Get<int64_t>();
      frame.checksum = reader.Get<uint64_t>();
      frame.first = reader.Point();
      if (frame.offset < 0 || frame.length < 0 || frame.rows <= 0 ||
          frame.offset > trailer.index_offset - frame.length) {
        reader.ok = false;
      }
      frame.rank = rank;
      index.longest_frame = std::max(index.longest_frame, frame.length);
      reader.ok = reader.ok && !__builtin_add_overflow(rank, frame.rows, &rank);
      run.push_back(std::move(frame));
    }
    if (run.empty()) reader.ok = false;
  }
  const auto sampled = reader.Count(44);
  for (uint64_t i = 0; i < sampled && reader.ok; ++i) {
    SampledRow row;
    row.hash = reader.Get<uint64_t>();
    row.point = reader.Point();
    row.run = reader.Get<int64_t>();
    row.rank = reader.Get<int64_t>();
    index.sample.push_back(std::move(row));
  }
  if (!reader.ok || !reader.in.empty()) return Damaged(path, "bad index");
  return index;
}

Result<std::unique_ptr<RunFileReader>> RunFileReader::Open(Env* env, const std::string& path,
                                                           std::shared_ptr<arrow::Schema> schema,
                                                           int64_t cached_bytes) {
  auto reader = std::unique_ptr<RunFileReader>(new RunFileReader());
  reader->path_ = path;
  reader->dictionaries_ = HasDictionaries(*schema);
  reader->schema_ = std::move(schema);
  ARROW_ASSIGN_OR_RAISE(reader->file_, env->OpenRead(path, {.cached_bytes = cached_bytes}));
  return reader;
}

std::unique_ptr<RunFileReader> RunFileReader::Of(std::shared_ptr<const KeptRuns> kept) {
  auto reader = std::unique_ptr<RunFileReader>(new RunFileReader());
  reader->kept_ = std::move(kept);
  return reader;
}

Result<std::shared_ptr<arrow::RecordBatch>> RunFileReader::ReadFrame(const RunFrame& frame,
                                                                     arrow::MemoryPool* pool) const {
  if (kept_) {
    ARROW_ASSIGN_OR_RAISE(auto found, kept_->Find(frame));
    if (found.batch) return found.batch;
    return found.file->ReadFrame(found.place, pool);
  }
  ARROW_ASSIGN_OR_RAISE(auto pages, PagesFor(frame, pool));
  ARROW_ASSIGN_OR_RAISE(const int64_t got, file_->ReadAt(frame.offset, pages->size(), pages->mutable_data()));
  return Decode(std::move(pages), got, frame, pool);
}

Result<FrameRead> RunFileReader::Begin(const RunFrame& frame, arrow::MemoryPool* pool) const {
  FrameRead read;
  read.size_bytes_ = frame.length;
  if (kept_) {
    ARROW_ASSIGN_OR_RAISE(auto found, kept_->Find(frame));
    if (found.batch) return read;
    return found.file->Begin(found.place, pool);
  }
  ARROW_ASSIGN_OR_RAISE(read.pages_, PagesFor(frame, pool));
  read.size_bytes_ = read.pages_->size();
  read.got_ = PendingRead::Begin(file_, frame.offset, read.pages_->size(), read.pages_->mutable_data());
  return read;
}

Result<std::shared_ptr<arrow::RecordBatch>> RunFileReader::Finish(FrameRead read, const RunFrame& frame,
                                                                  arrow::MemoryPool* pool) const {
  if (!read.pages_) return ReadFrame(frame, pool);
  if (kept_) {
    ARROW_ASSIGN_OR_RAISE(auto found, kept_->Find(frame));
    return found.file->Finish(std::move(read), found.place, pool);
  }
  ARROW_ASSIGN_OR_RAISE(const int64_t got, read.got_.Wait());
  return Decode(std::move(read.pages_), got, frame, pool);
}

Result<std::shared_ptr<arrow::RecordBatch>> RunFileReader::Decode(std::shared_ptr<arrow::Buffer> pages,
                                                                  int64_t got, const RunFrame& frame,
                                                                  arrow::MemoryPool* pool) const {
  if (got < frame.length || Checksum64(pages->data(), frame.length) != frame.checksum)
    return Damaged(path_, "checksum");
  arrow::io::BufferReader input(arrow::SliceBuffer(std::move(pages), 0, frame.length));
  auto options = arrow::ipc::IpcReadOptions::Defaults();
  options.memory_pool = pool;
  options.use_threads = false;
  std::shared_ptr<arrow::RecordBatch> batch;
  if (dictionaries_) {
    ARROW_ASSIGN_OR_RAISE(auto stream, arrow::ipc::RecordBatchStreamReader::Open(&input, options));
    ARROW_RETURN_NOT_OK(stream->ReadNext(&batch));
  } else {
    arrow::ipc::DictionaryMemo memo;
    ARROW_ASSIGN_OR_RAISE(batch, arrow::ipc::ReadRecordBatch(schema_, &memo, options, &input));
  }
  if (batch == nullptr || batch->num_rows() != frame.rows) return Damaged(path_, "rows");
  return batch;
}

}  // namespace partita
