// plan + snapshot -> partitions of a scan stage. The rule is in the source's args (sources.h).
#include <arrow/scalar.h>
#include <arrow/type.h>

#include <algorithm>
#include <utility>

#include "partita/base/json.h"
#include "partita/base/units.h"
#include "partita/compile/compile.h"
#include "partita/compile/sources.h"
#include "partita/storage/format.h"

namespace partita {
namespace {

// Coordinator state is proportional to partitions: beyond this, the pipeline asks for something it does not
// mean.
constexpr int64_t kMaxPartitions = 4 << 20;
constexpr int64_t kDefaultRangeRows = 1 << 20;
// Whole files as rows ("files") are gathered in partitions up to the first of the two, unless rows are asked
// for.
constexpr int64_t kGroupBytes = 64 << 20;
constexpr int64_t kGroupFiles = 1000;

// No Hive value of a file can satisfy the pushed filter: it is no partition at all. (Row groups are the
// reader's business.)
class HiveFilter {
 public:
  static Result<HiveFilter> Make(const PlanSource& source, const SourceSnapshot& snapshot) {
    HiveFilter filter;
    if (source.filter.is_null() || snapshot.partition_columns.empty()) return filter;
    ARROW_ASSIGN_OR_RAISE(filter.predicate_, Expression::FromJson(source.filter));
    filter.schema_ = source.schema;
    for (const auto& column : snapshot.partition_columns) {
      if (auto field = source.schema->GetFieldByName(column)) filter.columns_.push_back(std::move(field));
    }
    return filter;
  }

  bool MayMatch(const FileEntry& file) const {
    if (columns_.empty()) return true;
    std::vector<ColumnRange> ranges;
    for (const auto& field : columns_) {
      for (const auto& [name, value] : file.partition_values) {
        if (name == field->name()) ranges.push_back(RangeOf(*field, value));
      }
    }
    return MaySatisfy(predicate_, *schema_, ranges);
  }

 private:
  static ColumnRange RangeOf(const arrow::Field& field, const std::string& value) {
    ColumnRange range;
    range.column = field.name();
    range.all_null = range.has_nulls = value.empty();
    if (value.empty()) return range;
    auto scalar = arrow::Scalar::Parse(field.type(), value);
    // A value of another type is the reader's error to report, with the file's name.
    if (scalar.ok()) range.min = range.max = *scalar;
    return range;
  }

  Expression predicate_;
  std::shared_ptr<arrow::Schema> schema_;
  arrow::FieldVector columns_;
};

Status TooMany(int64_t partitions) {
  return UserError("the source would be cut in " + FormatCount(partitions) + " partitions, at most " +
                       FormatCount(kMaxPartitions) + " are possible",
                   "set a larger rows_per_partition or partition_bytes");
}

class FilePartitions {
 public:
  FilePartitions(const PlanSource& source, const SourceSnapshot& snapshot)
      : source_(source), snapshot_(snapshot) {}

  Result<std::vector<Partition>> Run() {
    format_ = FindFormat(source_.format);
    if (format_ == nullptr) return BugError("there is no format '" + source_.format + "'");
    ARROW_ASSIGN_OR_RAISE(const auto hive, HiveFilter::Make(source_, snapshot_));
    ARROW_ASSIGN_OR_RAISE(rows_, GetIntOr(source_.args, "rows_per_partition", 0));
    split_bytes_ = compile::SplitBytes(source_.format, source_.args);
    if (split_bytes_ <= 0) {
      ARROW_ASSIGN_OR_RAISE(split_bytes_,
                            GetIntOr(source_.args, "partition_bytes", compile::kDefaultPartitionBytes));
    }
    for (const auto& file : snapshot_.files) {
      if (!hive.MayMatch(file.entry)) continue;
      ARROW_RETURN_NOT_OK(WithContext(Add(file), {.file = file.entry.location}));
      if (static_cast<int64_t>(partitions_.size()) > kMaxPartitions) return TooMany(partitions_.size());
    }
    return std::move(partitions_);
  }

 private:
  Status Add(const SourceFile& file) {
    if (source_.format == "files") return AddToGroup(file);
    if (rows_ > 0 && compile::KnowsRows(source_.format)) return AddByRows(file);
    return AddByBytes(file);
  }

  Partition& NewPartition() {
    partitions_.emplace_back();
    partitions_.back().index = static_cast<int64_t>(partitions_.size()) - 1;
    return partitions_.back();
  }

  Status AddToGroup(const SourceFile& file) {
    const int64_t bytes = std::max<int64_t>(0, file.entry.size_bytes);
    const int64_t most_files = rows_ > 0 ? rows_ : kGroupFiles;
    const bool is_full =
        !partitions_.empty() && (static_cast<int64_t>(partitions_.back().fragments.size()) >= most_files ||
                                 (rows_ == 0 && group_bytes_ > kGroupBytes - bytes));
    if (partitions_.empty() || is_full) {
      NewPartition();
      group_bytes_ = 0;
    }
    group_bytes_ = std::min(group_bytes_ + std::min(bytes, kGroupBytes), kGroupBytes + 1);
    partitions_.back().fragments.push_back({.file = file.entry});
    return Status::OK();
  }

