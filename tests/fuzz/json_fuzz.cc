// JSON values: guessing a type and reading by it, over any bytes.
#include <arrow/array.h>
#include <arrow/memory_pool.h>
#include <arrow/type.h>

#include <cstdlib>

#include "partita/storage/json/columns.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  arrow::MemoryPool* pool = arrow::default_memory_pool();
  partita::JsonReader reader(pool);
  reader.Start(text);
  if (!reader.TakeRaw(0).ok() || !reader.End().ok()) return 0;
  partita::JsonTypeGuess guess;
  reader.Start(text);
  if (!guess.Add(&reader, 0).ok()) return 0;
  auto column = partita::JsonColumn::Make(guess.type(), pool);
  if (!column.ok()) std::abort();
  reader.Start(text);
  if (!(*column)->Append(&reader, 0).ok()) return 0;  // bad UTF-8, a name twice
  auto array = (*column)->Finish();
  if (!array.ok() || !(*array)->ValidateFull().ok() || (*array)->length() != 1) std::abort();
  return 0;
}
