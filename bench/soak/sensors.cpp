#include "bench/soak/sensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <fstream>
#include <string_view>
#include <system_error>

#include "kernels/threads.h"

namespace whittle {
namespace {

namespace fs = std::filesystem;

// A file's number in thousandths, if it lies within [low, high].
std::optional<double> thousandth(const fs::path& path, double low, double high) {
  std::ifstream file(path);
  double value = 0;
  if (!(file >> value)) return std::nullopt;
  value /= 1000;
  if (!(value >= low && value <= high)) return std::nullopt;
  return value;
}

std::optional<double> mean_clock(const fs::path& root) {
  constexpr double highest_mhz = 20'000;
  double sum = 0;
  int found = 0;
  for (const int cpu : usable_cpus())
    if (const auto mhz =
            thousandth(root / fmt::format("sys/devices/system/cpu/cpu{}/cpufreq/scaling_cur_freq", cpu), 0,
                       highest_mhz)) {
      sum += *mhz;
      ++found;
    }
  if (!found) return std::nullopt;
  return sum / found;
}

std::optional<double> hottest(const fs::path& root) {
  constexpr double coldest = -50, hottest_possible = 200;
  std::optional<double> most;
  const auto look_at = [&](const fs::path& path) {
    const auto value = thousandth(path, coldest, hottest_possible);
    if (value) most = std::max(*value, most.value_or(coldest));
  };
  const auto folders = [&](const char* parent, std::string_view name, const auto& body) {
    std::error_code error;
    for (fs::directory_iterator entry(root / parent, error), end; !error && entry != end;
         entry.increment(error))
      if (entry->path().filename().string().starts_with(name)) body(entry->path());
  };
  folders("sys/class/thermal", "thermal_zone", [&](const fs::path& zone) { look_at(zone / "temp"); });
  constexpr int most_inputs = 32;
  folders("sys/class/hwmon", "hwmon", [&](const fs::path& chip) {
    for (int i = 1; i <= most_inputs; ++i) look_at(chip / fmt::format("temp{}_input", i));
  });
  return most;
}

}  // namespace

SensorReading read_sensors(const fs::path& root) { return {mean_clock(root), hottest(root)}; }

}  // namespace whittle
