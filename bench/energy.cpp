#include "bench/energy.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <thread>

#include "engine/files/json_file.h"

namespace whittle {

namespace fs = std::filesystem;

namespace {

int64_t steady_ns() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::steady_clock::now().time_since_epoch())
      .count();
}

// The first line of a small file; `wrong` says what stood in the way. Not by a stream, which keeps no errno.
std::string first_line(const fs::path& path, std::string& wrong) {
  std::array<char, 128> text;
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  const ssize_t size = file < 0 ? -1 : read(file, text.data(), text.size());
  if (size < 0) wrong = fmt::format("{}: {}", path.string(), std::strerror(errno));
  if (file >= 0) close(file);
  const std::string_view all(text.data(), static_cast<size_t>(std::max<ssize_t>(size, 0)));
  return std::string(all.substr(0, all.find('\n')));
}

int64_t microjoules(const fs::path& path, int64_t least, int64_t most, std::string& wrong) {
  const std::string line = first_line(path, wrong);
  if (!wrong.empty()) return 0;
  int64_t value = -1;
  const auto [end, error] = std::from_chars(line.data(), line.data() + line.size(), value);
  if (error == std::errc() && end == line.data() + line.size() && value >= least && value <= most)
    return value;
  wrong =
      fmt::format("{}: expected a number from {} to {}, found {}", path.string(), least, most, quote(line));
  return 0;
}

}  // namespace

Energy operator+(const Energy& a, const Energy& b) {
  Energy sum = {a.package_joules + b.package_joules, {}, a.seconds + b.seconds};
  if (a.dram_joules && b.dram_joules) sum.dram_joules = *a.dram_joules + *b.dram_joules;
  return sum;
}

Energy operator-(const Energy& a, const Energy& b) {
  Energy difference = {a.package_joules - b.package_joules, {}, a.seconds - b.seconds};
  if (a.dram_joules && b.dram_joules) difference.dram_joules = *a.dram_joules - *b.dram_joules;
  return difference;
}

EnergyMeter::EnergyMeter(const fs::path& root, bool virtual_machine) : start_ns_(steady_ns()) {
  find_counters(root / "sys/class/powercap");
  if (!available() && virtual_machine) missing_ += "; this is a virtual machine";
}

// A package is intel-rapl:N, and its parts, of which the memory may be one, are intel-rapl:N:M beside it. The
// same counters may stand there again as intel-rapl-mmio:N, and the whole computer's as a package named psys.
void EnergyMeter::find_counters(const fs::path& powercap) {
  std::error_code error;
  std::vector<fs::path> folders;
  for (fs::directory_iterator entry(powercap, error), end; !error && entry != end; entry.increment(error))
    if (entry->path().filename().string().starts_with("intel-rapl:")) folders.push_back(entry->path());
  if (error) {
    missing_ = fmt::format("{}: {}", powercap.string(), error.message());
    return;
  }
  std::ranges::sort(folders);
  std::string dram_wrong;
  for (const fs::path& folder : folders) {
    std::string nameless;
    const std::string name = first_line(folder / "name", nameless);
    const bool dram = name == "dram";
    if (dram || name.starts_with("package-")) add({folder, 0, 0, 0, dram}, dram ? dram_wrong : missing_);
  }
  const auto packages = std::ranges::count(counters_, false, &Counter::dram);
  if (missing_.empty() && packages == 0)
    missing_ = fmt::format("{}: no intel-rapl package in it", powercap.string());
  // Of some packages alone, the memory's energy would be taken for that of all.
  if (std::ranges::count(counters_, true, &Counter::dram) != packages)
    std::erase_if(counters_, &Counter::dram);
}

void EnergyMeter::add(Counter counter, std::string& wrong) {
  constexpr int64_t most = int64_t{1} << 62;
  counter.range = microjoules(counter.folder / "max_energy_range_uj", 1, most, wrong);
  if (wrong.empty()) counter.last = microjoules(counter.folder / "energy_uj", 0, counter.range, wrong);
  if (wrong.empty()) counters_.push_back(counter);
}

Energy EnergyMeter::now() {
  Energy energy;
  energy.seconds = 1e-9 * static_cast<double>(steady_ns() - start_ns_);
  int64_t package = 0, dram = 0;
  bool has_dram = false;
  for (Counter& counter : counters_) {
    std::string wrong;
    const int64_t value = microjoules(counter.folder / "energy_uj", 0, counter.range, wrong);
    if (!wrong.empty()) {
      if (missing_.empty()) missing_ = wrong;
      continue;
    }
    counter.sum += value - counter.last + (value < counter.last ? counter.range : 0);
    counter.last = value;
    (counter.dram ? dram : package) += counter.sum;
    has_dram |= counter.dram;
  }
  energy.package_joules = 1e-6 * static_cast<double>(package);
  if (has_dram) energy.dram_joules = 1e-6 * static_cast<double>(dram);
  return energy;
}

EnergyUse::EnergyUse(EnergyMeter* meter, Energy* use) : meter_(use ? meter : nullptr), use_(use) {
  if (meter_) start_ = meter_->now();
}

EnergyUse::~EnergyUse() {
  if (!meter_) return;
  const Energy used = meter_->now() - start_;
  *use_ = use_->seconds > 0 ? *use_ + used : used;
}

Energy measure_idle(EnergyMeter& meter) {
  using namespace std::chrono_literals;
  std::this_thread::sleep_for(50ms);
  const Energy before = meter.now();
  std::this_thread::sleep_for(333ms);
  return meter.now() - before;
}

}  // namespace whittle
