#include "partita/exchange/sorted_sink.h"

#include <arrow/api.h>

#include <algorithm>
#include <optional>
#include <unordered_set>

#include "partita/block/logical_bytes.h"
#include "partita/exchange/run_share.h"
#include "partita/operator/join_table.h"
#include "partita/runs/sort_rows.h"

namespace partita {
namespace {

constexpr char kKeyColumn[] = "__key";
// Of a run that stays in memory, where its rows stand twice while it is made. The first ones are shorter:
// other workers read on while they are sorted, but for the last nobody has anything to read.
constexpr int64_t kMostKeptRunBytes = 64 << 20;
constexpr int64_t kFirstKeptRunBytes = 32 << 20;
constexpr uint64_t kSampleSeed = 0x70617274697461ULL;

bool StoresKey(const PlanExchange& exchange) { return exchange.kind != PlanExchange::Kind::kSort; }

Result<KeyEncoder> EncoderOf(const PlanExchange& exchange) {
  std::vector<KeyColumn> columns;
  for (const auto& key : exchange.keys) {
    columns.push_back({exchange.schema->GetFieldIndex(key.column), key.descending, key.nulls_first});
  }
  return KeyEncoder::Make(*exchange.schema, std::move(columns));
}

// Of a hash exchange whose groups have an order: the hash, which stands in the last column of a run, then
// what groups are ordered by.
Result<KeyEncoder> OrderEncoderOf(const PlanExchange& exchange) {
  std::vector<KeyColumn> columns = {{exchange.schema->num_fields(), false, false}};
  for (const auto& key : exchange.order) {
    columns.push_back({exchange.schema->GetFieldIndex(key.column), key.descending, key.nulls_first});
  }
  return KeyEncoder::Make(*RunSchema(exchange), std::move(columns));
}

// How the encoding of a number begins that is not null (runs/row_key.h): a byte that says so, then its bytes.
constexpr uint64_t kPresent = 1;
constexpr int kPresentBits = 8;

// The hash at the beginning of a key.
uint64_t HashOf(const PlanExchange& exchange, const KeyPrefix& prefix) {
  if (exchange.order.empty()) return prefix.hi;
  return prefix.hi << kPresentBits | prefix.lo >> (64 - kPresentBits);
}

// Keys of one hash are ordered by a column, as-of joins merge them so.
Status SetOrders(const arrow::RecordBatch& batch, int column, RowKeys* keys, arrow::MemoryPool* pool) {
  ARROW_ASSIGN_OR_RAISE(const auto orders, OrdersOf(batch, column, pool));
  auto* prefixes = reinterpret_cast<KeyPrefix*>(keys->prefixes->mutable_data());
  for (size_t row = 0; row < orders.size(); ++row) prefixes[row].lo = orders[row];
  return Status::OK();
}

// Whether texts stand as indices, which no run has.
bool HasCodes(const arrow::RecordBatch& batch, const arrow::Schema& schema) {
  for (int i = 0; i < schema.num_fields(); ++i) {
    if (batch.column_data(i)->type->id() != schema.field(i)->type()->id()) return true;
  }
  return false;
}

// Adds what `data` keeps alive and `seen` does not have yet.
int64_t NewBytes(const arrow::ArrayData& data, std::unordered_set<const void*>* seen) {
  int64_t bytes = 0;
  for (const auto& buffer : data.buffers) {
    if (buffer && seen->insert(buffer->parent() ? buffer->parent().get() : buffer.get()).second) {
      bytes += buffer->parent() ? buffer->parent()->capacity() : buffer->capacity();
    }
  }
  for (const auto& child : data.child_data) bytes += NewBytes(*child, seen);
  if (data.dictionary) bytes += NewBytes(*data.dictionary, seen);
  return bytes;
}

class SortedSink final : public Sink {
 public:
  SortedSink(SortedSinkInit init, KeyEncoder encoder, std::optional<KeyEncoder> order_encoder)
      : init_(std::move(init)),
        encoder_(std::move(encoder)),
        order_encoder_(std::move(order_encoder)),
        schema_(RunSchema(*init_.exchange)),
        shuffle_keys_(init_.exchange->seed, init_.input_index, init_.partition),
        sample_keys_(kSampleSeed, init_.input_index, init_.partition),
        samples_(init_.samples || init_.exchange->kind == PlanExchange::Kind::kSort),
        share_(RunShare::Make({init_.env, init_.folder, init_.name, init_.attempt, schema_,
                               init_.cached_bytes, init_.most_kept_bytes, init_.memory})) {}
  ~SortedSink() override { Abort(); }

