#include "bench/machine.h"

#include <fmt/format.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <fstream>
#include <map>
#include <set>
#include <sstream>

#include "bench/cpu_features.h"
#include "kernels/threads.h"

namespace whittle {

namespace fs = std::filesystem;

namespace {

std::string first_line(const fs::path& path) {
  std::string line;
  std::ifstream file(path);
  std::getline(file, line);
  return line;
}

std::optional<int64_t> leading_number(std::string_view text) {
  int64_t value = 0;
  const size_t start = text.find_first_not_of(" \t");
  if (start == text.npos) return std::nullopt;
  const auto [end, error] = std::from_chars(text.data() + start, text.data() + text.size(), value);
  if (error != std::errc()) return std::nullopt;
  return value;
}

// The value of a "name: value" line; an empty string when there is none.
std::string field(const fs::path& path, std::string_view name) {
  std::ifstream file(path);
  for (std::string line; std::getline(file, line);) {
    const size_t colon = line.find(':');
    if (colon == line.npos) continue;
    if (std::string_view(line).substr(0, line.find_last_not_of(" \t", colon - 1) + 1) != name) continue;
    const size_t value = line.find_first_not_of(" \t", colon + 1);
    return value == line.npos ? "" : line.substr(value);
  }
  return "";
}

fs::path cpu_folder(const fs::path& root, int cpu) {
  return root / "sys/devices/system/cpu" / fmt::format("cpu{}", cpu);
}

int count_physical_cores(const fs::path& root) {
  std::set<std::string> cores;
  for (int cpu : usable_cpus()) {
    const std::string siblings = first_line(cpu_folder(root, cpu) / "topology/thread_siblings_list");
    cores.insert(siblings.empty() ? std::to_string(cpu) : siblings);
  }
  return static_cast<int>(cores.size());
}

std::vector<Cache> system_caches(const fs::path& root) {
  std::map<std::string, Cache> caches;
  std::map<std::string, std::set<std::string>> instances;
  for (int cpu : usable_cpus()) {
    for (int index = 0; index < 16; ++index) {
      const fs::path folder = cpu_folder(root, cpu) / "cache" / fmt::format("index{}", index);
      const auto level = leading_number(first_line(folder / "level"));
      const std::string size = first_line(folder / "size");  // "32K"
      const auto value = leading_number(size);
      if (!level || !value || *value <= 0) continue;
      const std::string type = first_line(folder / "type");
      const char* suffix = type == "Data" ? "d" : type == "Instruction" ? "i" : "";
      const std::string name = fmt::format("l{}{}", *level, suffix);
      const int64_t unit = size.ends_with('M') ? 1 << 20 : size.ends_with('K') ? 1 << 10 : 1;
      instances[name].insert(first_line(folder / "shared_cpu_list"));
      caches[name] = {name, *value * unit, static_cast<int>(instances[name].size())};
    }
  }
  std::vector<Cache> found;
  for (auto& [name, cache] : caches) found.push_back(cache);
  return found;
}

std::vector<Cache> library_caches() {
  std::vector<Cache> found;
  const std::pair<const char*, int> names[] = {{"l1d", _SC_LEVEL1_DCACHE_SIZE},
                                               {"l1i", _SC_LEVEL1_ICACHE_SIZE},
                                               {"l2", _SC_LEVEL2_CACHE_SIZE},
                                               {"l3", _SC_LEVEL3_CACHE_SIZE}};
  for (const auto& [name, code] : names)
    if (const long bytes = sysconf(code); bytes > 0) found.push_back({name, bytes, 0});
  return found;
}

// The folders of a control group that hold its limits, from the process's own up to the root of the
// hierarchy: any of them may be the one that binds. `controller` is empty for version 2.
std::vector<fs::path> control_group_folders(const fs::path& root, const std::string& controller) {
  fs::path own = "/";
  std::ifstream file(root / "proc/self/cgroup");
  for (std::string line; std::getline(file, line);) {  // "4:cpu,cpuacct:/a/b", or "0::/a/b"
    const size_t first = line.find(':'), second = line.find(':', first + 1);
    if (second == line.npos) continue;
    const std::string controllers = fmt::format(",{},", line.substr(first + 1, second - first - 1));
    if (controllers.find(fmt::format(",{},", controller)) != controllers.npos) own = line.substr(second + 1);
  }
  const fs::path mount = root / "sys/fs/cgroup" / controller;
  std::vector<fs::path> folders;
  for (fs::path path = own.relative_path(); !path.empty(); path = path.parent_path())
    folders.push_back(mount / path);
  folders.push_back(mount);
  return folders;
}

std::optional<double> control_group_cpus(const fs::path& root) {
  std::optional<double> cpus;
  const auto limit = [&](std::optional<int64_t> quota, std::optional<int64_t> period) {
    if (!quota || !period || *quota <= 0 || *period <= 0) return;  // "max", or −1
    const double value = static_cast<double>(*quota) / static_cast<double>(*period);
    cpus = cpus ? std::min(*cpus, value) : value;
  };
  for (const fs::path& folder : control_group_folders(root, "")) {
    const std::string line = first_line(folder / "cpu.max");  // "150000 100000"
    const size_t space = line.find(' ');
    if (space != line.npos) limit(leading_number(line), leading_number(std::string_view(line).substr(space)));
  }
  for (const fs::path& folder : control_group_folders(root, "cpu"))
    limit(leading_number(first_line(folder / "cpu.cfs_quota_us")),
          leading_number(first_line(folder / "cpu.cfs_period_us")));
  return cpus;
}

int64_t control_group_memory(const fs::path& root) {
  int64_t bytes = INT64_MAX;
  for (const fs::path& folder : control_group_folders(root, ""))
    bytes = std::min(bytes, leading_number(first_line(folder / "memory.max")).value_or(INT64_MAX));
  for (const fs::path& folder : control_group_folders(root, "memory"))
    bytes = std::min(bytes, leading_number(first_line(folder / "memory.limit_in_bytes")).value_or(INT64_MAX));
  return bytes;
}

int64_t memory_field(const fs::path& root, std::string_view name) {
  return leading_number(field(root / "proc/meminfo", name)).value_or(0) * 1024;
}

std::string bracketed(const std::string& line) {  // "always [madvise] never"
  const size_t open = line.find('['), close = line.find(']');
  return open == line.npos || close == line.npos ? "" : line.substr(open + 1, close - open - 1);
}

}  // namespace

int64_t Machine::last_level_cache_bytes() const {
  return caches.empty() ? 0 : caches.back().bytes * std::max(1, caches.back().instances);
}

Machine read_machine(const fs::path& root) {
  Machine machine;
  machine.cpu = field(root / "proc/cpuinfo", "model name");
  if (machine.cpu.empty()) machine.cpu = cpu_brand();
  machine.vendor = cpu_vendor();
  machine.isa_found = cpu_extensions();
  machine.hypervisor = cpu_has("hypervisor");
  machine.cpus_logical = static_cast<int>(usable_cpus().size());
  machine.cores_physical = count_physical_cores(root);
  machine.cpu_quota = control_group_cpus(root);
  machine.caches = system_caches(root);
  if (machine.caches.empty()) machine.caches = library_caches();
  machine.memory_bytes = memory_field(root, "MemTotal");
  machine.memory_available_bytes = std::min(memory_field(root, "MemAvailable"), control_group_memory(root));
  utsname system{};
  if (uname(&system) == 0) machine.kernel = fmt::format("{} {}", system.sysname, system.release);
  machine.huge_pages = bracketed(first_line(root / "sys/kernel/mm/transparent_hugepage/enabled"));
  return machine;
}

}  // namespace whittle
