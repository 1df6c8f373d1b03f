#pragma once
// The instruction set extensions of this CPU, asked of the CPU itself.

#include <string>
#include <string_view>
#include <vector>

namespace whittle {

// Those of our table that both the CPU and the operating system (which must save the registers) support, in
// table order and as Linux names them: "avx2", "fma", "f16c", "avx512f", …, "amx_int8".
std::vector<std::string> cpu_extensions();
// Also knows "hypervisor". False for a name that is not in the table.
bool cpu_has(std::string_view extension);

std::string cpu_vendor();
std::string cpu_brand();

}  // namespace whittle