  Status Write(const Block& block, const OperatorContext& ctx, int64_t* taken) override {
    if (block.num_rows() == 0) return Status::OK();
    // A run whose writing was refused half-way is finished before anything is added.
    if (held_bytes_ >= RunBytes() || sorted_) ARROW_RETURN_NOT_OK(Flush(ctx));
    Status status = Hold(block, ctx);
    if (status.IsOutOfMemory() && share_->in_memory()) {
      ARROW_RETURN_NOT_OK(share_->WriteOut(ctx.pool.get()).status());
      status = Hold(block, ctx);
    }
    if (status.IsOutOfMemory() && !held_.empty()) {
      ARROW_RETURN_NOT_OK(Flush(ctx));
      status = Hold(block, ctx);
    }
    ARROW_RETURN_NOT_OK(status);
    *taken = block.num_rows();
    return Status::OK();
  }

  Result<std::vector<OutputFile>> Finish(const OperatorContext& ctx) override {
    ARROW_RETURN_NOT_OK(Flush(ctx));
    items_memory_.reset();
    CutSample();
    return share_->Finish(sample_, ctx.pool.get());
  }

  void Abort() override {
    share_->Abort();
    Drop();
    items_memory_.reset();
  }

 private:
  // `groups`: the keys that are hashed, where they are needed.
  Result<RowKeys> KeysOfBlock(const Block& block, RowKeys* groups, arrow::MemoryPool* pool) const {
    if (init_.exchange->kind == PlanExchange::Kind::kShuffle) {
      std::vector<uint64_t> numbers(static_cast<size_t>(block.num_rows()));
      for (int64_t i = 0; i < block.num_rows(); ++i) {
        numbers[static_cast<size_t>(i)] = shuffle_keys_.At(block.ordinals.At(i));
      }
      return NumberKeys(numbers, pool);
    }
    ARROW_ASSIGN_OR_RAISE(auto keys, encoder_.Encode(*block.batch, pool));
    if (init_.exchange->kind != PlanExchange::Kind::kHash) return keys;
    if (init_.group_limit >= 0) *groups = keys;
    ARROW_ASSIGN_OR_RAISE(keys, HashKeys(std::move(keys), pool));
    if (order_encoder_) return OrderedKeys(*block.batch, keys, pool);
    if (init_.order_column >= 0)
      ARROW_RETURN_NOT_OK(SetOrders(*block.batch, init_.order_column, &keys, pool));
    return keys;
  }

  Result<RowKeys> OrderedKeys(const arrow::RecordBatch& batch, const RowKeys& hashes,
                              arrow::MemoryPool* pool) const {
    ARROW_ASSIGN_OR_RAISE(auto buffer, arrow::AllocateBuffer(batch.num_rows() * 8, pool));
    auto* out = reinterpret_cast<uint64_t*>(buffer->mutable_data());
    for (int64_t row = 0; row < batch.num_rows(); ++row) out[row] = hashes.prefix(row).hi;
    auto columns = batch.columns();
    columns.push_back(std::make_shared<arrow::UInt64Array>(batch.num_rows(), std::move(buffer)));
    return order_encoder_->Encode(*arrow::RecordBatch::Make(schema_, batch.num_rows(), std::move(columns)),
                                  pool);
  }

