#include "partita/runs/interleave.h"

#include <arrow/api.h>
#include <arrow/util/bit_util.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

namespace partita {
namespace {

using Arrays = std::vector<std::shared_ptr<arrow::Array>>;
// Rows of one batch that stand behind each other.
struct Stretch {
  uint32_t batch = 0;
  int64_t row = 0, rows = 0;
};

// What is picked. Where rows mostly stand behind each other `stretches` says the same, else it is empty. The
// values of lists are picked by stretches alone.
struct Picks {
  explicit Picks(std::span<const RowPick> picked) : rows(picked), count(picked.size()) {
    constexpr size_t kWorthIt = 8;  // rows of a stretch, on average
    for (const auto pick : picked) {
      if (stretches.size() * kWorthIt > count && !IsNext(pick)) {
        stretches.clear();
        return;
      }
      Add(pick.batch, pick.row, 1);
    }
  }
  Picks(size_t stretches_at_most, size_t values) : count(values) { stretches.reserve(stretches_at_most); }

  void Add(uint32_t batch, int64_t row, int64_t rows_behind) {
    if (!stretches.empty() && stretches.back().batch == batch &&
        stretches.back().row + stretches.back().rows == row) {
      stretches.back().rows += rows_behind;
    } else if (rows_behind > 0) {
      stretches.push_back({batch, row, rows_behind});
    }
  }

  std::span<const RowPick> rows;
  size_t count = 0;
  std::vector<Stretch> stretches;

 private:
  bool IsNext(const RowPick& pick) const {
    return !stretches.empty() && stretches.back().batch == pick.batch &&
           stretches.back().row + stretches.back().rows == pick.row;
  }
};

Result<std::shared_ptr<arrow::Buffer>> NewBuffer(int64_t size, arrow::MemoryPool* pool) {
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> buffer, arrow::AllocateBuffer(size, pool));
  return buffer;
}

// Null where no picked batch has a null.
Result<std::shared_ptr<arrow::Buffer>> Validity(const Arrays& arrays, const Picks& picks,
                                                arrow::MemoryPool* pool, int64_t* nulls) {
  *nulls = 0;
  bool any = false;
  for (const auto& array : arrays) any = any || array->null_count() > 0;
  if (!any) return nullptr;
  const auto rows = static_cast<int64_t>(picks.count);
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> bits, arrow::AllocateEmptyBitmap(rows, pool));
  for (int64_t i = 0; i < rows; ++i) {
    const auto pick = picks.rows[static_cast<size_t>(i)];
    if (arrays[pick.batch]->IsValid(pick.row)) {
      arrow::bit_util::SetBit(bits->mutable_data(), i);
    } else {
      ++*nulls;
    }
  }
  return bits;
}

// Rows come from all over memory: they are asked for this many rows before they are copied.
constexpr size_t kAhead = 24;

template <int kWidth>
void CopyFixed(const std::vector<const uint8_t*>& values, std::span<const RowPick> picks, int64_t width,
               uint8_t* out) {
  const auto w = static_cast<size_t>(kWidth > 0 ? kWidth : width);
  for (size_t i = 0; i < picks.size(); ++i) {
    if (i + kAhead < picks.size()) {
      const auto later = picks[i + kAhead];
      __builtin_prefetch(values[later.batch] + later.row * w);
    }
    const auto pick = picks[i];
    std::memcpy(out, values[pick.batch] + pick.row * w, w);
    out += w;
  }
}

// A value is a run of bytes of one length: of a type of fixed width, or a list of one length of such (a
// tensor), however deep, without nulls in it.
bool IsDense(const arrow::Array& array) {
  if (array.type_id() == arrow::Type::FIXED_SIZE_LIST) {
    const auto& values = *static_cast<const arrow::FixedSizeListArray&>(array).values();
    return values.null_count() == 0 && IsDense(values);
  }
  if (!arrow::is_fixed_width(array.type_id()) || array.type_id() == arrow::Type::DICTIONARY) return false;
  return static_cast<const arrow::FixedWidthType&>(*array.type()).bit_width() % 8 == 0;
}

int64_t DenseWidth(const arrow::DataType& type) {
  if (type.id() != arrow::Type::FIXED_SIZE_LIST)
    return static_cast<const arrow::FixedWidthType&>(type).bit_width() / 8;
  const auto& list = static_cast<const arrow::FixedSizeListType&>(type);
  return list.list_size() * DenseWidth(*list.value_type());
}

