#include <archive.h>
#include <archive_entry.h>
#include <arrow/util/compression.h>
#include <gtest/gtest.h>

#include "partita/storage/format_fixture.h"
#include "partita/storage/webdataset/layout.h"

namespace partita {
namespace {

using Members = std::vector<std::pair<std::string, std::string>>;

// What an independent reader sees.
Members ListTar(const std::string& bytes) {
  Members members;
  archive* in = archive_read_new();
  archive_read_support_format_tar(in);
  EXPECT_EQ(archive_read_open_memory(in, bytes.data(), bytes.size()), ARCHIVE_OK);
  archive_entry* entry = nullptr;
  while (archive_read_next_header(in, &entry) == ARCHIVE_OK) {
    std::string data(static_cast<size_t>(archive_entry_size(entry)), '\0');
    EXPECT_EQ(archive_read_data(in, data.data(), data.size()), static_cast<la_ssize_t>(data.size()));
    EXPECT_EQ(archive_entry_mtime(entry), 0);
    EXPECT_EQ(archive_entry_perm(entry), 0644u);
    EXPECT_EQ(archive_entry_uid(entry), 0);
    members.emplace_back(archive_entry_pathname(entry), data);
  }
  archive_read_free(in);
  return members;
}

// A tar as another writer makes it.
std::string MakeTar(const Members& members, int format = ARCHIVE_FORMAT_TAR_PAX_RESTRICTED) {
  std::string out(4 << 20, '\0');
  size_t used = 0;
  archive* writer = archive_write_new();
  archive_write_set_format(writer, format);
  archive_write_open_memory(writer, out.data(), out.size(), &used);
  for (const auto& [name, data] : members) {
    archive_entry* entry = archive_entry_new();
    archive_entry_set_pathname(entry, name.c_str());
    archive_entry_set_size(entry, static_cast<la_int64_t>(data.size()));
    archive_entry_set_filetype(entry, name.back() == '/' ? AE_IFDIR : AE_IFREG);
    archive_entry_set_perm(entry, 0600);
    archive_entry_set_mtime(entry, 1700000000, 5);
    EXPECT_EQ(archive_write_header(writer, entry), ARCHIVE_OK) << name;
    archive_write_data(writer, data.data(), data.size());
    archive_entry_free(entry);
  }
  archive_write_close(writer);
  archive_write_free(writer);
  out.resize(used);
  return out;
}

const std::string kJpeg = "\xFF\xD8\xFFjpeg bytes";
const std::string kPng = "\x89PNG\r\n\x1A\npng bytes";

class WebDatasetTest : public FormatFixture {
 protected:
  const Format* tar_ = WebDatasetFormat();
  std::shared_ptr<arrow::RecordBatch> Photos() {
    return arrow::RecordBatch::Make(
        arrow::schema({arrow::field("url", arrow::utf8()), arrow::field("image_bytes", arrow::binary()),
                       arrow::field("caption", arrow::utf8()), arrow::field("width", arrow::int32())}),
        3,
        {ColumnOf<arrow::StringBuilder, std::string>({"u/1", "u/2", "u/3"}),
         ColumnOf<arrow::BinaryBuilder, std::string>({kJpeg, std::nullopt, kPng}),
         ColumnOf<arrow::StringBuilder, std::string>({"one", "two", std::nullopt}),
         ColumnOf<arrow::Int32Builder, int32_t>({640, std::nullopt, 32})});
  }
};

TEST_F(WebDatasetTest, WritesImageCaptionAndMetadata) {
  const std::string bytes = *Write(tar_, {Photos()}, Json::object(), 7, 40);
  EXPECT_EQ(bytes.size() % 10240, 0u);
  EXPECT_EQ(ListTar(bytes), (Members{{"00007000040.jpg", kJpeg},
                                     {"00007000040.txt", "one"},
                                     {"00007000040.json", "{\"url\":\"u/1\",\"width\":640}"},
                                     {"00007000041.txt", "two"},
                                     {"00007000041.json", "{\"url\":\"u/2\",\"width\":null}"},
                                     {"00007000042.png", kPng},
                                     {"00007000042.json", "{\"url\":\"u/3\",\"width\":32}"}}));
  EXPECT_EQ(*Write(tar_, {Photos()->Slice(0, 2), Photos()->Slice(2)}, Json::object(), 7, 40), bytes);
}

TEST_F(WebDatasetTest, ColumnsGoWhereTheArgumentsSay) {
  const Json args = {
      {"key", "url"}, {"extensions", {{"image_bytes", "img"}}}, {"json_columns", Json::array()}};
  EXPECT_EQ(ListTar(*Write(tar_, {Photos()->Slice(0, 1)}, args)),
            (Members{{"u/1.img", kJpeg}, {"u/1.txt", "one"}, {"u/1.width", "640"}}));
  const auto user_error = [&](const Json& bad) {
    return KindOf(Write(tar_, {Photos()}, bad).status()) == ErrorKind::kUser;
  };
  EXPECT_TRUE(user_error({{"key", "image_bytes"}}));
  EXPECT_TRUE(user_error({{"key", "nope"}}));
  EXPECT_TRUE(user_error({{"extensions", {{"url", "../x"}}}}));
  EXPECT_TRUE(user_error({{"extensions", {{"url", "txt"}, {"caption", "txt"}}}}));
  EXPECT_TRUE(user_error({{"extensions", {{"url", "PNG"}}}}));  // as the image may be
}

TEST_F(WebDatasetTest, BadKeysAreDataErrorsAndTakeNothing) {
  for (const std::string bad : {"", "a.b", "../x", "/x", "a//b", "a\nb", "\xFF"}) {
    auto batch = arrow::RecordBatch::Make(
        arrow::schema({arrow::field("k", arrow::utf8()), arrow::field("v", arrow::utf8())}), 2,
        {ColumnOf<arrow::StringBuilder, std::string>({"good", bad}),
         ColumnOf<arrow::StringBuilder, std::string>({"1", "2"})});
    const Status status = Write(tar_, {batch}, {{"key", "k"}}).status();
    EXPECT_EQ(KindOf(status), ErrorKind::kData) << bad;
    ASSERT_NE(DetailOf(status), nullptr);
    EXPECT_EQ(DetailOf(status)->context.row, 1);
  }
  auto twice = arrow::RecordBatch::Make(
      arrow::schema({arrow::field("k", arrow::int64()), arrow::field("v", arrow::utf8())}), 2,
      {ColumnOf<arrow::Int64Builder, int64_t>({5, 5}),
       ColumnOf<arrow::StringBuilder, std::string>({"1", "2"})});
  EXPECT_EQ(KindOf(Write(tar_, {twice}, {{"key", "k"}}).status()), ErrorKind::kData);
}

TEST_F(WebDatasetTest, LongNamesAndFatValues) {
  const std::string key = std::string(90, 'k') + "/" + std::string(200, 'n');
  const std::string fat = kJpeg + std::string(3 << 20, 'x');
  auto batch = arrow::RecordBatch::Make(
      arrow::schema({arrow::field("k", arrow::utf8()), arrow::field("image", arrow::binary()),
                     arrow::field("note", arrow::utf8())}),
      1,
      {ColumnOf<arrow::StringBuilder, std::string>({key}), ColumnOf<arrow::BinaryBuilder, std::string>({fat}),
       ColumnOf<arrow::StringBuilder, std::string>({std::string(200000, '"')})});
  const std::string bytes = *Write(tar_, {batch}, {{"key", "k"}});
  const Members members = ListTar(bytes);
  ASSERT_EQ(members.size(), 2u);
  EXPECT_EQ(members[0].first, key + ".jpg");
  EXPECT_EQ(members[0].second, fat);
  EXPECT_EQ(members[1].second.size(), 400000u + std::string("{\"note\":\"\"}").size());
  // And read back: the value that is larger than a block comes alone.
  const FileEntry file = Put("fat.tar", bytes);
  const auto schema = *Inspect(tar_, file);
  EXPECT_EQ(schema->ToString(), "__key__: string not null\njpg: binary\njson: string");
  const Read read = ReadFile(tar_, file, schema, Json::object(), 64 << 10);
  ASSERT_TRUE(read.status.ok()) << read.status;
  EXPECT_EQ(static_cast<const arrow::StringArray&>(*read.batches.at(0)->column(0)).GetView(0), key);
}

TEST_F(WebDatasetTest, ReadThenWrittenIsTheSame) {
  const std::string bytes = *Write(tar_, {Photos()});
  const FileEntry file = Put("a.tar", bytes);
  const auto schema = *Inspect(tar_, file);
  for (const int64_t block_bytes : {1, 100, 1 << 20}) {
    const Read read = ReadFile(tar_, file, schema, Json::object(), block_bytes);
    ASSERT_TRUE(read.status.ok()) << read.status;
    EXPECT_EQ(read.rows, 3);
    EXPECT_EQ(ListTar(*Write(tar_, read.batches)).size(), 7u);
  }
  // Only the texts: the images are passed over.
  const Read texts = ReadFile(tar_, file, arrow::schema({arrow::field("txt", arrow::utf8())}));
  EXPECT_EQ(texts.Whole(nullptr)->column(0)->null_count(), 1);
  EXPECT_EQ(ReadFile(tar_, file, arrow::schema(arrow::FieldVector())).rows, 3);
}

TEST_F(WebDatasetTest, ReadsWhatOthersWrite) {
  const std::string long_name = std::string(70, 'd') + "/" + std::string(90, 'n') + ".txt";
  const Members members = {
      {"./d/", ""},          {"./d/a.jpg", kJpeg}, {"d/a.TXT", "x"}, {"README", "no sample"},
      {"d/a.seg.png", kPng}, {"d/b.txt", "y"},     {long_name, "z"}};
  for (const int format :
       {ARCHIVE_FORMAT_TAR_USTAR, ARCHIVE_FORMAT_TAR_GNUTAR, ARCHIVE_FORMAT_TAR_PAX_INTERCHANGE}) {
    const FileEntry file = Put("o.tar", MakeTar(members, format));
    const auto schema = *Inspect(tar_, file);
    EXPECT_EQ(schema->ToString(), "__key__: string not null\njpg: binary\ntxt: string\nseg.png: binary");
    const Read read = ReadFile(tar_, file, schema);
    ASSERT_TRUE(read.status.ok()) << read.status;
    const auto rows = read.Whole(schema);
    ASSERT_EQ(rows->num_rows(), 3) << format;
    const auto& keys = static_cast<const arrow::StringArray&>(*rows->column(0));
    EXPECT_EQ(keys.GetView(0), "d/a");
    EXPECT_EQ(keys.GetView(2), long_name.substr(0, long_name.size() - 4));
    EXPECT_TRUE(rows->column(1)->IsNull(1));
  }
}

TEST_F(WebDatasetTest, HostileMembersAreBadRows) {
  const FileEntry file = Put("h.tar", MakeTar({{"a.txt", "1"},
                                               {"../b.txt", "2"},
                                               {"/etc/c.txt", "3"},
                                               {"d.txt", "4"},
                                               {"d.TXT", "5"},
                                               {"e.txt", "\xFF"},
                                               {"f.txt", "6"}}));
  const auto schema =
      arrow::schema({arrow::field("__key__", arrow::utf8()), arrow::field("txt", arrow::utf8())});
  for (const int64_t block_bytes : {1, 1 << 20}) {
    const Read read = ReadFile(tar_, file, schema, Json::object(), block_bytes, true);
    ASSERT_TRUE(read.status.ok()) << read.status;
    EXPECT_EQ(read.rows, 2);
    EXPECT_EQ(read.error_rows, (std::vector<int64_t>{1, 2, 3, 4}));
  }
}

TEST_F(WebDatasetTest, DamagedArchivesAreDataErrorsAndNeverCrash) {
  const std::string bytes = *Write(tar_, {Photos()});
  const auto schema = *Inspect(tar_, Put("a.tar", bytes));
  const size_t content = bytes.find_last_not_of('\0') + 1;
  for (size_t size = 1; size < content; size += 97) {
    const Read read = ReadFile(tar_, Put("cut.tar", bytes.substr(0, size)), schema);
    EXPECT_EQ(KindOf(read.status), ErrorKind::kData) << size << read.status;
  }
  for (size_t at = 0; at < 2048; at += 3) {
    std::string damaged = bytes;
    damaged[at] ^= 0x2A;
    (void)ReadFile(tar_, Put("bad.tar", damaged), schema, Json::object(), 1000, true);
  }
  EXPECT_EQ(KindOf(Inspect(tar_, Put("t.tar", "this is no tar\n")).status()), ErrorKind::kData);
  EXPECT_EQ(KindOf(Inspect(tar_, Put("e.tar", "")).status()), ErrorKind::kData);
  EXPECT_EQ(ReadFile(tar_, Entry("e.tar"), schema).rows, 0);
  // A header that claims 64 GiB is not believed.
  std::string liar = bytes;
  std::string header = liar.substr(0, 512);
  header.replace(124, 12, std::string("\x80\0\0\0\0\0\0\x10\0\0\0\0", 12));
  header.replace(148, 8, "        ");
  int sum = 0;
  for (const char c : header) sum += static_cast<unsigned char>(c);
  char checksum[9];
  std::snprintf(checksum, sizeof(checksum), "%06o", sum);
  header.replace(148, 7, std::string(checksum, 7));
  liar.replace(0, 512, header);
  const Read lied = ReadFile(tar_, Put("liar.tar", liar), schema);
  EXPECT_EQ(KindOf(lied.status), ErrorKind::kData) << lied.status;
}

TEST_F(WebDatasetTest, CompressedTarsAndBombs) {
  auto codec = *arrow::util::Codec::Create(arrow::Compression::GZIP);
  const auto pack = [&](const std::string& text) {
    std::string out(static_cast<size_t>(codec->MaxCompressedLen(static_cast<int64_t>(text.size()), nullptr)),
                    '\0');
    out.resize(static_cast<size_t>(
        *codec->Compress(static_cast<int64_t>(text.size()), reinterpret_cast<const uint8_t*>(text.data()),
                         static_cast<int64_t>(out.size()), reinterpret_cast<uint8_t*>(out.data()))));
    return out;
  };
  const std::string bytes = *Write(tar_, {Photos()});
  const FileEntry file = Put("a.tar.gz", pack(bytes));
  const auto schema = *Inspect(tar_, file);
  EXPECT_EQ(ReadFile(tar_, file, schema).rows, 3);
  auto fat =
      arrow::RecordBatch::Make(arrow::schema({arrow::field("image", arrow::binary())}), 1,
                               {ColumnOf<arrow::BinaryBuilder, std::string>({std::string(48 << 20, '\0')})});
  Fragment whole;
  whole.file = Put("bomb.tar.gz", pack(*Write(tar_, {fat})));
  auto budget = Budget::Make(16 << 20);
  const Read read =
      ReadFragment(tar_, whole, *Inspect(tar_, whole.file), Json::object(), 1 << 20, false, budget);
  EXPECT_TRUE(read.status.IsOutOfMemory()) << read.status;
  EXPECT_LE(budget->peak_bytes(), 16 << 20);
  EXPECT_NE(RenderError(read.status).find("bomb.tar.gz"), std::string::npos);
}

TEST_F(WebDatasetTest, RefusedMemoryLosesNoRow) {
  const FileEntry file = Put("a.tar", *Write(tar_, {Photos(), Photos(), Photos()}));
  const auto schema = *Inspect(tar_, file);
  Fragment whole;
  whole.file = file;
  for (int64_t nth = 1; nth < 60; ++nth) {
    ReadRequest request;
    request.fragment = whole;
    request.schema = schema;
    request.env = Env::Default();
    auto budget = Budget::Make(16 << 20);
    request.pool = budget->root();
    request.target_block_bytes = 500;
    auto reader = *tar_->OpenReader(std::move(request));
    budget->FailNthAllocation(nth);
    int64_t rows = 0;
    while (true) {
      auto batch = reader->Next();
      if (batch.status().IsOutOfMemory()) continue;
      ASSERT_TRUE(batch.ok()) << batch.status();
      if (!*batch) break;
      rows += (*batch)->batch->num_rows();
    }
    EXPECT_EQ(rows, 9) << nth;
  }
}

TEST(WebDatasetLayoutTest, Names) {
  std::string key, extension;
  ASSERT_TRUE(SplitMemberName("a.b/c.seg.PNG", &key, &extension));
  EXPECT_EQ(key, "a.b/c");
  EXPECT_EQ(extension, "seg.png");
  for (const char* bad : {"c", "c.", ".c", "a.b/c", "a/.c"})
    EXPECT_FALSE(SplitMemberName(bad, &key, &extension)) << bad;
  EXPECT_EQ(SniffMediaExtension("RIFF1234WEBPx"), "webp");
  EXPECT_EQ(SniffMediaExtension("GIF89a"), "gif");
  EXPECT_EQ(SniffMediaExtension(""), "");
}

}  // namespace
}  // namespace partita