  Status AddByRows(const SourceFile& file) {
    if (file.num_rows < 0) {
      return DataError("the snapshot does not say how many rows the file has", "compile the pipeline again");
    }
    const int64_t count = file.num_rows / rows_ + (file.num_rows % rows_ != 0);
    if (count > kMaxPartitions) return TooMany(count);
    for (int64_t i = 0; i < count; ++i) {
      Fragment fragment{.file = file.entry};
      if (count > 1) {
        fragment.range = Fragment::Range::kRows;
        fragment.begin = i * rows_;
        fragment.end = std::min(file.num_rows, fragment.begin + rows_);
      }
      NewPartition().fragments.push_back(std::move(fragment));
    }
    return Status::OK();
  }

  Status AddByBytes(const SourceFile& file) {
    FileInfo info;
    if (file.inspected) info = {snapshot_.schema, file.num_rows, file.units};
    ARROW_ASSIGN_OR_RAISE(auto fragments, format_->Split(file.entry, file.inspected ? &info : nullptr,
                                                         source_.args, split_bytes_));
    if (static_cast<int64_t>(fragments.size()) > kMaxPartitions) return TooMany(fragments.size());
    for (auto& fragment : fragments) NewPartition().fragments.push_back(std::move(fragment));
    return Status::OK();
  }

  const PlanSource& source_;
  const SourceSnapshot& snapshot_;
  const Format* format_ = nullptr;
  int64_t rows_ = 0, split_bytes_ = 0, group_bytes_ = 0;
  std::vector<Partition> partitions_;
};

// Rows in memory that lie in blocks: each is a partition, also an empty one.
Result<std::vector<Partition>> BlockPartitions(const SourceSnapshot& snapshot) {
  if (static_cast<int64_t>(snapshot.files.size()) > kMaxPartitions) return TooMany(snapshot.files.size());
  std::vector<Partition> partitions(snapshot.files.size());
  int64_t first_row = 0;
  for (size_t i = 0; i < partitions.size(); ++i) {
    if (snapshot.files[i].num_rows < 0) return DataError("the snapshot has a block without a number of rows");
    partitions[i].index = static_cast<int64_t>(i);
    partitions[i].first_row = first_row;
    partitions[i].rows = snapshot.files[i].num_rows;
    first_row += partitions[i].rows;
  }
  return partitions;
}

Result<std::vector<Partition>> RowPartitions(const PlanSource& source, const SourceSnapshot& snapshot) {
  if (snapshot.num_rows < 0) return DataError("the snapshot does not say how many rows the source has");
  if (!snapshot.files.empty()) return BlockPartitions(snapshot);
  // Rows in memory are one partition unless someone asks: its blocks go to all threads anyway.
  const int64_t fallback =
      source.format == "range" ? kDefaultRangeRows : std::max<int64_t>(1, snapshot.num_rows);
  ARROW_ASSIGN_OR_RAISE(const int64_t rows, GetIntOr(source.args, "rows_per_partition", fallback));
  if (rows <= 0) return UserError("rows_per_partition must be positive");
  const int64_t count = snapshot.num_rows / rows + (snapshot.num_rows % rows != 0);
  if (count > kMaxPartitions) return TooMany(count);
  std::vector<Partition> partitions(count);
  for (int64_t i = 0; i < count; ++i) {
    partitions[i].index = i;
    partitions[i].first_row = i * rows;
    partitions[i].rows = std::min(rows, snapshot.num_rows - i * rows);
  }
  return partitions;
}

}  // namespace

Result<std::vector<Partition>> ScanPartitions(const Plan& plan, int stage, const Snapshot& snapshot) {
  if (stage < 0 || stage >= static_cast<int>(plan.stages.size())) {
    return UserError("the plan has no stage " + std::to_string(stage),
                     "its stages are 0 to " + std::to_string(plan.stages.size() - 1));
  }
  const PlanSource& source = plan.stages[stage].source;
  if (source.kind != PlanSource::Kind::kScan) {
    return BugError("stage " + std::to_string(stage) +
                    " reads an exchange, which has no partitions of its own");
  }
  const SourceSnapshot* found = snapshot.Find(source.step);
  if (found == nullptr || found->schema == nullptr || found->format != source.format) {
    return WithContext(UserError("the snapshot is not of this plan's source", "compile the pipeline again"),
                       {.step = source.step});
  }
  auto partitions =
      compile::HasFiles(source.format) ? FilePartitions(source, *found).Run() : RowPartitions(source, *found);
  if (!partitions.ok()) return WithContext(partitions.status(), {.step = source.step});
  return partitions;
}

}  // namespace partita