// Where the first value of an array is.
const uint8_t* DenseValues(const arrow::ArrayData& data) {
  const bool is_list = data.type->id() == arrow::Type::FIXED_SIZE_LIST;
  const uint8_t* values = is_list           ? DenseValues(*data.child_data[0])
                          : data.buffers[1] ? data.buffers[1]->data()
                                            : nullptr;
  return values == nullptr ? nullptr : values + data.offset * DenseWidth(*data.type);
}

std::shared_ptr<arrow::ArrayData> DenseData(const std::shared_ptr<arrow::DataType>& type, int64_t rows,
                                            std::shared_ptr<arrow::Buffer> validity, int64_t nulls,
                                            std::shared_ptr<arrow::Buffer> values) {
  if (type->id() != arrow::Type::FIXED_SIZE_LIST)
    return arrow::ArrayData::Make(type, rows, {std::move(validity), std::move(values)}, nulls);
  const auto& list = static_cast<const arrow::FixedSizeListType&>(*type);
  auto child = DenseData(list.value_type(), rows * list.list_size(), nullptr, 0, std::move(values));
  return arrow::ArrayData::Make(type, rows, {std::move(validity)}, {std::move(child)}, nulls);
}

Result<std::shared_ptr<arrow::Array>> Fixed(const std::shared_ptr<arrow::DataType>& type,
                                            const Arrays& arrays, const Picks& picks,
                                            arrow::MemoryPool* pool) {
  const int64_t width = DenseWidth(*type);
  int64_t nulls = 0;
  ARROW_ASSIGN_OR_RAISE(auto validity, Validity(arrays, picks, pool, &nulls));
  const auto rows = static_cast<int64_t>(picks.count);
  ARROW_ASSIGN_OR_RAISE(auto buffer, NewBuffer(rows * width, pool));
  std::vector<const uint8_t*> values;
  for (const auto& array : arrays) values.push_back(DenseValues(*array->data()));
  uint8_t* out = buffer->mutable_data();
  for (const auto& stretch : picks.stretches) {
    if (width == 0) break;
    const auto bytes = static_cast<size_t>(stretch.rows * width);
    std::memcpy(out, values[stretch.batch] + stretch.row * width, bytes);
    out += bytes;
  }
  switch (picks.stretches.empty() && !picks.rows.empty() ? width : 0) {
    case 1:
      CopyFixed<1>(values, picks.rows, width, out);
      break;
    case 2:
      CopyFixed<2>(values, picks.rows, width, out);
      break;
    case 4:
      CopyFixed<4>(values, picks.rows, width, out);
      break;
    case 8:
      CopyFixed<8>(values, picks.rows, width, out);
      break;
    case 16:
      CopyFixed<16>(values, picks.rows, width, out);
      break;
    case 0:
      break;
    default:
      CopyFixed<0>(values, picks.rows, width, out);
      break;
  }
  return arrow::MakeArray(DenseData(type, rows, std::move(validity), nulls, std::move(buffer)));
}

Result<std::shared_ptr<arrow::Array>> Booleans(const Arrays& arrays, const Picks& picks,
                                               arrow::MemoryPool* pool) {
  int64_t nulls = 0;
  ARROW_ASSIGN_OR_RAISE(auto validity, Validity(arrays, picks, pool, &nulls));
  const auto rows = static_cast<int64_t>(picks.count);
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> bits, arrow::AllocateEmptyBitmap(rows, pool));
  for (int64_t i = 0; i < rows; ++i) {
    const auto pick = picks.rows[static_cast<size_t>(i)];
    if (static_cast<const arrow::BooleanArray&>(*arrays[pick.batch]).Value(pick.row)) {
      arrow::bit_util::SetBit(bits->mutable_data(), i);
    }
  }
  return arrow::MakeArray(arrow::ArrayData::Make(arrow::boolean(), rows, {validity, bits}, nulls));
}

// Texts of several arrays.
template <typename Offset>
struct TextView {
  const Offset* offsets;
  const uint8_t* bytes;
  const uint8_t* end;  // of the bytes that may be read
};

Status TooMuchText() { return Status::OutOfMemory("a block of text would pass 2 GiB"); }

