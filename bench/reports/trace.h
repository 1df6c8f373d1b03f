#pragma once
// Profiles as a file that Perfetto and Chrome's tracing page open.

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "engine/profile.h"

namespace whittle {

struct TracedProfile {
  std::string name;  // a process of the trace
  const Profile* profile = nullptr;
};

// The Trace Event Format's JSON object: a process a profile, a thread a thread, a complete event ("X") an
// operation, times in microseconds, one profile after the other.
nlohmann::json trace_json(const std::vector<TracedProfile>& profiles);

}  // namespace whittle
