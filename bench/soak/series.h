#pragma once
// What was measured round after round, in room that does not grow.

#include <cstdint>
#include <span>
#include <vector>

namespace whittle {

// The mean of some rounds. NaN: unknown.
struct SoakPoint {
  double seconds = 0;  // since the run began
  double anonymous_bytes = 0;
  double decode_ms = 0;   // a token
  double prefill_ms = 0;  // a token of a prompt
  double clock_mhz = 0, temperature_c = 0;
  int64_t rounds = 0;  // that it stands for
};

// Keeps fewer than `capacity` points: when they are full, neighbours are averaged two by two, and from then
// on each point stands for twice as many rounds. A run that watches its own memory must not take more of it.
class SoakSeries {
 public:
  // rounds: that a point stands for at first. capacity: even.
  explicit SoakSeries(int64_t rounds, size_t capacity = 1000) : capacity_(capacity), stride_(rounds) {
    points_.reserve(capacity);
  }
  // One round.
  void add(SoakPoint point);
  // In order of time; rounds of a point that is not complete are left out.
  std::span<const SoakPoint> points() const { return points_; }
  // One figure of every point.
  std::vector<double> values(double SoakPoint::*figure) const;

 private:
  size_t capacity_;
  int64_t stride_;  // rounds of a point
  SoakPoint pending_;
  std::vector<SoakPoint> points_;
};

}  // namespace whittle
