// std::fma as one instruction of the processor. Private to the aggregates.
//
// Not all processors that programs for x86-64 must run on have it: there it is a call, at which all that is
// in registers must leave them. A function that is PARTITA_WITH_FMA may be called where HasFma(), and gives
// the same bits.
#pragma once

#if defined(__x86_64__)
#define PARTITA_WITH_FMA [[gnu::target("fma")]]
namespace partita {
inline bool HasFma() { return __builtin_cpu_supports("fma"); }
}  // namespace partita
#else
#define PARTITA_WITH_FMA
namespace partita {
inline bool HasFma() { return false; }
}  // namespace partita
#endif
