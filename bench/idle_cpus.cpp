#include "bench/idle_cpus.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <iterator>
#include <map>
#include <sstream>
#include <thread>

#include "kernels/threads.h"

namespace whittle {
namespace {

struct Ticks {
  double idle = 0, all = 0;
};

// proc(5): "cpu0 user nice system idle iowait irq softirq steal guest guest_nice"; the guests' are in user's.
std::map<int, Ticks> read_ticks(const std::string& stat) {
  std::map<int, Ticks> found;
  std::istringstream lines(stat);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream fields(line);
    std::string name;
    fields >> name;
    if (!name.starts_with("cpu") || name.size() == 3) continue;
    Ticks ticks;
    double value = 0;
    for (int i = 0; i < 8 && fields >> value; ++i) {
      ticks.all += value;
      if (i == 3 || i == 4) ticks.idle += value;
    }
    found[std::atoi(name.c_str() + 3)] = ticks;
  }
  return found;
}

std::string read_stat() {
  std::ifstream file("/proc/stat");
  return {std::istreambuf_iterator<char>(file), {}};
}

}  // namespace

std::optional<double> idle_cpus(const std::string& earlier, const std::string& later,
                                std::span<const int> cpus) {
  const std::map<int, Ticks> before = read_ticks(earlier), after = read_ticks(later);
  double idle = 0;
  for (const int cpu : cpus) {
    const auto from = before.find(cpu), to = after.find(cpu);
    if (from == before.end() || to == after.end()) return std::nullopt;
    const double all = to->second.all - from->second.all;
    if (all <= 0) return std::nullopt;
    idle += std::clamp((to->second.idle - from->second.idle) / all, 0.0, 1.0);
  }
  return idle;
}

int threads_without_neighbours(int most) {
  constexpr auto apart = std::chrono::milliseconds(500);
  constexpr double nearly_idle = 0.25;  // what a CPU may be busy with
  const std::string earlier = read_stat();
  std::this_thread::sleep_for(apart);
  const std::optional<double> idle = idle_cpus(earlier, read_stat(), usable_cpus());
  if (!idle) return most;
  return std::clamp(static_cast<int>(*idle + nearly_idle), 1, std::max(1, most));
}

}  // namespace whittle
