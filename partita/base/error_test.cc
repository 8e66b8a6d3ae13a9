#include "partita/base/error.h"

#include <arrow/util/io_util.h>
#include <gtest/gtest.h>

#include <cerrno>

namespace partita {
namespace {

ErrorContext Context(std::string step, int64_t partition = -1, std::string file = "", int64_t row = -1,
                     std::string hint = "") {
  ErrorContext context;
  context.step = std::move(step);
  context.partition = partition;
  context.file = std::move(file);
  context.row = row;
  context.hint = std::move(hint);
  return context;
}

TEST(Error, EachKindTellsWhoMustActAndHowTheProcessEnds) {
  const struct {
    Status status;
    ErrorKind kind;
    bool retriable;
    int exit_code;
  } cases[] = {
      {UserError("x"), ErrorKind::kUser, false, 2},
      {DataError("x"), ErrorKind::kData, false, 3},
      {ResourceError("x"), ErrorKind::kResource, true, 4},
      {OutOfMemoryError("x"), ErrorKind::kResource, true, 4},
      {EnvironmentError("x"), ErrorKind::kEnvironment, true, 5},
      {EnvironmentError("x", "", false), ErrorKind::kEnvironment, false, 5},
      {BugError("x"), ErrorKind::kBug, false, 70},
      {Status::Cancelled("x"), ErrorKind::kUser, false, 130},
      {Status::Invalid("x"), ErrorKind::kData, false, 3},
      {Status::KeyError("x"), ErrorKind::kUser, false, 2},
      {Status::NotImplemented("x"), ErrorKind::kUser, false, 2},
      {Status::CapacityError("x"), ErrorKind::kResource, false, 4},
      {Status::OutOfMemory("x"), ErrorKind::kResource, true, 4},
      {Status::IOError("x"), ErrorKind::kEnvironment, true, 5},
      {arrow::internal::IOErrorFromErrno(ENOENT, "x"), ErrorKind::kEnvironment, false, 5},
      {arrow::internal::IOErrorFromErrno(EIO, "x"), ErrorKind::kEnvironment, true, 5},
      {Status::UnknownError("x"), ErrorKind::kBug, false, 70},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.status.ToString());
    EXPECT_EQ(KindOf(c.status), c.kind);
    EXPECT_EQ(IsRetriable(c.status), c.retriable);
    EXPECT_EQ(ExitCodeOf(c.status), c.exit_code);
    EXPECT_EQ(MessageOf(c.status), "x");
    // A layer that adds context changes nothing of that.
    const Status with = WithContext(c.status, Context("resize"));
    EXPECT_EQ(with.code(), c.status.code());
    EXPECT_EQ(KindOf(with), c.kind);
    EXPECT_EQ(IsRetriable(with), c.retriable);
    EXPECT_EQ(ExitCodeOf(with), c.exit_code);
    EXPECT_EQ(MessageOf(with), "x");
    EXPECT_EQ(DetailOf(with)->context.step, "resize");
  }
}

TEST(Error, OkStaysOk) {
  EXPECT_TRUE(WithContext(Status::OK(), Context("resize")).ok());
  EXPECT_EQ(ExitCodeOf(Status::OK()), 0);
  EXPECT_EQ(DetailOf(Status::OK()), nullptr);
  EXPECT_FALSE(IsRetriable(Status::OK()));
  EXPECT_EQ(MessageOf(Status::OK()), "");
}

TEST(Error, ContextNearestToTheFaultWinsAndOuterLayersFillTheRest) {
  Status status = DataError("not an image", "drop the row");
  status = WithContext(status, Context("", -1, "x.jpg", 17));
  status = WithContext(status, Context("resize", 3, "outer.tar", 99, "an outer hint"));
  status = WithContext(status, Context("outermost", 4));
  const ErrorContext& context = DetailOf(status)->context;
  EXPECT_EQ(context.step, "resize");
  EXPECT_EQ(context.partition, 3);
  EXPECT_EQ(context.file, "x.jpg");
  EXPECT_EQ(context.row, 17);
  EXPECT_EQ(context.hint, "drop the row");
  EXPECT_EQ(
      RenderError(status),
      "data error in step 'resize', partition 3, file x.jpg, row 17: not an image\n  try: drop the row");
}

TEST(Error, PartitionAndRowZeroAreKnown) {
  const Status status = WithContext(DataError("bad"), Context("", 0, "", 0));
  EXPECT_EQ(RenderError(status), "data error in partition 0, row 0: bad");
  const Status again = WithContext(status, Context("", 5, "", 5));
  EXPECT_EQ(DetailOf(again)->context.partition, 0);
  EXPECT_EQ(DetailOf(again)->context.row, 0);
}

TEST(Error, AddingContextLeavesTheOriginalStatusAlone) {
  const Status original = DataError("bad");
  const Status with = WithContext(original, Context("a"));
  EXPECT_EQ(DetailOf(original)->context.step, "");
  EXPECT_EQ(DetailOf(with)->context.step, "a");
}

TEST(Error, ArrowsOwnDetailIsKept) {
  const Status status =
      WithContext(arrow::internal::IOErrorFromErrno(ENOENT, "cannot open"), Context("read", -1, "a.parquet"));
  EXPECT_NE(RenderError(status).find("No such file"), std::string::npos) << RenderError(status);
  EXPECT_NE(RenderError(status).find("file a.parquet"), std::string::npos);
  EXPECT_EQ(MessageOf(status), "cannot open");
}

TEST(Error, RenderNamesAFileOnce) {
  const Status status =
      WithContext(EnvironmentError("cannot open '/d/a.csv': gone"), Context("", -1, "/d/a.csv"));
  EXPECT_EQ(RenderError(status), "environment error: cannot open '/d/a.csv': gone");
}

TEST(Error, NoEscapeSequenceOfHostileDataReachesTheTerminal) {
  const Status status = WithContext(DataError("bad \x1b[2J"), Context("", -1, "a\x07\x7f.jpg"));
  const std::string text = RenderError(status);
  EXPECT_EQ(text, "data error in file a\\x07\\x7f.jpg: bad \\x1b[2J");
}

TEST(Error, CancelledIsNoUserError) {
  EXPECT_EQ(RenderError(Status::Cancelled("the run was cancelled")), "cancelled: the run was cancelled");
}

TEST(Error, KindNamesRoundTrip) {
  for (const auto kind :
       {ErrorKind::kUser, ErrorKind::kData, ErrorKind::kResource, ErrorKind::kEnvironment, ErrorKind::kBug}) {
    EXPECT_EQ(ParseErrorKind(ErrorKindName(kind)).ValueOrDie(), kind);
  }
  EXPECT_EQ(KindOf(ParseErrorKind("User").status()), ErrorKind::kUser);
}

}  // namespace
}  // namespace partita
