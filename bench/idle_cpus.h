#pragma once
// How much of this process's CPUs other programs leave.

#include <optional>
#include <span>
#include <string>

namespace whittle {

// CPUs that were idle between two readings of /proc/stat, in parts: of two CPUs of which one is half
// busy 1.5. Those of `cpus` count. nullopt where a reading does not hold them, or no time lies between the
// two.
std::optional<double> idle_cpus(const std::string& earlier, const std::string& later,
                                std::span<const int> cpus);

// Reads twice, half a second apart, while this process does nothing, and returns for how many threads there
// is a CPU, from 1 to `most`; `most` where the system does not say.
int threads_without_neighbours(int most);

}  // namespace whittle
