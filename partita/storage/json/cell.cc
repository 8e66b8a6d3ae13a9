#include "partita/storage/json/cell.h"

#include <arrow/array.h>
#include <arrow/array/array_run_end.h>
#include <arrow/type_traits.h>
#include <arrow/util/decimal.h>
#include <arrow/util/float16.h>
#include <arrow/visit_type_inline.h>

#include "partita/block/schema.h"
#include "partita/storage/text/scalar_text.h"

namespace partita {
namespace {

// Base of writers of one array type.
template <typename ArrayType>
class TypedWriter : public JsonCellWriter {
 public:
  explicit TypedWriter(const std::shared_ptr<arrow::Array>& array)
      : array_(std::static_pointer_cast<ArrayType>(array)) {}
  bool IsNull(int64_t row) const override { return array_->IsNull(row); }
  void Write(int64_t row, TextSink* out) const final {
    if (array_->IsNull(row)) {
      out->Append("null");
    } else {
      WriteValue(row, out);
    }
  }

 protected:
  virtual void WriteValue(int64_t row, TextSink* out) const = 0;
  std::shared_ptr<ArrayType> array_;
};

class NullWriter final : public JsonCellWriter {
 public:
  void Write(int64_t, TextSink* out) const override { out->Append("null"); }
  bool IsNull(int64_t) const override { return true; }
};

class BoolWriter final : public TypedWriter<arrow::BooleanArray> {
 public:
  using TypedWriter::TypedWriter;
  void WriteValue(int64_t row, TextSink* out) const override {
    out->Append(array_->Value(row) ? "true" : "false");
  }
};

template <typename ArrayType>
class NumberWriter final : public TypedWriter<ArrayType> {
 public:
  using TypedWriter<ArrayType>::TypedWriter;
  void WriteValue(int64_t row, TextSink* out) const override { Number(row, true, out); }
  void WriteText(int64_t row, TextSink* out) const override { Number(row, false, out); }

 private:
  void Number(int64_t row, bool quoted, TextSink* out) const {
    if constexpr (std::is_same_v<ArrayType, arrow::HalfFloatArray>) {
      WriteFloat(arrow::util::Float16::FromBits(this->array_->Value(row)).ToFloat(), quoted, out);
    } else if constexpr (std::is_floating_point_v<typename ArrayType::value_type>) {
      WriteFloat(this->array_->Value(row), quoted, out);
    } else {
      using Wide = std::conditional_t<std::is_unsigned_v<typename ArrayType::value_type>, uint64_t, int64_t>;
      WriteInteger(static_cast<Wide>(this->array_->Value(row)), out);
    }
  }
};

template <typename ArrayType, typename Decimal>
class DecimalWriter final : public TypedWriter<ArrayType> {
 public:
  explicit DecimalWriter(const std::shared_ptr<arrow::Array>& array)
      : TypedWriter<ArrayType>(array),
        scale_(static_cast<const arrow::DecimalType&>(*array->type()).scale()) {}
  void WriteValue(int64_t row, TextSink* out) const override {
    out->Append(Decimal(this->array_->GetValue(row)).ToString(scale_));
  }