// Where the texts of `stretches` will end; the bytes they have.
template <typename Offset>
Result<int64_t> PlaceStretches(const std::vector<TextView<Offset>>& views,
                               const std::vector<Stretch>& stretches, Offset* offsets) {
  int64_t size = 0;
  for (const auto& stretch : stretches) {
    const Offset* at = views[stretch.batch].offsets + stretch.row;
    if (size + at[stretch.rows] - at[0] > std::numeric_limits<Offset>::max()) return TooMuchText();
    const auto moved = static_cast<Offset>(size - at[0]);
    for (int64_t i = 0; i < stretch.rows; ++i) *++offsets = at[i + 1] + moved;
    size += at[stretch.rows] - at[0];
  }
  return size;
}

// The same of rows one by one. What lies behind a null is not carried along.
template <typename Offset>
Result<int64_t> PlaceRows(const std::vector<TextView<Offset>>& views, std::span<const RowPick> picks,
                          const uint8_t* validity, Offset* offsets) {
  int64_t size = 0;
  for (size_t i = 0; i < picks.size(); ++i) {
    if (i + kAhead < picks.size()) {
      const auto later = picks[i + kAhead];
      __builtin_prefetch(views[later.batch].offsets + later.row);
    }
    const Offset* at = views[picks[i].batch].offsets + picks[i].row;
    if (validity == nullptr || arrow::bit_util::GetBit(validity, static_cast<int64_t>(i)))
      size += at[1] - at[0];
    if (size > std::numeric_limits<Offset>::max()) return TooMuchText();
    offsets[i + 1] = static_cast<Offset>(size);
  }
  return size;
}

// Short texts are copied as so many bytes, without a look at their length: what is behind them is written
// later.
constexpr int64_t kShortBytes = 16;

template <typename Offset>
void CopyRows(const std::vector<TextView<Offset>>& views, std::span<const RowPick> picks,
              const Offset* offsets, uint8_t* out) {
  struct Source {
    const uint8_t* bytes;
    bool is_long;  // so many bytes may be read
  };
  constexpr int64_t kLine = 64;  // of the cache
  std::array<Source, 256> sources;
  const auto last_short = static_cast<int64_t>(offsets[picks.size()]) - kShortBytes;
  for (size_t begin = 0; begin < picks.size(); begin += sources.size()) {
    const size_t count = std::min(sources.size(), picks.size() - begin);
    for (size_t i = 0; i < count; ++i) {
      const auto& view = views[picks[begin + i].batch];
      const uint8_t* bytes = view.bytes + view.offsets[picks[begin + i].row];
      const auto length = static_cast<int64_t>(offsets[begin + i + 1] - offsets[begin + i]);
      sources[i] = {bytes, view.end - bytes >= kShortBytes};
      __builtin_prefetch(bytes);
      if (length > kLine) __builtin_prefetch(bytes + kLine);
      if (length > 2) __builtin_prefetch(bytes + length - 1);
    }
    for (size_t i = 0; i < count; ++i) {
      const Offset from = offsets[begin + i];
      const auto length = static_cast<size_t>(offsets[begin + i + 1] - from);
      if (length <= kShortBytes && sources[i].is_long && from <= last_short) {
        std::memcpy(out + from, sources[i].bytes, kShortBytes);
      } else if (length > 0) {
        std::memcpy(out + from, sources[i].bytes, length);
      }
    }
  }
}

