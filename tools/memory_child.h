#pragma once
// This program again, to measure its peak memory with one model and nothing else.

#include <filesystem>
#include <string>
#include <vector>

#include "bench/speed.h"

namespace whittle {

// The flag of `bench` by which it is that process.
inline constexpr const char* memory_flag = "--own-peak-memory";

// How this process opens models, as flags for another one.
std::vector<std::string> opening_flags();

// At one point; prompts of a file do not go with it, but lengths.
std::vector<std::string> memory_child(const SpeedOptions& speed, int threads,
                                      const std::filesystem::path& model);

}  // namespace whittle
