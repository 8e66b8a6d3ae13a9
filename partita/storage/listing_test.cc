#include <gtest/gtest.h>

#include "partita/storage/format_fixture.h"
#include "partita/storage/glob.h"

namespace partita {
namespace {

class ListingTest : public FormatFixture {
 protected:
  std::vector<std::string> Names(const std::vector<std::string>& locations, const ListOptions& options = {}) {
    auto files = ListFiles(Env::Default(), locations, options);
    EXPECT_TRUE(files.ok()) << files.status();
    std::vector<std::string> names;
    if (!files.ok()) return names;
    for (const FileEntry& file : *files)
      names.push_back(std::filesystem::relative(file.location, folder_).string());
    return names;
  }
};

using Strings = std::vector<std::string>;

TEST(GlobTest, Matches) {
  EXPECT_TRUE(MatchesGlob("*.csv", "a.csv"));
  EXPECT_FALSE(MatchesGlob("*.csv", "a.csv.gz"));
  EXPECT_TRUE(MatchesGlob("a?c", "abc"));
  EXPECT_TRUE(MatchesGlob("[a-c]x[!0-9]", "bxz"));
  EXPECT_FALSE(MatchesGlob("[a-c]x[!0-9]", "bx7"));
  EXPECT_TRUE(MatchesGlob("\\*", "*"));
  EXPECT_FALSE(MatchesGlob("\\*", "x"));
  EXPECT_TRUE(MatchesGlob("[", "["));
  // A pattern that makes naive matchers run forever.
  EXPECT_FALSE(MatchesGlob("*a*a*a*a*a*a*a*a*a*a*a*b", std::string(5000, 'a')));
  EXPECT_EQ(*ExpandBraces("x{a,b{c,d}}y"), (Strings{"xay", "xbcy", "xbdy"}));
  EXPECT_FALSE(
      ExpandBraces("{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}").ok());
}

TEST_F(ListingTest, FoldersAreListedDeepAndSortedWithoutHiddenFiles) {
  for (const char* name :
       {"b.csv", "a.csv", "sub/c.CSV", "_manifest/x.csv", ".hidden.csv", "sub/_tmp.csv", "notes.md"}) {
    Put(name, "x");
  }
  EXPECT_EQ(Names({folder_.string()}, {.extensions = {".csv"}}), (Strings{"a.csv", "b.csv", "sub/c.CSV"}));
  EXPECT_EQ(Names({folder_.string() + "/"}, {.recursive = false, .extensions = {".csv"}}),
            (Strings{"a.csv", "b.csv"}));
  EXPECT_EQ(Names({folder_.string()}, {.include_hidden = true, .extensions = {".csv"}}).size(), 6u);
  // Named twice, listed once; one file needs no extension.
  EXPECT_EQ(Names({Path("notes.md"), folder_.string(), "file://" + Path("a.csv")}, {.extensions = {".csv"}}),
            (Strings{"a.csv", "b.csv", "notes.md", "sub/c.CSV"}));
}

TEST_F(ListingTest, AHiveFolderMayNameAColumnWithAnUnderscore) {
  for (const char* name : {"__step=parse/a.csv", "_partita/b.csv", "_x=1.csv"}) Put(name, "x");
  EXPECT_EQ(Names({folder_.string()}), (Strings{"__step=parse/a.csv"}));
}

TEST_F(ListingTest, StopsWhenItsTokenIsSet) {
  Put("a.csv", "x");
  ListOptions options;
  options.cancel.Cancel();
  EXPECT_TRUE(ListFiles(Env::Default(), {folder_.string()}, options).status().IsCancelled());
  EXPECT_TRUE(ListFiles(Env::Default(), {Path("*.csv")}, options).status().IsCancelled());
}

TEST_F(ListingTest, Globs) {
  for (const char* name : {"x/1.csv", "x/2.csv", "y/3.csv", "y/z/4.csv", "y/_5.csv", "odd[1].csv", "log.txt"})
    Put(name, "x");
  EXPECT_EQ(Names({Path("*/*.csv")}), (Strings{"x/1.csv", "x/2.csv", "y/3.csv"}));
  EXPECT_EQ(Names({Path("**/*.csv")}), (Strings{"odd[1].csv", "x/1.csv", "x/2.csv", "y/3.csv", "y/z/4.csv"}));
  EXPECT_EQ(Names({Path("**/**/[34].csv")}), (Strings{"y/3.csv", "y/z/4.csv"}));
  EXPECT_EQ(Names({Path("{x,y}/[1-3].csv")}), (Strings{"x/1.csv", "x/2.csv", "y/3.csv"}));
  EXPECT_EQ(Names({Path("y/_*.csv")}), (Strings{"y/_5.csv"}));
  EXPECT_EQ(Names({Path("odd[1].csv")}), (Strings{"odd[1].csv"}));  // a name that exists is that file
  EXPECT_EQ(Names({Path("*.txt")}, {.extensions = {".csv"}}), (Strings{"log.txt"}));
  EXPECT_EQ(Names({Path("?")}, {.extensions = {".csv"}}),
            (Strings{"x/1.csv", "x/2.csv", "y/3.csv", "y/z/4.csv"}));
}

TEST_F(ListingTest, HiveColumnsComeFromFoldersBelowTheListedOne) {
  Put("t/year=2024/city=S%C3%A3o%20Paulo/a.csv", "x");
  Put("t/year=__HIVE_DEFAULT_PARTITION__/city=b%2Fc/b.csv", "x");
  auto files = *ListFiles(Env::Default(), {Path("t")}, {});
  using Values = std::vector<std::pair<std::string, std::string>>;
  ASSERT_EQ(files.size(), 2u);
  EXPECT_EQ(files[0].partition_values, (Values{{"year", "2024"}, {"city", "S\xC3\xA3o Paulo"}}));
  EXPECT_EQ(files[1].partition_values, (Values{{"year", ""}, {"city", "b/c"}}));
  files = *ListFiles(Env::Default(), {Path("t/*/*/a.csv")}, {});
  EXPECT_EQ(files.at(0).partition_values.size(), 2u);
  files = *ListFiles(Env::Default(), {Path("t/year=2024")}, {});
  EXPECT_EQ(files.at(0).partition_values, (Values{{"city", "S\xC3\xA3o Paulo"}}));
  files = *ListFiles(Env::Default(), {Path("t")}, {.hive_partitioning = false});
  EXPECT_TRUE(files[0].partition_values.empty());
  EXPECT_EQ(FileEntry::FromJson(files[0].ToJson())->location, files[0].location);
}

TEST_F(ListingTest, NothingFoundNamesTheNearest) {
  Put("data/photos.parquet", "x");
  auto missing = ListFiles(Env::Default(), {Path("data/photo.parquet")}, {});
  EXPECT_EQ(KindOf(missing.status()), ErrorKind::kUser);
  EXPECT_NE(RenderError(missing.status()).find("photos.parquet"), std::string::npos)
      << RenderError(missing.status());
  missing = ListFiles(Env::Default(), {Path("dta/photos.parquet")}, {});
  EXPECT_NE(RenderError(missing.status()).find("/data'"), std::string::npos) << RenderError(missing.status());
  missing = ListFiles(Env::Default(), {Path("data")}, {.extensions = {".csv"}});
  EXPECT_NE(RenderError(missing.status()).find(".csv"), std::string::npos);
  EXPECT_NE(RenderError(missing.status()).find("photos.parquet"), std::string::npos);
  EXPECT_EQ(KindOf(ListFiles(Env::Default(), {Path("data/*.x")}, {}).status()), ErrorKind::kUser);
  EXPECT_EQ(KindOf(ListFiles(Env::Default(), {"gs://bucket/x"}, {}).status()), ErrorKind::kUser);
  EXPECT_EQ(KindOf(ListFiles(Env::Default(), {}, {}).status()), ErrorKind::kUser);
}

TEST_F(ListingTest, ALoopOfSymbolicLinksIsAnErrorAndNoHang) {
  Put("a/x.csv", "x");
  std::filesystem::create_directory_symlink(folder_, folder_ / "a" / "up");
  std::filesystem::create_directory_symlink(folder_, folder_ / "a" / "again");
  auto files = ListFiles(Env::Default(), {folder_.string()}, {});
  if (files.ok()) {
    EXPECT_EQ(files->size(), 1u);  // an Env that does not follow links
  } else {
    EXPECT_EQ(KindOf(files.status()), ErrorKind::kUser) << files.status();
  }
}

TEST_F(ListingTest, AFileThatChangedSinceItWasListedIsNotOpened) {
  FileEntry entry = Put("a.csv", "a\n1\n");
  ASSERT_TRUE(OpenFile(Env::Default(), entry, budget_->root().get()).ok());
  Put("a.csv", "a\n1\n2\n");
  auto opened = OpenFile(Env::Default(), entry, budget_->root().get());
  EXPECT_EQ(KindOf(opened.status()), ErrorKind::kEnvironment);
  EXPECT_FALSE(IsRetriable(opened.status()));
  std::filesystem::remove(Path("a.csv"));
  opened = OpenFile(Env::Default(), entry, budget_->root().get());
  EXPECT_EQ(KindOf(opened.status()), ErrorKind::kEnvironment);
  EXPECT_FALSE(IsRetriable(opened.status()));
}

}  // namespace
}  // namespace partita
