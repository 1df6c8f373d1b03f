#pragma once
// What this machine is, as far as it tells.

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace whittle {

struct Cache {
  std::string name;   // "l1d", "l1i", "l2", "l3"
  int64_t bytes = 0;  // of one instance
  int instances = 0;  // that the usable CPUs can reach; 0: unknown
};

struct Machine {
  std::string cpu;     // the model's name
  std::string vendor;  // "AuthenticAMD", "GenuineIntel", …
  std::vector<std::string>
      isa_found;                    // extensions that CPU and system both support, of those that matter here
  int cpus_logical = 0;             // that this process may use
  int cores_physical = 0;           // among them
  std::optional<double> cpu_quota;  // a control group's limit, in CPUs; may be a fraction
  std::vector<Cache> caches;        // the known ones, L1 first
  int64_t memory_bytes = 0;
  int64_t memory_available_bytes =
      0;               // what the system can give without swapping; at most the control group's limit
  std::string kernel;  // "Linux 6.1.0"
  bool hypervisor = false;
  std::string huge_pages;  // transparent ones: "always", "madvise", "never", or empty when unknown

  // Of the largest level, every instance: what a buffer must exceed many times over to be read from memory.
  int64_t last_level_cache_bytes() const;
};

// `root` is where /proc and /sys are looked for. Facts that cannot be found stay empty, 0 or unset.
Machine read_machine(const std::filesystem::path& root = "/");

}  // namespace whittle
