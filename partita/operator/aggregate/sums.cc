#include "partita/operator/aggregate/sums.h"

#include <arrow/array.h>

#include <cmath>
#include <limits>

namespace partita {
namespace {

// Takes rounded parts off `sum` until nothing is left or `parts` are full; the number of parts.
size_t Split(ExactSum sum, double* parts, size_t max_parts) {
  size_t count = 0;
  while (count < max_parts) {
    const double part = sum.Round();
    if (part == 0) break;
    parts[count++] = part;
    if (!std::isfinite(part)) break;
    sum.Add(-part);
  }
  return count;
}

void AddProduct(ExactSum* sum, double a, double b) {
  const DoublePair product = TwoProduct(a, b);
  sum->Add(product.hi);
  sum->Add(product.lo);
}

}  // namespace

SumParts PartsOf(const ExactSum& sum) {
  SumParts parts = {};
  Split(sum, parts.data(), parts.size());
  return parts;
}

Status ExactSums::Reserve(size_t additions) {
  if (residuals_.size() + additions <= residuals_.capacity()) return Status::OK();
  Fold();
  // Twice as much, so that a list that stays long is not folded all the time.
  const size_t least = residuals_.size() + additions;
  if (2 * residuals_.size() + additions > residuals_.capacity()) {
    if (residuals_.Reserve(2 * residuals_.size() + additions).ok()) return Status::OK();
    return residuals_.Reserve(least);
  }
  return Status::OK();
}

DoublePair ExactSums::AddSlowly(uint32_t group, DoublePair pair, double x) {
  const DoublePair sum = TwoSum(pair.hi, x);
  const DoublePair low = TwoSum(pair.lo, sum.lo);
  if (!std::isfinite(sum.hi) || !std::isfinite(low.hi)) {
    residuals_.PushBack({group, x});
    return pair;
  }
  // hi may have taken too little of the sum: lo has room again after it is made the rounding error of hi.
  DoublePair result = TwoSum(sum.hi, low.hi);
  const DoublePair rest = TwoSum(result.lo, low.lo);
  if (!std::isfinite(result.hi)) {
    residuals_.PushBack({group, x});
    return pair;
  }
  if (rest.lo == 0) {
    result.lo = rest.hi;
  } else {
    residuals_.PushBack({group, low.lo});
  }
  return result;
}

void ExactSums::Fold() {
  const auto before = [](const Residual& a, const Residual& b) { return a.group < b.group; };
  if (!std::is_sorted(residuals_.begin(), residuals_.end(), before)) {
    std::sort(residuals_.begin(), residuals_.end(), before);
  }
  size_t kept = 0;
  for (size_t begin = 0; begin < residuals_.size();) {
    const uint32_t group = residuals_[begin].group;
    size_t end = begin;
    while (end < residuals_.size() && residuals_[end].group == group) ++end;
    constexpr size_t kMaxParts = 48;  // the range of doubles is 2098 bits
    double parts[kMaxParts];
    const size_t room = std::min(end - begin, kMaxParts);
    ExactSum sum;
    bool finite = true;
    for (size_t i = begin; i < end; ++i) {
      sum.Add(residuals_[i].value);
      finite = finite && std::isfinite(residuals_[i].value);
    }
    size_t count = Split(sum, parts, room);
    for (size_t i = 0; i < count; ++i) sum.Add(-parts[i]);
    const bool whole = finite ? sum.Round() == 0 : true;
    // A sum past the range of doubles, or one of more parts than there were: the list stays as it is.
    const bool folded = whole && (!finite || count == 0 || std::isfinite(parts[0]));
    for (size_t i = 0; i < (folded ? count : end - begin); ++i) {
      residuals_[kept] = folded ? Residual{group, parts[i]} : residuals_[begin + i];
      ++kept;
    }
    begin = end;
  }
  residuals_.SetSize(kept);
}

SumParts ExactSums::PartsOf(uint32_t group, size_t* next_residual) const {
  SumParts parts = {};
  const DoublePair pair = pairs_[group];
  size_t& next = *next_residual;
  if (next == residuals_.size() || residuals_[next].group != group) {
    const DoublePair sum = TwoSum(pair.hi, pair.lo);
    parts[0] = sum.hi;
    if (std::isfinite(sum.hi)) parts[1] = sum.lo;
    return parts;
  }
  ExactSum sum;
  sum.Add(pair.hi);
  sum.Add(pair.lo);
  for (; next < residuals_.size() && residuals_[next].group == group; ++next) sum.Add(residuals_[next].value);
  return partita::PartsOf(sum);
}

size_t ExactSums::FirstResidual(uint32_t group) const {
  const auto at = std::partition_point(residuals_.begin(), residuals_.end(),
                                       [&](const Residual& residual) { return residual.group < group; });
  return static_cast<size_t>(at - residuals_.begin());
}

void ExactSums::AddStateTypes(std::vector<std::shared_ptr<arrow::DataType>>* types) {
  types->push_back(arrow::fixed_size_binary(sizeof(DoublePair)));
  types->push_back(arrow::binary());
}

Status ExactSums::Export(std::span<const uint32_t> groups, arrow::MemoryPool* pool,
                         std::vector<std::shared_ptr<arrow::Array>>* states) {
  Fold();
  ARROW_ASSIGN_OR_RAISE(auto pairs,
                        GatherStates(arrow::fixed_size_binary(sizeof(DoublePair)), pairs_, groups, pool));
  const auto rows = static_cast<int64_t>(groups.size());
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> offset_buffer,
                        arrow::AllocateBuffer((rows + 1) * static_cast<int64_t>(sizeof(int32_t)), pool));
  auto* offsets = reinterpret_cast<int32_t*>(offset_buffer->mutable_data());
  std::memset(offsets, 0, static_cast<size_t>(offset_buffer->size()));
  int64_t bytes = 0;
  if (residuals_.size() > 0) {
    for (size_t i = 0; i < groups.size(); ++i) {
      for (size_t r = FirstResidual(groups[i]); r < residuals_.size() && residuals_[r].group == groups[i];
           ++r)
        bytes += static_cast<int64_t>(sizeof(double));
      if (bytes > std::numeric_limits<int32_t>::max()) return OutOfMemoryError("states of more than 2 GiB");
      offsets[i + 1] = static_cast<int32_t>(bytes);
    }
  }
  ARROW_ASSIGN_OR_RAISE(std::shared_ptr<arrow::Buffer> data, arrow::AllocateBuffer(bytes, pool));
  for (size_t i = 0; bytes > 0 && i < groups.size(); ++i) {
    uint8_t* out = data->mutable_data() + offsets[i];
    size_t r = FirstResidual(groups[i]);
    for (; out < data->data() + offsets[i + 1]; ++r, out += sizeof(double))
      std::memcpy(out, &residuals_[r].value, sizeof(double));
  }
  states->push_back(std::move(pairs));
  states->push_back(std::make_shared<arrow::BinaryArray>(rows, std::move(offset_buffer), std::move(data)));
  return Status::OK();
}

