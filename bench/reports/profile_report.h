#pragma once
// What a profile says: time by operation, and how near to the machine's limits each came.

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/profile.h"

namespace whittle {

// Probed just before and after what was profiled.
struct ProfileLimits {
  double read_gb_per_s = 0, int8_gops = 0, fp32_gflops = 0;
};

// What `work` takes at least: the longer of reading and computing.
double limit_seconds(const Work& work, const ProfileLimits& limits);

struct OperationTime {
  Operation operation = Operation::wait;
  int64_t calls = 0;
  double seconds = 0;  // mean over the threads, all calls together
  double share = 0;    // of the time of all operations, waiting included
  Work work;           // of all threads
  // The time that its work takes at the limits, reading and computing side by side, over `seconds`; 0 without
  // work.
  double limit_fraction = 0;
};

// Slowest first; only what was called.
std::vector<OperationTime> operation_times(const Profile& profile, const ProfileLimits& limits);

nlohmann::json profile_json(const std::vector<OperationTime>& times);
std::string profile_text(const std::string& title, const std::vector<OperationTime>& times);

}  // namespace whittle
