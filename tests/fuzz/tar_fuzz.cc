// Tar archives: any bytes end in members or a data error, and no member gives more bytes than it said.
#include <cstdlib>
#include <cstring>

#include "partita/storage/webdataset/tar_reader.h"
#include "tests/fuzz/fuzz_input.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  // Checksums would hide everything behind them from the fuzzer: make them right, block by block.
  std::string bytes(reinterpret_cast<const char*>(data), size);
  for (size_t at = 0; at + 512 <= bytes.size(); at += 512) {
    if (bytes[at] == '\0') continue;
    std::memset(&bytes[at + 148], ' ', 8);
    int sum = 0;
    for (size_t i = 0; i < 512; ++i) sum += static_cast<unsigned char>(bytes[at + i]);
    for (size_t i = 0; i < 6; ++i, sum /= 8) bytes[at + 153 - i] = static_cast<char>('0' + sum % 8);
  }
  partita::TarReader tar(std::make_unique<partita::fuzz::MemorySource>(bytes));
  for (int members = 0;; ++members) {
    auto member = tar.Next();
    if (!member.ok() || !*member) return 0;
    int64_t total = 0;
    uint8_t window[700];
    while (members % 2 == 0) {
      auto got = tar.Read(sizeof(window), window);
      if (!got.ok() || *got == 0) break;
      total += *got;
    }
    if (total > (*member)->size_bytes) std::abort();
  }
}