 private:
  int32_t scale_;
};

template <typename ArrayType>
class StringWriter final : public TypedWriter<ArrayType> {
 public:
  using TypedWriter<ArrayType>::TypedWriter;
  void WriteValue(int64_t row, TextSink* out) const override {
    WriteJsonString(this->array_->GetView(row), out);
  }
  void WriteText(int64_t row, TextSink* out) const override { out->Append(this->array_->GetView(row)); }
};

template <typename ArrayType>
class BinaryWriter final : public TypedWriter<ArrayType> {
 public:
  using TypedWriter<ArrayType>::TypedWriter;
  void WriteValue(int64_t row, TextSink* out) const override {
    out->Append('"');
    WriteBase64(this->array_->GetView(row), out);
    out->Append('"');
  }
  void WriteText(int64_t row, TextSink* out) const override { out->Append(this->array_->GetView(row)); }
  void WriteCell(int64_t row, TextSink* out) const override { WriteBase64(this->array_->GetView(row), out); }
};

// Dates, times and timestamps: text in quotes.
template <typename ArrayType>
class TimeWriter final : public TypedWriter<ArrayType> {
 public:
  using TypedWriter<ArrayType>::TypedWriter;
  void WriteValue(int64_t row, TextSink* out) const override {
    out->Append('"');
    WriteText(row, out);
    out->Append('"');
  }
  void WriteText(int64_t row, TextSink* out) const override {
    const auto& type = *this->array_->type();
    const int64_t value = this->array_->Value(row);
    if constexpr (std::is_same_v<ArrayType, arrow::TimestampArray>) {
      WriteTimestamp(value, static_cast<const arrow::TimestampType&>(type), out);
    } else if constexpr (std::is_same_v<ArrayType, arrow::Date32Array>) {
      WriteDate(value, out);
    } else if constexpr (std::is_same_v<ArrayType, arrow::Date64Array>) {
      constexpr int64_t kMillisPerDay = 86400000;
      WriteDate(value / kMillisPerDay - (value % kMillisPerDay < 0), out);
    } else {
      WriteTimeOfDay(value, ScaleOf(static_cast<const arrow::TimeType&>(type).unit()), out);
    }
  }
};

class DayTimeWriter final : public TypedWriter<arrow::DayTimeIntervalArray> {
 public:
  using TypedWriter::TypedWriter;
  void WriteValue(int64_t row, TextSink* out) const override {
    const auto value = array_->GetValue(row);
    out->Append("{\"days\":");
    WriteInteger(int64_t{value.days}, out);
    out->Append(",\"milliseconds\":");
    WriteInteger(int64_t{value.milliseconds}, out);
    out->Append('}');
  }
};

class MonthDayNanoWriter final : public TypedWriter<arrow::MonthDayNanoIntervalArray> {
 public:
  using TypedWriter::TypedWriter;
  void WriteValue(int64_t row, TextSink* out) const override {
    const auto value = array_->GetValue(row);
    out->Append("{\"months\":");
    WriteInteger(int64_t{value.months}, out);
    out->Append(",\"days\":");
    WriteInteger(int64_t{value.days}, out);
    out->Append(",\"nanoseconds\":");
    WriteInteger(int64_t{value.nanoseconds}, out);
    out->Append('}');
  }
};

using Child = std::unique_ptr<JsonCellWriter>;

template <typename ArrayType>
class ListWriter final : public TypedWriter<ArrayType> {
 public:
  ListWriter(const std::shared_ptr<arrow::Array>& array, Child values)
      : TypedWriter<ArrayType>(array), values_(std::move(values)) {}
  void WriteValue(int64_t row, TextSink* out) const override {
    const int64_t begin = this->array_->value_offset(row), end = begin + this->array_->value_length(row);
    out->Append('[');
    for (int64_t i = begin; i < end; ++i) {
      if (i > begin) out->Append(',');
      values_->Write(i, out);
    }
    out->Append(']');
  }

 private:
  Child values_;
};

class MapWriter final : public TypedWriter<arrow::MapArray> {
 public:
  MapWriter(const std::shared_ptr<arrow::Array>& array, Child keys, Child values, bool text_keys)
      : TypedWriter(array), keys_(std::move(keys)), values_(std::move(values)), text_keys_(text_keys) {}
  void WriteValue(int64_t row, TextSink* out) const override {
    const int64_t begin = array_->value_offset(row), end = begin + array_->value_length(row);
    out->Append(text_keys_ ? '{' : '[');
    for (int64_t i = begin; i < end; ++i) {
      if (i > begin) out->Append(',');
      if (!text_keys_) out->Append('[');
      keys_->Write(i, out);
      out->Append(text_keys_ ? ':' : ',');
      values_->Write(i, out);
      if (!text_keys_) out->Append(']');
    }
    out->Append(text_keys_ ? '}' : ']');
  }

 private:
  Child keys_, values_;
  bool text_keys_;
};

class StructWriter final : public TypedWriter<arrow::StructArray> {
 public:
  StructWriter(const std::shared_ptr<arrow::Array>& array, std::vector<Child> fields)
      : TypedWriter(array), fields_(std::move(fields)) {}
  void WriteValue(int64_t row, TextSink* out) const override {
    const auto& type = static_cast<const arrow::StructType&>(*array_->type());
    out->Append('{');
    for (size_t i = 0; i < fields_.size(); ++i) {
      if (i > 0) out->Append(',');
      WriteJsonString(type.field(static_cast<int>(i))->name(), out);
      out->Append(':');
      fields_[i]->Write(row, out);
    }
    out->Append('}');
  }