template <typename Offset>
Result<std::shared_ptr<arrow::Array>> Text(const std::shared_ptr<arrow::DataType>& type, const Arrays& arrays,
                                           const Picks& picks, arrow::MemoryPool* pool) {
  int64_t nulls = 0;
  ARROW_ASSIGN_OR_RAISE(auto validity, Validity(arrays, picks, pool, &nulls));
  std::vector<TextView<Offset>> views;
  for (const auto& array : arrays) {
    const auto& data = *array->data();
    const auto& bytes = data.buffers[2];
    views.push_back({data.GetValues<Offset>(1), bytes ? bytes->data() : nullptr,
                     bytes ? bytes->data() + bytes->size() : nullptr});
  }
  const size_t rows = picks.count;
  ARROW_ASSIGN_OR_RAISE(auto offset_buffer,
                        NewBuffer(static_cast<int64_t>((rows + 1) * sizeof(Offset)), pool));
  auto* offsets = reinterpret_cast<Offset*>(offset_buffer->mutable_data());
  offsets[0] = 0;
  const bool by_stretch = !validity && (!picks.stretches.empty() || picks.rows.empty());
  ARROW_ASSIGN_OR_RAISE(const int64_t size,
                        by_stretch
                            ? PlaceStretches(views, picks.stretches, offsets)
                            : PlaceRows(views, picks.rows, validity ? validity->data() : nullptr, offsets));
  ARROW_ASSIGN_OR_RAISE(auto bytes, NewBuffer(size, pool));
  uint8_t* out = bytes->mutable_data();
  if (!by_stretch) {
    CopyRows(views, picks.rows, offsets, out);
  } else {
    for (const auto& [batch, row, count] : picks.stretches) {
      const auto& view = views[batch];
      const auto length = static_cast<size_t>(view.offsets[row + count] - view.offsets[row]);
      if (length > 0) std::memcpy(out, view.bytes + view.offsets[row], length);
      out += length;
    }
  }
  return arrow::MakeArray(
      arrow::ArrayData::Make(type, static_cast<int64_t>(rows), {validity, offset_buffer, bytes}, nulls));
}

// Texts, some of them as indices of dictionaries without nulls.
template <typename Offset>
struct CodedView {
  TextView<Offset> texts;
  const int32_t* indices = nullptr;  // null: values
};

template <typename Offset>
Result<std::vector<CodedView<Offset>>> CodedViews(const Arrays& arrays) {
  std::vector<CodedView<Offset>> views;
  for (const auto& array : arrays) {
    const auto* data = array->data().get();
    CodedView<Offset> view;
    if (data->type->id() == arrow::Type::DICTIONARY) {
      const auto& type = static_cast<const arrow::DictionaryType&>(*data->type);
      if (type.index_type()->id() != arrow::Type::INT32 || data->dictionary->GetNullCount() > 0)
        return BugError("texts are picked by indices that no reader makes: " + type.ToString());
      view.indices = data->GetValues<int32_t>(1);
      data = data->dictionary.get();
    }
    view.texts = {data->GetValues<Offset>(1), data->buffers[2] ? data->buffers[2]->data() : nullptr};
    views.push_back(view);
  }
  return views;
}

template <typename Offset>
Result<std::shared_ptr<arrow::Array>> CodedText(const std::shared_ptr<arrow::DataType>& type,
                                                const Arrays& arrays, const Picks& picks,
                                                arrow::MemoryPool* pool) {
  int64_t nulls = 0;
  ARROW_ASSIGN_OR_RAISE(auto validity, Validity(arrays, picks, pool, &nulls));
  ARROW_ASSIGN_OR_RAISE(const auto views, CodedViews<Offset>(arrays));
  const size_t rows = picks.count;
  ARROW_ASSIGN_OR_RAISE(auto offset_buffer,
                        NewBuffer(static_cast<int64_t>((rows + 1) * sizeof(Offset)), pool));
  auto* offsets = reinterpret_cast<Offset*>(offset_buffer->mutable_data());
  std::vector<const uint8_t*> sources(rows);
  int64_t size = 0;
  offsets[0] = 0;
  for (size_t i = 0; i < rows; ++i) {
    if (i + kAhead < rows) {
      const auto later = picks.rows[i + kAhead];
      if (views[later.batch].indices != nullptr) __builtin_prefetch(views[later.batch].indices + later.row);
    }
    const auto [batch, row] = picks.rows[i];
    if (!validity || arrow::bit_util::GetBit(validity->data(), static_cast<int64_t>(i))) {
      const auto& view = views[batch];
      const Offset* at = view.texts.offsets + (view.indices != nullptr ? view.indices[row] : int64_t{row});
      sources[i] = view.texts.bytes + at[0];
      size += at[1] - at[0];
    }
    if (size > std::numeric_limits<Offset>::max()) return TooMuchText();
    offsets[i + 1] = static_cast<Offset>(size);
  }
  ARROW_ASSIGN_OR_RAISE(auto bytes, NewBuffer(size, pool));
  for (size_t i = 0; i < rows; ++i) {
    const auto length = static_cast<size_t>(offsets[i + 1] - offsets[i]);
    if (length > 0) std::memcpy(bytes->mutable_data() + offsets[i], sources[i], length);
  }
  return arrow::MakeArray(
      arrow::ArrayData::Make(type, static_cast<int64_t>(rows), {validity, offset_buffer, bytes}, nulls));
}

