#include "bench/soak/sensors.h"

#include <fmt/format.h>

#include <catch2/catch.hpp>
#include <filesystem>
#include <fstream>

#include "kernels/threads.h"
#include "tests/support/paths.h"

using namespace whittle;
namespace fs = std::filesystem;

namespace {

void write(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

fs::path clock_file(const fs::path& root, int cpu) {
  return root / fmt::format("sys/devices/system/cpu/cpu{}/cpufreq/scaling_cur_freq", cpu);
}

}  // namespace

TEST_CASE("The clock is the mean of the usable CPUs, the temperature that of the hottest sensor") {
  test::TemporaryFolder root;
  for (const int cpu : usable_cpus())
    write(clock_file(root.path(), cpu), fmt::format("{}\n", 2'000'000 + 1000 * cpu));
  write(clock_file(root.path(), 4999), "9000000\n");  // no CPU of ours
  write(root.path() / "sys/class/thermal/thermal_zone0/temp", "41000\n");
  write(root.path() / "sys/class/thermal/cooling_device0/temp", "90000\n");
  write(root.path() / "sys/class/hwmon/hwmon2/temp3_input", "63500\n");
  write(root.path() / "sys/class/hwmon/hwmon2/temp4_input", "-128000\n");
  const SensorReading found = read_sensors(root.path());
  double mean = 0;
  for (const int cpu : usable_cpus()) mean += (2000.0 + cpu) / static_cast<double>(usable_cpus().size());
  REQUIRE(found.clock_mhz);
  CHECK(*found.clock_mhz == Approx(mean));
  CHECK(found.temperature_c == 63.5);
}

TEST_CASE("What is not there, not readable or nonsense is unknown") {
  test::TemporaryFolder root;
  CHECK_FALSE(read_sensors(root.path()).clock_mhz);
  CHECK_FALSE(read_sensors(root.path()).temperature_c);
  const fs::path zone = root.path() / "sys/class/thermal/thermal_zone0/temp",
                 clock = clock_file(root.path(), usable_cpus().front());
  for (const char* text :
       {"", "hot\n", "nan\n", "inf\n", "1e300\n", "-999999999\n", "999999999999999999999\n"}) {
    CAPTURE(text);
    write(zone, text);
    write(clock, text);
    CHECK_FALSE(read_sensors(root.path()).clock_mhz);
    CHECK_FALSE(read_sensors(root.path()).temperature_c);
  }
  fs::remove(zone);
  fs::create_directories(zone);  // a folder where a file should be
  CHECK_FALSE(read_sensors(root.path()).temperature_c);
  write(root.path() / "other/sys/class/hwmon", "a file where a folder should be");
  CHECK_FALSE(read_sensors(root.path() / "other").temperature_c);
}