 private:
  std::vector<Child> fields_;
};

// Arrays whose values are elsewhere: dictionary, run-end encoded, union.
template <typename Locate>
class IndirectWriter final : public JsonCellWriter {
 public:
  IndirectWriter(std::vector<Child> children, Locate locate)
      : children_(std::move(children)), locate_(std::move(locate)) {}
  bool IsNull(int64_t row) const override {
    const auto [child, index] = locate_(row);
    return child < 0 || children_[static_cast<size_t>(child)]->IsNull(index);
  }
  void Write(int64_t row, TextSink* out) const override {
    const auto [child, index] = locate_(row);
    if (child < 0) {
      out->Append("null");
    } else {
      children_[static_cast<size_t>(child)]->Write(index, out);
    }
  }
  void WriteText(int64_t row, TextSink* out) const override {
    const auto [child, index] = locate_(row);
    if (child >= 0) children_[static_cast<size_t>(child)]->WriteText(index, out);
  }
  void WriteCell(int64_t row, TextSink* out) const override {
    const auto [child, index] = locate_(row);
    if (child >= 0) children_[static_cast<size_t>(child)]->WriteCell(index, out);
  }

 private:
  std::vector<Child> children_;
  Locate locate_;
};

using Place = std::pair<int, int64_t>;  // child (-1: null), index in it

template <typename Locate>
std::unique_ptr<JsonCellWriter> MakeIndirect(std::vector<Child> children, Locate locate) {
  return std::make_unique<IndirectWriter<Locate>>(std::move(children), std::move(locate));
}

struct MakeWriter {
  const std::shared_ptr<arrow::Array>& array;
  std::unique_ptr<JsonCellWriter> out;