bool AnyCoded(const Arrays& arrays) {
  return std::any_of(arrays.begin(), arrays.end(),
                     [](const auto& array) { return array->type_id() == arrow::Type::DICTIONARY; });
}

// Nested and rare types: a builder takes row after row.
Result<std::shared_ptr<arrow::Array>> Any(const std::shared_ptr<arrow::DataType>& type, const Arrays& arrays,
                                          const Picks& picks, arrow::MemoryPool* pool) {
  ARROW_ASSIGN_OR_RAISE(auto builder, arrow::MakeBuilder(type, pool));
  ARROW_RETURN_NOT_OK(builder->Reserve(static_cast<int64_t>(picks.count)));
  std::vector<arrow::ArraySpan> spans;
  spans.reserve(arrays.size());
  for (const auto& array : arrays) spans.emplace_back(*array->data());
  for (const auto pick : picks.rows)
    ARROW_RETURN_NOT_OK(builder->AppendArraySlice(spans[pick.batch], pick.row, 1));
  return builder->Finish();
}

bool IsText(const arrow::Array& array) { return arrow::is_base_binary_like(array.type_id()); }

Result<std::shared_ptr<arrow::Array>> Column(const std::shared_ptr<arrow::DataType>& type,
                                             const Arrays& arrays, const Picks& picks,
                                             arrow::MemoryPool* pool);

// Lists of texts or of values of one width, none of them null: what a list has stands in one piece.
template <typename ListType>
Result<std::shared_ptr<arrow::Array>> Lists(const std::shared_ptr<arrow::DataType>& type,
                                            const Arrays& arrays, const Picks& picks,
                                            arrow::MemoryPool* pool) {
  using Offset = typename ListType::offset_type;
  Arrays items;
  std::vector<const Offset*> views;
  for (const auto& array : arrays) {
    items.push_back(static_cast<const ListType&>(*array).values());
    views.push_back(array->data()->template GetValues<Offset>(1));
    if (items.back()->null_count() > 0 || !(IsText(*items.back()) || IsDense(*items.back())))
      return Any(type, arrays, picks, pool);
  }
  int64_t nulls = 0;
  ARROW_ASSIGN_OR_RAISE(auto validity, Validity(arrays, picks, pool, &nulls));
  ARROW_ASSIGN_OR_RAISE(auto buffer,
                        NewBuffer(static_cast<int64_t>((picks.count + 1) * sizeof(Offset)), pool));
  auto* offsets = reinterpret_cast<Offset*>(buffer->mutable_data());
  Picks behind(picks.count, 0);
  int64_t size = 0;
  offsets[0] = 0;
  for (size_t i = 0; i < picks.count; ++i) {
    const auto [batch, row] = picks.rows[i];
    const Offset* at = views[batch] + row;
    if (!validity || arrow::bit_util::GetBit(validity->data(), static_cast<int64_t>(i))) {
      behind.Add(batch, at[0], at[1] - at[0]);
      size += at[1] - at[0];
    }
    if (size > std::numeric_limits<Offset>::max())
      return Status::OutOfMemory("a block of lists would pass 2^31 values");
    offsets[i + 1] = static_cast<Offset>(size);
  }
  behind.count = static_cast<size_t>(size);
  const auto& item_type = static_cast<const arrow::BaseListType&>(*type).value_type();
  ARROW_ASSIGN_OR_RAISE(auto values, Column(item_type, items, behind, pool));
  return arrow::MakeArray(arrow::ArrayData::Make(type, static_cast<int64_t>(picks.count),
                                                 {std::move(validity), std::move(buffer)}, {values->data()},
                                                 nulls));
}

