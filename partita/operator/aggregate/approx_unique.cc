// approx_n_unique: about how many different values a group has, in up to 4 KiB a group (HyperLogLog: P.
// Flajolet, É. Fusy, O. Gandouet, F. Meunier, 2007; the estimate after O. Ertl, "New cardinality estimation
// algorithms for HyperLogLog sketches", 2017, which needs no tables of measured corrections).
//
// A register holds the longest run of zeros that a hash of a value began with. That is a maximum: values in
// any order, twice, or through any number of states give the same registers and the same estimate.
#include <arrow/array.h>

#include <bit>
#include <cmath>

#include "partita/operator/aggregate/doubles.h"
#include "partita/operator/aggregate/kinds.h"
#include "partita/operator/aggregate/tables.h"
#include "partita/operator/aggregate/value_keys.h"

namespace partita {
namespace {

constexpr int kIndexBits = 12;
constexpr uint32_t kRegisters = 1 << kIndexBits;  // the standard error is 1.04 / sqrt(kRegisters)
constexpr int kMostRank = 64 - kIndexBits + 1;
constexpr uint32_t kMostEntries = 384;  // of a table, before registers are kept one by one

struct Register {
  uint32_t index;
  uint32_t rank;
};

Register RegisterOf(uint64_t hash) {
  const uint64_t rest = hash << kIndexBits | uint64_t{1} << (kIndexBits - 1);
  return {static_cast<uint32_t>(hash >> (64 - kIndexBits)),
          static_cast<uint32_t>(std::countl_zero(rest)) + 1};
}

double Sigma(double x) {
  if (x == 1) return std::numeric_limits<double>::infinity();
  double y = 1, z = x, before = -1;
  while (z != before) {
    x *= x;
    before = z;
    z += x * y;
    y += y;
  }
  return z;
}

double Tau(double x) {
  if (x == 0 || x == 1) return 0;
  double y = 1, z = 1 - x, before = -1;
  while (z != before) {
    x = std::sqrt(x);
    before = z;
    y *= 0.5;
    z -= (1 - x) * (1 - x) * y;
  }
  return z / 3;
}

// counts[r]: the registers that hold r.
int64_t Estimate(const std::array<uint32_t, kMostRank + 1>& counts) {
  constexpr double kAlpha = 0.721347520444481703680;  // 1 / (2 ln 2)
  constexpr double m = kRegisters;
  double z = m * Tau(1 - counts[kMostRank] / m);
  for (int rank = kMostRank - 1; rank >= 1; --rank) z = 0.5 * (z + counts[static_cast<size_t>(rank)]);
  z += m * Sigma(counts[0] / m);
  return static_cast<int64_t>(std::floor(kAlpha * m * m / z + 0.5));
}

class ApproxUnique final : public AggregateBase {
 public:
  explicit ApproxUnique(const AggregateInit& init)
      : AggregateBase(init.input, init.output, init.pool),
        few_(init.pool),
        places_(init.pool),
        registers_(init.pool),
        free_(init.pool) {}

  int64_t size_bytes() const override {
    return few_.size_bytes() + places_.size_bytes() + registers_.size_bytes() + free_.size_bytes();
  }
  // The registers of a group, or those that are not 0: index << 8 | rank, 32 bits each.
  Types state_types() const override { return {arrow::binary()}; }

 protected:
  Status Grow(uint32_t num_groups) override {
    ARROW_RETURN_NOT_OK(few_.Grow(num_groups));
    return places_.Resize(num_groups);
  }

  // Where memory is refused some values are in already: to take them again changes nothing.
  Status Add(const arrow::Array* column, Groups groups) override {
    ARROW_ASSIGN_OR_RAISE(const RowKeys keys, EncodeValues(*column, pool_.get()));
    for (size_t i = 0; i < groups.size(); ++i) {
      const auto row = static_cast<int64_t>(i);
      if (!IsValue(keys, row)) continue;
      ARROW_RETURN_NOT_OK(Raise(groups[i], RegisterOf(HashKey(keys.prefix(row), keys.whole(row)))));
    }
    return Status::OK();
  }

  Result<Arrays> States(Groups groups, arrow::MemoryPool* pool) override {
    const auto size_of = [&](int64_t i) {
      const uint32_t group = groups[static_cast<size_t>(i)];
      return places_[group] != 0 ? size_t{kRegisters} : few_.size(group) * sizeof(uint32_t);
    };
    const auto write = [&](int64_t i, uint8_t* out) {
      const uint32_t group = groups[static_cast<size_t>(i)];
      if (places_[group] != 0) {
        std::memcpy(out, RegistersOf(group), kRegisters);
        return;
      }
      few_.ForEach(group, [&](uint32_t entry) {
        const uint32_t word = (Few::KeyOf(entry) - 1) << 8 | Few::ValueOf(entry);
        std::memcpy(out, &word, sizeof word);
        out += sizeof word;
      });
    };
    ARROW_ASSIGN_OR_RAISE(auto states,
                          BuildBinary(static_cast<int64_t>(groups.size()), size_of, write, pool));
    return Arrays{std::move(states)};
  }