  Status Hold(const Block& block, const OperatorContext& ctx) {
    if (!cushion_.bytes()) {
      ARROW_ASSIGN_OR_RAISE(cushion_, ctx.pool->Reserve(CushionBytes()));
    }
    RowKeys groups;
    ARROW_ASSIGN_OR_RAISE(auto keys, KeysOfBlock(block, &groups, ctx.pool.get()));
    ARROW_RETURN_NOT_OK(AddItems(keys, ctx.pool.get()));
    keys.prefixes.reset();  // the items have them
    held_bytes_ +=
        groups.size_bytes() + keys.size_bytes() + block.num_rows() * static_cast<int64_t>(sizeof(SortItem));
    for (const auto& column : block.batch->columns()) held_bytes_ += NewBytes(*column->data(), &seen_);
    held_.push_back(block);
    batches_.push_back(block.batch);
    keys_.push_back(std::move(keys));
    if (init_.group_limit >= 0) groups_.push_back(std::move(groups));
    return Status::OK();
  }

  // All or nothing.
  Status AddItems(const RowKeys& keys, arrow::MemoryPool* pool) {
    const size_t rows = num_items_ + static_cast<size_t>(keys.rows);
    const auto bytes = static_cast<int64_t>(rows * sizeof(SortItem));
    if (!items_memory_) {
      ARROW_ASSIGN_OR_RAISE(items_memory_, arrow::AllocateResizableBuffer(bytes, pool));
    } else if (bytes > items_memory_->capacity()) {
      if (!items_memory_->Reserve(bytes + bytes / 2).ok()) ARROW_RETURN_NOT_OK(items_memory_->Reserve(bytes));
    }
    const auto batch = static_cast<uint32_t>(held_.size());
    SortItem* item = items().data() + num_items_;
    for (int64_t row = 0; row < keys.rows; ++row) {
      *item++ = {keys.prefix(row), batch, static_cast<uint32_t>(row)};
    }
    num_items_ = rows;
    return Status::OK();
  }

  std::span<SortItem> items() {
    return {reinterpret_cast<SortItem*>(items_memory_->mutable_data()), num_items_};
  }

  void Drop() {
    held_.clear();
    batches_.clear();
    keys_.clear();
    groups_.clear();
    seen_.clear();
    cushion_.Release();  // items_memory_ is kept for the next run: fresh pages cost more than what is done in
                         // them
    held_bytes_ = 0;
    num_items_ = flushed_ = 0;
    sorted_ = false;
  }

  int64_t RunBytes() const {
    int64_t most = init_.hold_bytes;
    if (init_.memory) most = init_.memory->HoldBytes(most);
    // A share that goes to its file has as few runs as can be: a reader jumps once for each, and what it
    // reads at the ends of its range is read twice.
    if (held_bytes_ > init_.most_kept_bytes || !share_->in_memory()) return most;
    return std::min({most, kMostKeptRunBytes, std::max(kFirstKeptRunBytes, written_bytes_ / 4)});
  }
  int64_t CushionBytes() const { return 3 * FrameBytes(init_.hold_bytes); }

  // Writes what is held as a run. After a refusal it goes on where it stopped.
  Status Flush(const OperatorContext& ctx) {
    if (held_.empty()) return Status::OK();
    if (!sorted_) Sort();
    cushion_.Release();
    int64_t rows = 0, bytes = 0;  // also of those that are left out
    for (const auto& batch : batches_) {
      ARROW_ASSIGN_OR_RAISE(const int64_t b, LogicalBytes(*batch));
      bytes += b;
      rows += batch->num_rows();
    }
    const double row_bytes = std::max(1.0, static_cast<double>(bytes) / static_cast<double>(rows));
    const auto per_frame =
        std::clamp<size_t>(static_cast<size_t>(static_cast<double>(FrameBytes(init_.hold_bytes)) / row_bytes),
                           1, size_t{64} << 10);
    std::vector<RowPick> picks;
    ARROW_RETURN_NOT_OK(share_->WriteRun(num_items_, per_frame, &flushed_, ctx,
                                         [&](size_t count) { return WriteFrame(count, ctx, &picks); }));
    written_bytes_ += held_bytes_;
    Drop();
    return Status::OK();
  }