// Rows of one dictionary are picked as its indices.
Result<std::shared_ptr<arrow::Array>> Encoded(const std::shared_ptr<arrow::DataType>& type,
                                              const Arrays& arrays, const Picks& picks,
                                              arrow::MemoryPool* pool) {
  std::shared_ptr<arrow::ArrayData> dictionary;
  Arrays indices;
  for (const auto& array : arrays) {
    const auto& own = array->data()->dictionary;
    if (array->null_count() < array->length()) {
      if (dictionary && dictionary != own) return Any(type, arrays, picks, pool);
      dictionary = own;
    }
    indices.push_back(static_cast<const arrow::DictionaryArray&>(*array).indices());
  }
  if (!dictionary) return Any(type, arrays, picks, pool);
  const auto& index_type = static_cast<const arrow::DictionaryType&>(*type).index_type();
  ARROW_ASSIGN_OR_RAISE(const auto picked, Column(index_type, indices, picks, pool));
  auto data = picked->data()->Copy();
  data->type = type;
  data->dictionary = std::move(dictionary);
  return arrow::MakeArray(std::move(data));
}

Result<std::shared_ptr<arrow::Array>> Column(const std::shared_ptr<arrow::DataType>& type,
                                             const Arrays& arrays, const Picks& picks,
                                             arrow::MemoryPool* pool) {
  switch (type->id()) {
    case arrow::Type::NA:
      return std::make_shared<arrow::NullArray>(static_cast<int64_t>(picks.count));
    case arrow::Type::BOOL:
      return Booleans(arrays, picks, pool);
    case arrow::Type::STRING:
    case arrow::Type::BINARY:
      return AnyCoded(arrays) ? CodedText<int32_t>(type, arrays, picks, pool)
                              : Text<int32_t>(type, arrays, picks, pool);
    case arrow::Type::LARGE_STRING:
    case arrow::Type::LARGE_BINARY:
      return AnyCoded(arrays) ? CodedText<int64_t>(type, arrays, picks, pool)
                              : Text<int64_t>(type, arrays, picks, pool);
    case arrow::Type::EXTENSION: {
      Arrays storages;
      for (const auto& array : arrays)
        storages.push_back(static_cast<const arrow::ExtensionArray&>(*array).storage());
      const auto& extension = static_cast<const arrow::ExtensionType&>(*type);
      ARROW_ASSIGN_OR_RAISE(auto storage, Column(extension.storage_type(), storages, picks, pool));
      return arrow::ExtensionType::WrapArray(type, storage);
    }
    case arrow::Type::LIST:
      return Lists<arrow::ListArray>(type, arrays, picks, pool);
    case arrow::Type::LARGE_LIST:
      return Lists<arrow::LargeListArray>(type, arrays, picks, pool);
    case arrow::Type::DICTIONARY:
      return Encoded(type, arrays, picks, pool);
    default:
      break;
  }
  const bool dense =
      std::all_of(arrays.begin(), arrays.end(), [](const auto& array) { return IsDense(*array); });
  if (dense && !arrays.empty()) return Fixed(type, arrays, picks, pool);
  return Any(type, arrays, picks, pool);
}

}  // namespace

Result<std::shared_ptr<arrow::RecordBatch>> Interleave(
    const std::shared_ptr<arrow::Schema>& schema,
    std::span<const std::shared_ptr<arrow::RecordBatch>> batches, std::span<const RowPick> rows_picked,
    arrow::MemoryPool* pool) {
  // Rows of nulls are picked from one more batch, of one row.
  std::vector<RowPick> replaced;
  const bool nulls = std::find(rows_picked.begin(), rows_picked.end(), kNullRow) != rows_picked.end();
  if (nulls) {
    replaced.assign(rows_picked.begin(), rows_picked.end());
    for (auto& pick : replaced) {
      if (pick == kNullRow) pick = {static_cast<uint32_t>(batches.size()), 0};
    }
    rows_picked = replaced;
  }
  const Picks picks(rows_picked);
  arrow::ArrayVector columns;
  Arrays arrays(batches.size());
  for (int c = 0; c < schema->num_fields(); ++c) {
    const auto& type = schema->field(c)->type();
    arrays.resize(batches.size());
    for (size_t b = 0; b < batches.size(); ++b) arrays[b] = batches[b]->column(c);
    if (nulls) {
      ARROW_ASSIGN_OR_RAISE(auto null, arrow::MakeArrayOfNull(type, 1, pool));
      arrays.push_back(std::move(null));
    }
    ARROW_ASSIGN_OR_RAISE(auto column, Column(type, arrays, picks, pool));
    columns.push_back(std::move(column));
  }
  return arrow::RecordBatch::Make(schema, static_cast<int64_t>(picks.count), std::move(columns));
}

}  // namespace partita
