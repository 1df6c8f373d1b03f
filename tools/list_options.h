#pragma once
// Flags that take one value or several, as in --threads 1,2. A list given twice counts as given last; one
// with a value twice is wrong usage.

#include <CLI/CLI.hpp>
#include <cstdint>
#include <string>
#include <vector>

#include "kernels/kernel_table.h"

namespace whittle {

// Whole numbers from `least` to `most`; Integer is int or int64_t.
template <typename Integer>
CLI::Option* add_list(CLI::App& command, const std::string& flag, std::vector<Integer>& values, int64_t least,
                      int64_t most, const std::string& help);
void add_kv_cache_list(CLI::App& command, std::vector<KvFormat>& formats);

}  // namespace whittle
