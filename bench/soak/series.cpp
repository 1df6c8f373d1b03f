#include "bench/soak/series.h"

namespace whittle {
namespace {

SoakPoint mean(const SoakPoint& a, const SoakPoint& b) {
  if (a.rounds == 0) return b;
  SoakPoint out;
  out.rounds = a.rounds + b.rounds;
  for (double SoakPoint::*figure : {&SoakPoint::seconds, &SoakPoint::anonymous_bytes, &SoakPoint::decode_ms,
                                    &SoakPoint::prefill_ms, &SoakPoint::clock_mhz, &SoakPoint::temperature_c})
    out.*figure = (a.*figure * static_cast<double>(a.rounds) + b.*figure * static_cast<double>(b.rounds)) /
                  static_cast<double>(out.rounds);
  return out;
}

}  // namespace

void SoakSeries::add(SoakPoint point) {
  point.rounds = 1;
  pending_ = mean(pending_, point);
  if (pending_.rounds < stride_) return;
  points_.push_back(pending_);
  pending_ = {};
  if (points_.size() < capacity_) return;
  for (size_t i = 0; i < capacity_ / 2; ++i) points_[i] = mean(points_[2 * i], points_[2 * i + 1]);
  points_.resize(capacity_ / 2);
  stride_ *= 2;
}

std::vector<double> SoakSeries::values(double SoakPoint::*figure) const {
  std::vector<double> values;
  for (const SoakPoint& point : points_) values.push_back(point.*figure);
  return values;
}

}  // namespace whittle
