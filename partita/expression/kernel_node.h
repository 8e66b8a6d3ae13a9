// One call of an Arrow scalar function, bound to its argument types. Internal to this room.
#pragma once

#include <arrow/compute/exec.h>
#include <arrow/compute/expression.h>
#include <arrow/datum.h>
#include <arrow/record_batch.h>

#include <memory>
#include <string>
#include <vector>

#include "partita/base/error.h"

namespace partita {

// A bound expression as a tree. Immutable and thread-safe.
class BoundNode {
 public:
  virtual ~BoundNode() = default;
  const std::shared_ptr<arrow::DataType>& type() const { return type_; }
  // An array of batch.num_rows() values, or one scalar that stands for all rows.
  virtual Result<arrow::Datum> Evaluate(const arrow::RecordBatch& batch,
                                        arrow::compute::ExecContext* context) const = 0;
  // The value of a literal, else null.
  virtual std::shared_ptr<arrow::Scalar> literal() const { return nullptr; }

 protected:
  explicit BoundNode(std::shared_ptr<arrow::DataType> type) : type_(std::move(type)) {}

 private:
  std::shared_ptr<arrow::DataType> type_;
};

using BoundNodePtr = std::shared_ptr<const BoundNode>;

BoundNodePtr MakeColumnNode(int index, std::shared_ptr<arrow::DataType> type);
BoundNodePtr MakeLiteralNode(std::shared_ptr<arrow::Scalar> value);
// The function as it is in Arrow's registry. User errors where it does not take these types or options.
Result<BoundNodePtr> MakeKernelNode(const std::string& function, std::vector<BoundNodePtr> args,
                                    std::shared_ptr<arrow::compute::FunctionOptions> options);
// A cast that loses nothing; `lossy_float` lets integers become the nearest float.
Result<BoundNodePtr> MakeCastNode(BoundNodePtr value, const std::shared_ptr<arrow::DataType>& type,
                                  bool safe = true, bool lossy_float = false);

// The type to which all of these are cast before they are compared; null where there is none.
std::shared_ptr<arrow::DataType> CommonType(const std::vector<std::shared_ptr<arrow::DataType>>& types);

}  // namespace partita
