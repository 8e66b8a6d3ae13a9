// The pages of a chunk of numbers (flat_pages.h). Internal to the room.
#pragma once

#include <memory>

#include "partita/storage/parquet/flat_pages.h"

namespace partita {

// Numbers that a page holds as an array does.
bool IsPlainNumber(const arrow::DataType& type);

// Of a type above. The arguments are PageMaker's.
std::unique_ptr<FlatPages> MakeNumberPages(const parquet::ColumnDescriptor* descr,
                                           const parquet::WriterProperties* properties,
                                           parquet::PageWriter* pager, arrow::MemoryPool* pool);

}  // namespace partita