  template <typename Writer, typename... Args>
  Status Set(Args&&... args) {
    out = std::make_unique<Writer>(array, std::forward<Args>(args)...);
    return Status::OK();
  }
  Status Visit(const arrow::NullType&) {
    out = std::make_unique<NullWriter>();
    return Status::OK();
  }
  Status Visit(const arrow::BooleanType&) { return Set<BoolWriter>(); }
  template <typename Type>
  std::enable_if_t<arrow::is_number_type<Type>::value || std::is_same_v<Type, arrow::DurationType> ||
                       std::is_same_v<Type, arrow::MonthIntervalType>,
                   Status>
  Visit(const Type&) {
    return Set<NumberWriter<typename arrow::TypeTraits<Type>::ArrayType>>();
  }
  template <typename Type>
  std::enable_if_t<arrow::is_date_type<Type>::value || arrow::is_time_type<Type>::value ||
                       std::is_same_v<Type, arrow::TimestampType>,
                   Status>
  Visit(const Type&) {
    return Set<TimeWriter<typename arrow::TypeTraits<Type>::ArrayType>>();
  }
  Status Visit(const arrow::DayTimeIntervalType&) { return Set<DayTimeWriter>(); }
  Status Visit(const arrow::MonthDayNanoIntervalType&) { return Set<MonthDayNanoWriter>(); }
  template <typename Type>
  arrow::enable_if_decimal<Type, Status> Visit(const Type&) {
    using Array = typename arrow::TypeTraits<Type>::ArrayType;
    return Set<DecimalWriter<Array, typename arrow::TypeTraits<Type>::CType>>();
  }
  template <typename Type>
  std::enable_if_t<arrow::is_base_binary_type<Type>::value || arrow::is_binary_view_like_type<Type>::value,
                   Status>
  Visit(const Type&) {
    using Array = typename arrow::TypeTraits<Type>::ArrayType;
    if constexpr (Type::is_utf8) return Set<StringWriter<Array>>();
    return Set<BinaryWriter<Array>>();
  }
  Status Visit(const arrow::FixedSizeBinaryType&) { return Set<BinaryWriter<arrow::FixedSizeBinaryArray>>(); }
  template <typename Type>
  std::enable_if_t<arrow::is_list_like_type<Type>::value || arrow::is_list_view_type<Type>::value, Status>
  Visit(const Type&) {
    using Array = typename arrow::TypeTraits<Type>::ArrayType;
    ARROW_ASSIGN_OR_RAISE(auto values, JsonCellWriter::Make(static_cast<const Array&>(*array).values()));
    return Set<ListWriter<Array>>(std::move(values));
  }
  Status Visit(const arrow::MapType& type) {
    const auto& map = static_cast<const arrow::MapArray&>(*array);
    ARROW_ASSIGN_OR_RAISE(auto keys, JsonCellWriter::Make(map.keys()));
    ARROW_ASSIGN_OR_RAISE(auto values, JsonCellWriter::Make(map.items()));
    const arrow::Type::type key = type.key_type()->id();
    const bool text_keys = arrow::is_string(key) || key == arrow::Type::STRING_VIEW;
    return Set<MapWriter>(std::move(keys), std::move(values), text_keys);
  }
  Status Visit(const arrow::StructType&) {
    const auto& structs = static_cast<const arrow::StructArray&>(*array);
    std::vector<Child> fields;
    for (int i = 0; i < structs.num_fields(); ++i) {
      ARROW_ASSIGN_OR_RAISE(auto field, JsonCellWriter::Make(structs.field(i)));  // sliced like the array
      fields.push_back(std::move(field));
    }
    return Set<StructWriter>(std::move(fields));
  }
  Status Visit(const arrow::DictionaryType&) {
    auto dictionary = std::static_pointer_cast<arrow::DictionaryArray>(array);
    std::vector<Child> children(1);
    ARROW_ASSIGN_OR_RAISE(children[0], JsonCellWriter::Make(dictionary->dictionary()));
    out = MakeIndirect(std::move(children), [dictionary](int64_t row) {
      return dictionary->IsNull(row) ? Place(-1, 0) : Place(0, dictionary->GetValueIndex(row));
    });
    return Status::OK();
  }
  Status Visit(const arrow::RunEndEncodedType&) {
    auto runs = std::static_pointer_cast<arrow::RunEndEncodedArray>(array);
    std::vector<Child> children(1);
    ARROW_ASSIGN_OR_RAISE(children[0], JsonCellWriter::Make(runs->values()));
    out = MakeIndirect(std::move(children), [runs](int64_t row) {
      const auto& ends = *runs->run_ends();
      const int64_t logical = row + runs->offset();
      int64_t low = 0, high = ends.length();
      while (low < high) {
        const int64_t middle = (low + high) / 2;
        int64_t end = 0;
        if (ends.type_id() == arrow::Type::INT16)
          end = static_cast<const arrow::Int16Array&>(ends).Value(middle);
        if (ends.type_id() == arrow::Type::INT32)
          end = static_cast<const arrow::Int32Array&>(ends).Value(middle);
        if (ends.type_id() == arrow::Type::INT64)
          end = static_cast<const arrow::Int64Array&>(ends).Value(middle);
        if (end > logical) {
          high = middle;
        } else {
          low = middle + 1;
        }
      }
      return Place(0, low);
    });
    return Status::OK();
  }
  template <typename Type>
  arrow::enable_if_union<Type, Status> Visit(const Type&) {
    auto unions = std::static_pointer_cast<arrow::UnionArray>(array);
    std::vector<Child> children;
    for (int i = 0; i < unions->num_fields(); ++i) {
      ARROW_ASSIGN_OR_RAISE(auto child, JsonCellWriter::Make(unions->field(i)));
      children.push_back(std::move(child));
    }
    out = MakeIndirect(std::move(children), [unions](int64_t row) {
      const int child = unions->child_id(row);
      if constexpr (std::is_same_v<Type, arrow::DenseUnionType>) {
        return Place(child, static_cast<const arrow::DenseUnionArray&>(*unions).value_offset(row));
      } else {
        return Place(child, row);
      }
    });
    return Status::OK();
  }
  Status Visit(const arrow::ExtensionType&) {
    ARROW_ASSIGN_OR_RAISE(out,
                          JsonCellWriter::Make(static_cast<const arrow::ExtensionArray&>(*array).storage()));
    return Status::OK();
  }
  Status Visit(const arrow::DataType& type) {
    return UserError("a column of type " + TypeToString(type) + " cannot be written as text",
                     "cast or drop it");
  }
};

}  // namespace

Result<std::unique_ptr<JsonCellWriter>> JsonCellWriter::Make(const std::shared_ptr<arrow::Array>& array) {
  MakeWriter make{array, nullptr};
  ARROW_RETURN_NOT_OK(arrow::VisitTypeInline(*array->type(), &make));
  return std::move(make.out);
}

}  // namespace partita
