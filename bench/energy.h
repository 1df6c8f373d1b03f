#pragma once
// Energy that the processors took, as their own counters tell: Intel's running average power limit (RAPL),
// which AMD's processors since Zen have too. Linux shows it under /sys/class/powercap
// (Documentation/power/powercap/powercap.rst), most often to root alone, and hardly ever to virtual machines.
//
// A counter is moved on about once a millisecond, so that what takes few of them is known roughly; and it
// counts for the whole package, whoever works there. What it takes at rest is therefore measured beside.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "bench/cpu_features.h"

namespace whittle {

struct Energy {
  double package_joules = 0;          // of all packages: cores, caches, memory controllers
  std::optional<double> dram_joules;  // of the memory; unset unless every package counts it
  double seconds = 0;

  double joules() const { return package_joules + dram_joules.value_or(0); }
  double watts() const { return joules() / seconds; }
  // What is left without that which `idle` would have taken in the same time; below 0 where noise is larger.
  double joules_above(const Energy& idle) const { return joules() - idle.watts() * seconds; }
};
Energy operator+(const Energy& a, const Energy& b);
Energy operator-(const Energy& a, const Energy& b);

class EnergyMeter {
 public:
  // `root` is where /sys is looked for.
  explicit EnergyMeter(const std::filesystem::path& root = "/", bool virtual_machine = cpu_has("hypervisor"));

  // Why there is nothing to be read: no such folder, permission denied, …; empty where there is. A package's
  // counter that fails later sets it too.
  const std::string& missing() const { return missing_; }
  bool available() const { return missing_.empty(); }

  // Since this was made. Counters start again at max_energy_range_uj, which is noticed when this is called at
  // least once in that time: some minutes at full load.
  Energy now();

 private:
  struct Counter {
    std::filesystem::path folder;
    int64_t range = 0, last = 0, sum = 0;  // microjoules
    bool dram = false;
  };
  void find_counters(const std::filesystem::path& powercap);
  void add(Counter counter, std::string& wrong);

  std::vector<Counter> counters_;
  std::string missing_;
  int64_t start_ns_ = 0;
};

// Adds the energy that is taken while it lives to `use`. Either may be nullptr: nothing is measured.
class EnergyUse {
 public:
  EnergyUse(EnergyMeter* meter, Energy* use);
  ~EnergyUse();
  EnergyUse(const EnergyUse&) = delete;
  EnergyUse& operator=(const EnergyUse&) = delete;

 private:
  EnergyMeter* meter_;
  Energy* use_;
  Energy start_;
};

// Rests for a third of a second and tells what that took, after a moment in which threads that wait in a loop
// fall asleep.
Energy measure_idle(EnergyMeter& meter);

}  // namespace whittle
