#include "bench/micro/limits.h"

#include <chrono>
#include <vector>

#include "bench/probe.h"
#include "bench/reports/profile_report.h"
#include "bench/statistics.h"

namespace whittle {
namespace {

// The memory that the read probe walks over takes a second to make.
const Team& one_thread() {
  static const Team team(1);
  return team;
}
const ProbeBuffer& probe_buffer() {
  static const ProbeBuffer buffer(one_thread());
  return buffer;
}

ProfileLimits probe(const Work& work) {
  return {probe_read_bandwidth(one_thread(), probe_buffer()),
          work.int8_operations ? probe_int8(one_thread()) : 1,
          work.float_operations ? probe_fp32(one_thread()) : 1};
}

}  // namespace

void register_kernel(const std::string& name, std::function<void(benchmark::State&)> run) {
  benchmark::RegisterBenchmark(name.c_str(), std::move(run))
      ->Iterations(9)
      ->UseManualTime()
      ->Unit(benchmark::kMillisecond);
}

void measure_against_limit(benchmark::State& state, const Work& work, const std::function<void()>& body,
                           const std::function<void()>& dense) {
  using Clock = std::chrono::steady_clock;
  std::vector<double> least, taken, by_dense;
  const auto time = [](const std::function<void()>& run, std::vector<double>& seconds) {
    const auto start = Clock::now();
    run();
    seconds.push_back(std::chrono::duration<double>(Clock::now() - start).count());
  };
  for (auto _ : state) {
    const ProfileLimits before = probe(work);
    const bool dense_first = taken.size() % 2;
    if (dense && dense_first) time(dense, by_dense);
    time(body, taken);
    if (dense && !dense_first) time(dense, by_dense);
    const ProfileLimits after = probe(work);
    least.push_back((limit_seconds(work, before) + limit_seconds(work, after)) / 2);
    state.SetIterationTime(taken.back());
  }
  state.counters["%limit"] = 100 * median_ratio(least, taken);
  if (dense) state.counters["x dense"] = median_ratio(by_dense, taken);
  state.counters["GB/s"] = static_cast<double>(work.bytes) / median(taken) / 1e9;
  state.counters["GOPS"] =
      static_cast<double>(work.int8_operations + work.float_operations) / median(taken) / 1e9;
}

}  // namespace whittle