  void Sort() {
    SortRows(items(), keys_);
    sorted_ = true;
    // What is behind the first rows of any run is behind them in all.
    if (init_.exchange->limit >= 0) {
      num_items_ = std::min(num_items_, static_cast<size_t>(init_.exchange->limit));
    }
    if (init_.group_limit >= 0) KeepFirstOfGroups();
  }

  // The same of each group. Those of one hash may be mixed.
  void KeepFirstOfGroups() {
    struct Group {
      SortItem first;
      int64_t rows = 0;
    };
    std::vector<Group> open;
    uint64_t hash = 0;
    size_t kept = 0;
    for (const SortItem item : items()) {
      const uint64_t next = HashOf(*init_.exchange, item.key);
      if (next != hash) open.clear();
      hash = next;
      auto group = std::find_if(open.begin(), open.end(), [&](const Group& other) {
        return CompareKeys(groups_[other.first.batch], other.first.row, groups_[item.batch], item.row) == 0;
      });
      if (group == open.end()) group = open.insert(open.end(), {item, 0});
      if (group->rows++ < init_.group_limit) items()[kept++] = item;
    }
    num_items_ = kept;
  }

  KeyPoint PointOfItem(const SortItem& item) const {
    return PointOf(item.key, keys_[item.batch].whole(item.row));
  }

  Status WriteFrame(size_t count, const OperatorContext& ctx, std::vector<RowPick>* picks) {
    const auto items = this->items().subspan(flushed_, count);
    picks->clear();
    for (const auto& item : items) picks->push_back({item.batch, item.row});
    std::shared_ptr<arrow::RecordBatch> batch;
    const bool is_coded = HasCodes(*batches_[items[0].batch], *init_.exchange->schema);
    if (count == 1 && !share_->in_memory() && !is_coded) {  // a fat row is not copied
      batch = batches_[items[0].batch]->Slice(items[0].row, 1);
    } else {
      ARROW_ASSIGN_OR_RAISE(batch, Interleave(init_.exchange->schema, batches_, *picks, ctx.pool.get()));
    }
    if (StoresKey(*init_.exchange)) {
      ARROW_ASSIGN_OR_RAISE(auto buffer,
                            arrow::AllocateBuffer(static_cast<int64_t>(count) * 8, ctx.pool.get()));
      auto* out = reinterpret_cast<uint64_t*>(buffer->mutable_data());
      for (size_t i = 0; i < count; ++i) out[i] = HashOf(*init_.exchange, items[i].key);
      auto columns = batch->columns();
      columns.push_back(std::make_shared<arrow::UInt64Array>(static_cast<int64_t>(count), std::move(buffer)));
      batch = arrow::RecordBatch::Make(schema_, static_cast<int64_t>(count), std::move(columns));
    }
    const int64_t run = share_->run(), rank = share_->rank();
    ARROW_RETURN_NOT_OK(share_->Append(std::move(batch), PointOfItem(items[0]), ctx.pool.get()));
    if (samples_) Sample(items, run, rank);
    return Status::OK();
  }

  // A hash does not tell whether its key has a null: of a sampled row its point does.
  KeyPoint SamplePoint(const SortItem& item) const {
    KeyPoint point = PointOfItem(item);
    if (init_.exchange->kind == PlanExchange::Kind::kHash) point.prefix.lo = HasNullKey(item) ? 1 : 0;
    return point;
  }

  bool HasNullKey(const SortItem& item) const {
    const auto& keys = init_.exchange->keys;
    return std::any_of(keys.begin(), keys.end(), [&](const PlanOrderKey& key) {
      return batches_[item.batch]->GetColumnByName(key.column)->IsNull(item.row);
    });
  }

  void Sample(std::span<const SortItem> items, int64_t run, int64_t rank) {
    for (const auto& item : items) {
      const uint64_t hash = sample_keys_.At(held_[item.batch].ordinals.At(item.row));
      if (hash < sampled_below_) sample_.push_back({hash, SamplePoint(item), run, rank});
      if (sample_.size() == 2 * kSampledRows) CutSample();
      ++rank;
    }
  }

