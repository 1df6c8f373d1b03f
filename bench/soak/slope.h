#pragma once
// Whether a figure that was measured again and again grows.

#include <cstdint>
#include <span>
#include <string_view>

#include "bench/gate.h"
#include "bench/statistics.h"

namespace whittle {

struct Slope {
  // Of y per unit of x: least squares, and its 95 % interval; unbounded where points are too few to tell.
  Interval found;
  int64_t blocks = 0;
  double autocorrelation = 0;  // of the residuals of neighbouring blocks
};

// Points stand in order of x. Neighbours resemble each other, so they are first averaged into at most 24
// blocks of equally many (points that are not finite are left out), and a line is fitted to the blocks by
// ordinary least squares. The interval is slope ± t · s / √Σ(x − x̄)², s² = Σ residual² / (n − 2), Student's t
// with n − 2 degrees of freedom, where n is the number of blocks, or less: with r the lag-1 autocorrelation
// of the residuals, if above 0, n · (1 − r) / (1 + r), but at least 3 (Santer et al., 2000, "Statistical
// significance of trends and trend differences in layer-average atmospheric temperature time series"). Fewer
// than `fewest_blocks` give an unbounded interval.
inline constexpr int64_t fewest_blocks = 8;
Slope slope_of(std::span<const double> x, std::span<const double> y);

// A growth against the smallest that matters: exceeded where the interval lies above 0 and the best guess
// above the limit; kept where the whole interval is at most the limit; else undecided.
Verdict judge_growth(const Interval& growth, double limit);

}  // namespace whittle