  Status AddStates(const Arrays& states, Groups groups) override {
    const auto& lists = static_cast<const arrow::BinaryArray&>(*states[0]);
    for (size_t i = 0; i < groups.size(); ++i) {
      const auto list = lists.GetView(static_cast<int64_t>(i));
      if (list.size() == kRegisters) {
        for (uint32_t index = 0; index < kRegisters; ++index) {
          const auto rank = static_cast<uint8_t>(list[index]);
          if (rank > 0) ARROW_RETURN_NOT_OK(RaiseChecked(groups[i], {index, rank}));
        }
        continue;
      }
      for (size_t at = 0; at + sizeof(uint32_t) <= list.size(); at += sizeof(uint32_t)) {
        uint32_t word = 0;
        std::memcpy(&word, list.data() + at, sizeof word);
        ARROW_RETURN_NOT_OK(RaiseChecked(groups[i], {word >> 8, word & 0xff}));
      }
    }
    return Status::OK();
  }

  Result<ArrayPtr> Make(uint32_t count, arrow::MemoryPool* pool) override {
    return BuildArray<int64_t>(
        output_, count, pool,
        [&](int64_t g) {
          const auto group = static_cast<uint32_t>(g);
          std::array<uint32_t, kMostRank + 1> counts = {};
          if (places_[group] != 0) {
            for (uint32_t i = 0; i < kRegisters; ++i) ++counts[RegistersOf(group)[i]];
          } else {
            counts[0] = kRegisters - few_.size(group);
            few_.ForEach(group, [&](uint32_t entry) { ++counts[Few::ValueOf(entry)]; });
          }
          return Estimate(counts);
        },
        [](int64_t) { return false; });
  }

  void Forget(uint32_t count) override {
    few_.Forget(count);
    for (uint32_t group = 0; group < count; ++group) {
      if (places_[group] != 0) free_.PushBack(places_[group]);  // there is room: as for all registers
    }
    places_.DropFront(count);
  }

 private:
  using Few = GroupTables<uint32_t, 8>;

  uint8_t* RegistersOf(uint32_t group) {
    return registers_.begin() + size_t{places_[group] - 1} * kRegisters;
  }

  Status RaiseChecked(uint32_t group, Register value) {
    if (value.index >= kRegisters || value.rank == 0 || value.rank > kMostRank)
      return BugError("a state of approx_n_unique has a register that there is not");
    return Raise(group, value);
  }

  Status Raise(uint32_t group, Register value) {
    if (places_[group] != 0) {
      uint8_t& rank = RegistersOf(group)[value.index];
      rank = std::max(rank, static_cast<uint8_t>(value.rank));
      return Status::OK();
    }
    ARROW_ASSIGN_OR_RAISE(uint32_t* const entry, few_.FindOrAdd(group, value.index + 1));
    if (Few::ValueOf(*entry) < value.rank) *entry = (value.index + 1) << 8 | value.rank;
    return few_.size(group) > kMostEntries ? Spread(group) : Status::OK();
  }

  // From a table of the registers that are not 0 to all of them.
  Status Spread(uint32_t group) {
    uint32_t place = 0;
    if (free_.size() > 0) {
      place = free_[free_.size() - 1];
      free_.SetSize(free_.size() - 1);
    } else {
      const size_t blocks = registers_.size() / kRegisters;
      ARROW_RETURN_NOT_OK(free_.Reserve(blocks + 1));
      ARROW_RETURN_NOT_OK(registers_.Reserve(registers_.size() + kRegisters));
      registers_.SetSize(registers_.size() + kRegisters);
      place = static_cast<uint32_t>(blocks) + 1;
    }
    places_[group] = place;
    uint8_t* registers = RegistersOf(group);
    std::fill_n(registers, kRegisters, uint8_t{0});
    few_.ForEach(group, [&](uint32_t entry) {
      registers[Few::KeyOf(entry) - 1] = static_cast<uint8_t>(Few::ValueOf(entry));
    });
    few_.Clear(group);
    return Status::OK();
  }

  Few few_;                       // by group: 1 + the index and the rank of registers that are not 0
  GroupVector<uint32_t> places_;  // by group: 1 + the place of all its registers; 0: they are few
  GroupVector<uint8_t> registers_;
  GroupVector<uint32_t> free_;  // places that finished groups have left
};

}  // namespace

AggregatePtr MakeApproxUnique(const AggregateInit& init) { return std::make_unique<ApproxUnique>(init); }

}  // namespace partita
