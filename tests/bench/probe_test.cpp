#include "bench/probe.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <set>

#include "bench/cpu_features.h"
#include "bench/probe_loops.h"
#include "kernels/error.h"

using namespace whittle;

TEST_CASE("the short probes give positive, finite rates on any number of threads") {
  for (int threads : {1, 2, 3}) {
    const Team team(threads);
    const ProbeBuffer buffer(team, 16 << 20);
    for (double rate : {probe_read_bandwidth(team, buffer), probe_int8(team)}) {
      CHECK(rate > 0);
      CHECK(std::isfinite(rate));
    }
  }
}

TEST_CASE("a probe buffer's slices are aligned, apart and full of different data") {
  const Team team(3);
  const ProbeBuffer buffer(team, 10'000'000);
  CHECK(buffer.bytes() >= 10'000'000);
  const std::byte* end = nullptr;
  std::set<uint64_t> values;
  for (int thread = 0; thread < 3; ++thread) {
    const auto slice = buffer.slice(thread);
    CHECK(static_cast<int64_t>(slice.size()) * 3 == buffer.bytes());
    CHECK(reinterpret_cast<uintptr_t>(slice.data()) % (2 << 20) == 0);
    CHECK(slice.data() >= end);
    end = slice.data() + slice.size();
    for (size_t page = 0; page < slice.size(); page += 4096)
      values.insert(*reinterpret_cast<const uint64_t*>(slice.data() + page));
  }
  CHECK(values.size() == static_cast<size_t>(buffer.bytes()) / 4096);
}

TEST_CASE("a probe buffer that the system cannot give is an error") {
  CHECK_THROWS_AS(ProbeBuffer(Team(1), int64_t{1} << 60), Error);
}

TEST_CASE("every CPU has loops for int8 and fp32, and bf16 only with its instruction") {
  CHECK(!compute_loops(Arithmetic::int8).empty());
  CHECK(!compute_loops(Arithmetic::fp32).empty());
  CHECK(compute_loops(Arithmetic::bf16).empty() == !cpu_has("avx512_bf16"));
  for (Arithmetic arithmetic : {Arithmetic::int8, Arithmetic::fp32, Arithmetic::bf16})
    for (const ComputeLoop& loop : compute_loops(arithmetic)) {
      INFO(loop.instructions);
      CHECK((loop.extension.empty() || cpu_has(loop.extension)));
      loop.run(1);
      loop.run(1000);
    }
}