Status ExactSums::ReserveFor(const arrow::Array& residuals, std::span<const uint32_t> groups) {
  const auto& typed = static_cast<const arrow::BinaryArray&>(residuals);
  return Reserve(2 * groups.size() + static_cast<size_t>(typed.total_values_length()) / sizeof(double));
}

void ExactSums::Merge(const arrow::Array& pairs, const arrow::Array& residuals,
                      std::span<const uint32_t> groups) {
  const StateColumn<DoublePair> read(pairs);
  const auto& typed = static_cast<const arrow::BinaryArray&>(residuals);
  const bool any = typed.total_values_length() > 0;
  for (size_t i = 0; i < groups.size(); ++i) {
    const uint32_t group = groups[i];
    const DoublePair other = read[i];
    pairs_[group] = Add(group, Add(group, pairs_[group], other.hi), other.lo);
    if (!any) continue;
    const std::string_view rest = typed.GetView(static_cast<int64_t>(i));
    for (size_t at = 0; at + sizeof(double) <= rest.size(); at += sizeof(double)) {
      double value = 0;
      std::memcpy(&value, rest.data() + at, sizeof(double));
      residuals_.PushBack({group, value});
    }
  }
}

void ExactSums::Forget(uint32_t count) {
  pairs_.DropFront(count);
  size_t kept = 0;
  for (size_t i = 0; i < residuals_.size(); ++i) {
    if (residuals_[i].group >= count) residuals_[kept++] = {residuals_[i].group - count, residuals_[i].value};
  }
  residuals_.SetSize(kept);
}

double SampleVariance(const SumParts& sum, const SumParts& squares, int64_t n) {
  if (squares[0] == 0) return 0;
  if (!std::isfinite(sum[0]) || !std::isfinite(squares[0])) return std::numeric_limits<double>::quiet_NaN();
  // Scaled by a power of two, so that products neither overflow nor underflow.
  const int scale = std::ilogb(squares[0]) / 2;
  const auto count = static_cast<double>(n);
  ExactSum numerator;
  for (const double part : squares) AddProduct(&numerator, count, std::ldexp(part, -2 * scale));
  for (const double a : sum) {
    for (const double b : sum) AddProduct(&numerator, std::ldexp(-a, -scale), std::ldexp(b, -scale));
  }
  const double variance = std::max(numerator.Round(), 0.0) / (count * (count - 1));
  return std::ldexp(variance, 2 * scale);
}

double SampleCovariance(const SumParts& x, const SumParts& y, const SumParts& products, int64_t n) {
  const auto count = static_cast<double>(n);
  ExactSum numerator;
  for (const double part : products) AddProduct(&numerator, count, part);
  for (const double a : x) {
    for (const double b : y) AddProduct(&numerator, -a, b);
  }
  return numerator.Round() / (count * (count - 1));
}

}  // namespace partita
