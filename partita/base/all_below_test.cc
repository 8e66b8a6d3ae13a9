#include "partita/base/all_below.h"

#include <gtest/gtest.h>

#include <random>
#include <vector>

namespace partita {
namespace {

template <typename T>
void ExpectTheGreatestDecides(T greatest) {
  std::mt19937_64 random(1);
  for (const size_t count : {1, 31, 32, 33, 100}) {
    std::vector<T> numbers(count);
    for (auto& number : numbers) number = static_cast<T>(random() % (uint64_t{greatest} + 1));
    numbers[random() % count] = greatest;
    EXPECT_FALSE(AllBelow(numbers.data(), count, greatest));
    EXPECT_TRUE(AllBelow(numbers.data(), count, uint64_t{greatest} + 1));
    EXPECT_FALSE(AllBelow(numbers.data(), count, 0));
  }
}

TEST(AllBelow, TheGreatestDecides) {
  for (const uint32_t greatest : {0U, 1U, 77U, 0x7FFFFFFEU, 0x7FFFFFFFU, 0x80000000U, 0xFFFFFFFFU})
    ExpectTheGreatestDecides<uint32_t>(greatest);
  for (const int greatest : {0, 1, 200, 255}) ExpectTheGreatestDecides(static_cast<uint8_t>(greatest));
}

TEST(AllBelow, NoneAre) { EXPECT_TRUE(AllBelow<uint32_t>(nullptr, 0, 0)); }

}  // namespace
}  // namespace partita
