#include "bench/cpu_features.h"

#include <cpuid.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>

namespace whittle {

namespace {

enum Register : uint8_t { eax, ebx, ecx, edx };

// What the system must save on a task switch (bits of XCR0) before an extension can be used.
constexpr uint64_t nothing = 0, ymm = 0x6, zmm = 0xE6, tiles = 0x60000;

struct Extension {
  const char* name;
  unsigned leaf, subleaf;
  Register where;
  int bit;
  uint64_t saved;
};

constexpr Extension extensions[] = {
    {"sse4_2", 1, 0, ecx, 20, nothing},  {"avx", 1, 0, ecx, 28, ymm},
    {"f16c", 1, 0, ecx, 29, ymm},        {"fma", 1, 0, ecx, 12, ymm},
    {"avx2", 7, 0, ebx, 5, ymm},         {"avx_vnni", 7, 1, eax, 4, ymm},
    {"avx512f", 7, 0, ebx, 16, zmm},     {"avx512bw", 7, 0, ebx, 30, zmm},
    {"avx512dq", 7, 0, ebx, 17, zmm},    {"avx512vl", 7, 0, ebx, 31, zmm},
    {"avx512_vnni", 7, 0, ecx, 11, zmm}, {"avx512_vbmi", 7, 0, ecx, 1, zmm},
    {"avx512_vbmi2", 7, 0, ecx, 6, zmm}, {"avx512_bf16", 7, 1, eax, 5, zmm},
    {"avx512_fp16", 7, 0, edx, 23, zmm}, {"amx_tile", 7, 0, edx, 24, tiles},
    {"amx_int8", 7, 0, edx, 25, tiles},  {"amx_bf16", 7, 0, edx, 22, tiles},
};

using Registers = std::array<unsigned, 4>;

Registers cpuid(unsigned leaf, unsigned subleaf) {
  Registers found{};
  __get_cpuid_count(leaf, subleaf, &found[eax], &found[ebx], &found[ecx], &found[edx]);
  return found;
}

uint64_t saved_registers() {
  if (!(cpuid(1, 0)[ecx] >> 27 & 1)) return 0;  // OSXSAVE: XGETBV can be asked
  uint32_t low = 0, high = 0;
  asm("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
  return static_cast<uint64_t>(high) << 32 | low;
}

bool has(const Extension& extension) {
  // A leaf that does not exist reads as zeros; so does a subleaf of leaf 7 beyond the last.
  return (cpuid(extension.leaf, extension.subleaf)[extension.where] >> extension.bit & 1) &&
         (saved_registers() & extension.saved) == extension.saved;
}

std::string text(std::initializer_list<unsigned> words) {
  std::string out;
  for (unsigned word : words) {
    char bytes[sizeof word];
    std::memcpy(bytes, &word, sizeof word);
    out.append(bytes, sizeof word);
  }
  return out.substr(0, out.find('\0'));
}

}  // namespace

std::vector<std::string> cpu_extensions() {
  std::vector<std::string> found;
  for (const Extension& extension : extensions)
    if (has(extension)) found.push_back(extension.name);
  return found;
}

bool cpu_has(std::string_view name) {
  if (name == "hypervisor") return cpuid(1, 0)[ecx] >> 31 & 1;
  const auto found = std::find_if(std::begin(extensions), std::end(extensions),
                                  [&](const Extension& extension) { return name == extension.name; });
  return found != std::end(extensions) && has(*found);
}

std::string cpu_vendor() {
  const Registers leaf = cpuid(0, 0);
  return text({leaf[ebx], leaf[edx], leaf[ecx]});
}

std::string cpu_brand() {
  std::string brand;
  for (unsigned leaf : {0x80000002u, 0x80000003u, 0x80000004u}) {
    const Registers part = cpuid(leaf, 0);
    brand += text({part[eax], part[ebx], part[ecx], part[edx]});
  }
  const size_t first = brand.find_first_not_of(' ');
  return first == brand.npos ? "" : brand.substr(first, brand.find_last_not_of(' ') - first + 1);
}

}  // namespace whittle
