#pragma once
// How fast and how hot the CPUs are at this moment, where the system tells.

#include <filesystem>
#include <optional>

namespace whittle {

struct SensorReading {
  std::optional<double> clock_mhz;      // the mean over the CPUs that this process may use
  std::optional<double> temperature_c;  // of the hottest zone or chip
};

// `root` is where /sys is looked for: cpufreq's scaling_cur_freq, and the thermal zones and hwmon's inputs.
// What cannot be read, or is no plausible number (0 to 20 GHz, −50 to 200 °C), is as if it were not there.
SensorReading read_sensors(const std::filesystem::path& root = "/");

}  // namespace whittle