  // The rows with the smallest hashes stay.
  void CutSample() {
    if (sample_.size() <= kSampledRows) return;
    const auto last = sample_.begin() + (kSampledRows - 1);
    std::nth_element(sample_.begin(), last, sample_.end(),
                     [](const SampledRow& a, const SampledRow& b) { return a.hash < b.hash; });
    sampled_below_ = last->hash;
    sample_.resize(kSampledRows);
  }

  SortedSinkInit init_;
  KeyEncoder encoder_;
  std::optional<KeyEncoder> order_encoder_;  // of a hash exchange whose groups have an order
  std::shared_ptr<arrow::Schema> schema_;
  const ShuffleKeys shuffle_keys_, sample_keys_;  // of rows by their positions
  const bool samples_;
  std::shared_ptr<RunShare> share_;

  std::vector<Block> held_;
  std::vector<std::shared_ptr<arrow::RecordBatch>> batches_;  // of held_
  std::vector<RowKeys> keys_;                                 // of held_, without their prefixes
  std::vector<RowKeys> groups_;  // of held_, where groups have a limit: their keys
  std::unordered_set<const void*> seen_;
  Reservation cushion_;  // for what writing a frame needs
  int64_t held_bytes_ = 0;
  int64_t written_bytes_ = 0;  // of runs, as they were held
  std::unique_ptr<arrow::ResizableBuffer> items_memory_;
  size_t num_items_ = 0, flushed_ = 0;
  bool sorted_ = false;                  // the items are in order, and being written
  std::vector<SampledRow> sample_;       // up to twice as many rows as are kept
  uint64_t sampled_below_ = UINT64_MAX;  // the hash from which on no row is kept
};

}  // namespace

KeyPrefix HashPrefix(const PlanExchange& exchange, uint64_t hash) {
  if (exchange.order.empty()) return {hash, 0};
  return {kPresent << (64 - kPresentBits) | hash >> kPresentBits, hash << (64 - kPresentBits)};
}

int64_t FrameBytes(int64_t hold_bytes) { return std::clamp<int64_t>(hold_bytes / 256, 16 << 10, 256 << 10); }

std::shared_ptr<arrow::Schema> RunSchema(const PlanExchange& exchange) {
  if (!StoresKey(exchange)) return exchange.schema;
  auto fields = exchange.schema->fields();
  fields.push_back(arrow::field(kKeyColumn, arrow::uint64(), /*nullable=*/false));
  return arrow::schema(std::move(fields));
}

Result<KeysOf> RunKeys(const PlanExchange& exchange, int order_column) {
  if (!StoresKey(exchange) || !exchange.order.empty()) {
    ARROW_ASSIGN_OR_RAISE(auto encoder, StoresKey(exchange) ? OrderEncoderOf(exchange) : EncoderOf(exchange));
    return KeysOf([encoder](const arrow::RecordBatch& batch, arrow::MemoryPool* pool) {
      return encoder.Encode(batch, pool);
    });
  }
  return KeysOf([order_column](const arrow::RecordBatch& batch, arrow::MemoryPool* pool) -> Result<RowKeys> {
    const auto& column = batch.column(batch.num_columns() - 1);
    if (column->type_id() != arrow::Type::UINT64) return BugError("a run without its key");
    const auto* numbers = static_cast<const arrow::UInt64Array&>(*column).raw_values();
    ARROW_ASSIGN_OR_RAISE(auto keys, NumberKeys({numbers, static_cast<size_t>(batch.num_rows())}, pool));
    if (order_column >= 0) ARROW_RETURN_NOT_OK(SetOrders(batch, order_column, &keys, pool));
    return keys;
  });
}

Result<std::unique_ptr<Sink>> MakeSortedSink(SortedSinkInit init) {
  ARROW_ASSIGN_OR_RAISE(auto encoder, EncoderOf(*init.exchange));
  std::optional<KeyEncoder> order_encoder;
  if (!init.exchange->order.empty()) {
    ARROW_ASSIGN_OR_RAISE(order_encoder, OrderEncoderOf(*init.exchange));
  }
  return std::make_unique<SortedSink>(std::move(init), std::move(encoder), std::move(order_encoder));
}

}  // namespace partita
