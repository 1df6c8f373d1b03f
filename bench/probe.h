#pragma once
// Measured limits of the machine: what a kernel's speed is a fraction of.
//
// The short probes are meant to run right beside a measurement: shared machines move between states within
// seconds, and a limit that was measured a minute ago is another machine's.

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernels/threads.h"

namespace whittle {

// Memory to read, a slice a thread, much larger than the caches: by default at least 256 MB and 8 times the
// last level cache, at most 2 GB and a quarter of the memory available. It counts in this process's peak RSS.
class ProbeBuffer {
 public:
  // Each thread of the team touches its own slice first, so that the pages lie in its memory node. Throws
  // Error when the system does not give the memory.
  explicit ProbeBuffer(const Team& team, int64_t bytes = 0);
  ~ProbeBuffer();
  ProbeBuffer(const ProbeBuffer&) = delete;
  ProbeBuffer& operator=(const ProbeBuffer&) = delete;

  int threads() const { return threads_; }
  int64_t bytes() const { return slice_bytes_ * threads_; }
  std::span<const std::byte> slice(int thread) const;

 private:
  std::byte* mapping_ = nullptr;
  std::byte* first_ = nullptr;  // on a huge page's boundary
  int64_t mapping_bytes_ = 0, slice_bytes_ = 0;
  int threads_;
};

// About 30 ms each; the median of several passes. The team is the one that the buffer was made for.
double probe_read_bandwidth(const Team& team, const ProbeBuffer& buffer);  // GB/s (1e9), all threads together
double probe_int8(const Team& team);  // GOPS (1e9 multiplies and adds a second)
double probe_fp32(const Team& team);  // GFLOPS

// Of several slices of time. The best says what the hardware can do, the median what it did.
struct Rate {
  double median = 0, best = 0;
};

struct Limits {
  int threads = 0;
  Rate read_gb_per_s;
  Rate int8_gops;
  std::string int8_instruction;  // the fastest sequence of exact 8-bit products with 32-bit sums
  Rate fp32_gflops;
  std::string fp32_instruction;
  std::optional<Rate> bf16_gflops;  // unset on a CPU without bf16 arithmetic
};

// Takes about `seconds`: rounds of short slices, each kind in turn, so that a change of the machine's state
// meets all.
Limits probe_limits(const Team& team, double seconds = 1);

}  // namespace whittle
