#include "partita/block/block.h"

#include <arrow/api.h>
#include <gtest/gtest.h>

namespace partita {
namespace {

std::shared_ptr<arrow::RecordBatch> Strings(int64_t rows, size_t length, bool dictionary = false) {
  std::shared_ptr<arrow::Array> array;
  if (dictionary) {
    arrow::StringDictionaryBuilder builder;
    for (int64_t i = 0; i < rows; ++i) EXPECT_TRUE(builder.Append(std::string(length, 'a' + i % 26)).ok());
    array = *builder.Finish();
  } else {
    arrow::StringBuilder builder;
    for (int64_t i = 0; i < rows; ++i) EXPECT_TRUE(builder.Append(std::string(length, 'a' + i % 26)).ok());
    array = *builder.Finish();
  }
  return arrow::RecordBatch::Make(arrow::schema({arrow::field("s", array->type())}), rows, {array});
}

TEST(RowOrdinals, RangesAndListsSliceAndTakeAlike) {
  const auto range = RowOrdinals::Range(100, 10);
  EXPECT_EQ(range.size(), 10);
  EXPECT_EQ(range.At(9), 109);
  EXPECT_EQ(range.Slice(3, 4).At(0), 103);
  const auto list = range.Take({1, 4, 9});
  EXPECT_EQ(list.size(), 3);
  EXPECT_EQ(list.At(2), 109);
  EXPECT_EQ(list.Slice(1, 2).At(0), 104);
  EXPECT_EQ(list.Slice(1, 2).Slice(1, 1).At(0), 109);
  EXPECT_EQ(list.Take({2}).At(0), 109);
  EXPECT_EQ(range.Slice(8, 100).size(), 2);
  EXPECT_EQ(RowOrdinals().size(), 0);
  EXPECT_EQ(RowOrdinals::List({7, 8, 9}).At(1), 8);
}

TEST(Block, SliceKeepsOrdinals) {
  Block block{Strings(10, 3), RowOrdinals::Range(50, 10)};
  const auto slice = block.Slice(4, 2);
  EXPECT_EQ(slice.num_rows(), 2);
  EXPECT_EQ(slice.ordinals.At(1), 55);
}

TEST(BufferBytes, CountsSharedBuffersOnceAndParentsWhole) {
  const auto batch = Strings(1000, 1000);
  const int64_t bytes = BufferBytes(*batch);
  EXPECT_GE(bytes, 1'000'000);
  EXPECT_EQ(BufferBytes(*batch->Slice(0, 1)), bytes);
  const auto twice = *batch->AddColumn(1, "t", batch->column(0));
  EXPECT_EQ(BufferBytes(*twice), bytes);
}

TEST(Compact, CopiesSmallSlicesOfLargeBuffersOnly) {
  auto* pool = arrow::default_memory_pool();
  const auto batch = Strings(1000, 1000);
  const auto large = batch->Slice(0, 800);
  EXPECT_EQ((*Compact(large, pool)).get(), large.get());
  const auto small = batch->Slice(500, 10);
  const auto copy = *Compact(small, pool);
  EXPECT_LT(BufferBytes(*copy), 64 << 10);
  EXPECT_TRUE(copy->Equals(*small));
  EXPECT_TRUE(copy->ValidateFull().ok());
  const auto tiny = Strings(10, 10)->Slice(0, 1);
  EXPECT_EQ((*Compact(tiny, pool)).get(), tiny.get());
}

TEST(Compact, CopiesViewsDictionariesAndNestedValues) {
  auto* pool = arrow::default_memory_pool();
  arrow::StringViewBuilder views;
  auto strings = std::make_shared<arrow::StringBuilder>();
  arrow::ListBuilder lists(pool, strings);
  for (int i = 0; i < 1000; ++i) {
    const std::string text(1000, 'x');
    ASSERT_TRUE(views.Append(text).ok());
    ASSERT_TRUE(lists.Append().ok());
    ASSERT_TRUE(strings->Append(text).ok());
  }
  const auto view = *views.Finish();
  const auto list = *lists.Finish();
  const auto dictionary = Strings(1000, 1000, true)->column(0);
  const auto nested = *arrow::StructArray::Make({view, dictionary}, std::vector<std::string>{"v", "d"});
  const auto batch = arrow::RecordBatch::Make(
      arrow::schema({arrow::field("v", view->type()), arrow::field("l", list->type()),
                     arrow::field("d", dictionary->type()), arrow::field("n", nested->type())}),
      1000, {view, list, dictionary, nested});
  const auto small = batch->Slice(10, 3);
  const auto copy = *Compact(small, pool);
  EXPECT_TRUE(copy->ValidateFull().ok()) << copy->ValidateFull();
  EXPECT_TRUE(copy->Equals(*small));
  EXPECT_LT(BufferBytes(*copy), BufferBytes(*small) / 4);
}

}  // namespace
}  // namespace partita
