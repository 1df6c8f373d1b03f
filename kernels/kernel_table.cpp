#include "kernels/kernel_table.h"

#include <array>
#include <cstdlib>
#include <string>

namespace whittle {

extern const KernelTable avx512_vbmi2_kernels;
extern const KernelTable avx512_vnni_kernels;
extern const KernelTable avx512_kernels;
extern const KernelTable avx2_kernels;
extern const KernelTable scalar_kernels;

namespace {

// The compiler's checks include the operating system's support for the wider registers.
bool has_avx2() {
  return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
}
bool has_avx512() {
  return has_avx2() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
         __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
         __builtin_cpu_supports("avx512cd");
}
bool has_avx512_vnni() { return has_avx512() && __builtin_cpu_supports("avx512vnni"); }
bool has_avx512_vbmi2() { return has_avx512_vnni() && __builtin_cpu_supports("avx512vbmi2"); }
bool always() { return true; }

constexpr std::array<InstructionSet, 5> sets = {{
    {&avx512_vbmi2_kernels, has_avx512_vbmi2, "AVX-512 F, BW, DQ, VL, CD, VNNI and VBMI2"},
    {&avx512_vnni_kernels, has_avx512_vnni, "AVX-512 F, BW, DQ, VL, CD and VNNI"},
    {&avx512_kernels, has_avx512, "AVX-512 F, BW, DQ, VL and CD"},
    {&avx2_kernels, has_avx2, "AVX2, FMA and F16C"},
    {&scalar_kernels, always, "nothing"},
}};

const KernelTable& choose() {
  const char* wanted = std::getenv("WHITTLE_ISA");
  if (!wanted || !*wanted) {
    for (const InstructionSet& set : sets)
      if (set.available()) return *set.table;
  }
  std::string names;
  for (const InstructionSet& set : sets) {
    if (set.table->name == wanted) {
      if (!set.available()) fail("WHITTLE_ISA={}: this CPU lacks it (needed: {})", wanted, set.needs);
      return *set.table;
    }
    names += names.empty() ? "" : ", ";
    names += set.table->name;
  }
  fail("WHITTLE_ISA={}: unknown instruction set; expected one of {}", wanted, names);
}

}  // namespace

std::span<const InstructionSet> instruction_sets() { return sets; }

const KernelTable& kernels() {
  static const KernelTable& chosen = choose();
  return chosen;
}

}  // namespace whittle
