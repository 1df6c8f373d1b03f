#pragma once
// Kernels timed on one thread, each as a fraction of what the machine allowed at that moment (the roofline:
// bytes over the read probe, or operations over the arithmetic probes, whichever takes longer).

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <functional>
#include <string>

#include "engine/profile.h"
#include "kernels/kernel_table.h"

namespace whittle {

// One benchmark: a few runs with the probes beside each.
void register_kernel(const std::string& name, std::function<void(benchmark::State&)> run);

// Times `body` once an iteration; counters are GB/s, GOPS and, of what `work` must take at least, the
// percentage. `dense`: what does the same otherwise, timed just before or after; "x dense" says how many
// times as long that takes, from pairs.
void measure_against_limit(benchmark::State& state, const Work& work, const std::function<void()>& body,
                           const std::function<void()>& dense = {});

// What each file measures, of one instruction set.
void register_matmul(const KernelTable& table);
void register_attention(const KernelTable& table);
void register_elementwise(const KernelTable& table);

}  // namespace whittle
