#include "bench/probe.h"

#include <sys/mman.h>

#include <algorithm>
#include <cassert>
#include <cerrno>
#include <cstring>
#include <functional>

#include "bench/machine.h"
#include "bench/probe_loops.h"
#include "bench/statistics.h"
#include "engine/clock.h"
#include "kernels/error.h"

namespace whittle {

namespace {

constexpr double slice_seconds = 0.03;
constexpr int64_t huge_page = 2 << 20;

// Passes that all threads start together, for about `seconds` and at least three; the time of each from the
// start to the end of the slowest thread.
std::vector<double> time_passes(const Team& team, double seconds,
                                const std::function<void(const Worker&)>& pass) {
  constexpr size_t fewest = 3, most = 10000;
  std::vector<double> times;
  times.reserve(most);
  bool more = true;
  team.run([&](const Worker& worker) {
    const auto start = Clock::now();
    while (more) {
      worker.barrier();
      const auto pass_start = Clock::now();
      pass(worker);
      worker.barrier();
      if (worker.index == 0) {
        times.push_back(seconds_since(pass_start));
        more = times.size() < fewest || (seconds_since(start) < seconds && times.size() < most);
      }
      worker.barrier();
    }
  });
  return times;
}

double compute_slice(const Team& team, const ComputeLoop& loop) {
  constexpr int64_t iterations =
      100'000;  // a fraction of a millisecond: between two clock ticks of the system
  const double seconds =
      median(time_passes(team, slice_seconds, [&](const Worker&) { loop.run(iterations); }));
  return static_cast<double>(team.size() * loop.operations * iterations) / seconds / 1e9;
}

double probe_arithmetic(const Team& team, Arithmetic arithmetic) {
  double best = 0;
  for (const ComputeLoop& loop : compute_loops(arithmetic)) best = std::max(best, compute_slice(team, loop));
  return best;
}

Rate rate_of(const std::vector<double>& slices) {
  return {median(slices), *std::max_element(slices.begin(), slices.end())};
}

int64_t default_bytes() {
  const Machine machine = read_machine();
  const int64_t wanted = std::clamp<int64_t>(8 * machine.last_level_cache_bytes(), 256 << 20, 2LL << 30);
  return machine.memory_available_bytes ? std::min(wanted, machine.memory_available_bytes / 4) : wanted;
}

}  // namespace

ProbeBuffer::ProbeBuffer(const Team& team, int64_t bytes) : threads_(team.size()) {
  const int64_t wanted = bytes ? bytes : default_bytes();
  slice_bytes_ = std::max((wanted / threads_ + huge_page - 1) / huge_page, int64_t{1}) * huge_page;
  mapping_bytes_ = this->bytes() + huge_page;
  void* mapping = mmap(nullptr, mapping_bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED)
    fail("read bandwidth probe: cannot get {} bytes of memory: {}", mapping_bytes_, std::strerror(errno));
  mapping_ = static_cast<std::byte*>(mapping);
  first_ = mapping_ + (huge_page - reinterpret_cast<uintptr_t>(mapping_) % huge_page) % huge_page;
  madvise(first_, this->bytes(),
          MADV_HUGEPAGE);  // advice: where it is not taken, small pages are the machine's limit
  team.run([&](const Worker& worker) {
    // Not zeros, which a hypervisor may keep in one page for all.
    uint64_t value = static_cast<uint64_t>(worker.index) + 1;
    std::byte* data = first_ + worker.index * slice_bytes_;
    for (int64_t i = 0; i < slice_bytes_;
         i += sizeof value, value = value * 6364136223846793005u + 1442695040888963407u)
      std::memcpy(data + i, &value, sizeof value);
  });
}

ProbeBuffer::~ProbeBuffer() { munmap(mapping_, mapping_bytes_); }

std::span<const std::byte> ProbeBuffer::slice(int thread) const {
  assert(thread >= 0 && thread < threads_);
  return {first_ + thread * slice_bytes_, static_cast<size_t>(slice_bytes_)};
}

double probe_read_bandwidth(const Team& team, const ProbeBuffer& buffer) {
  assert(team.size() == buffer.threads());
  const double seconds = median(time_passes(team, slice_seconds, [&](const Worker& worker) {
    const auto slice = buffer.slice(worker.index);
    read_memory(slice.data(), static_cast<int64_t>(slice.size()));
  }));
  return static_cast<double>(buffer.bytes()) / seconds / 1e9;
}

double probe_int8(const Team& team) { return probe_arithmetic(team, Arithmetic::int8); }

double probe_fp32(const Team& team) { return probe_arithmetic(team, Arithmetic::fp32); }

Limits probe_limits(const Team& team, double seconds) {
  constexpr int fewest_rounds = 3;
  const ProbeBuffer buffer(team);
  std::vector<ComputeLoop> loops;
  for (Arithmetic arithmetic : {Arithmetic::int8, Arithmetic::fp32, Arithmetic::bf16})
    for (const ComputeLoop& loop : compute_loops(arithmetic)) loops.push_back(loop);

  std::vector<double> reads;
  std::vector<std::vector<double>> speeds(loops.size());
  const auto start = Clock::now();
  for (int round = 0; round < fewest_rounds || seconds_since(start) < seconds; ++round) {
    reads.push_back(probe_read_bandwidth(team, buffer));
    for (size_t i = 0; i < loops.size(); ++i) speeds[i].push_back(compute_slice(team, loops[i]));
  }

  Limits limits;
  limits.threads = team.size();
  limits.read_gb_per_s = rate_of(reads);
  for (size_t i = 0; i < loops.size(); ++i) {
    const Rate rate = rate_of(speeds[i]);
    if (loops[i].arithmetic == Arithmetic::int8 && rate.median > limits.int8_gops.median) {
      limits.int8_gops = rate;
      limits.int8_instruction = loops[i].instructions;
    }
    if (loops[i].arithmetic == Arithmetic::fp32 && rate.median > limits.fp32_gflops.median) {
      limits.fp32_gflops = rate;
      limits.fp32_instruction = loops[i].instructions;
    }
    if (loops[i].arithmetic == Arithmetic::bf16) limits.bf16_gflops = rate;
  }
  return limits;
}

}  // namespace whittle
