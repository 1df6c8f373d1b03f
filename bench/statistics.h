#pragma once
// What is said about repeated measurements. Every function asserts that it gets at least one value.

#include <cstdint>
#include <span>
#include <vector>

namespace whittle {

double mean(std::span<const double> values);

// Linear interpolation between the order statistics: q = 0 is the minimum, 1 the maximum, 0.5 the median.
double quantile(std::span<const double> values, double q);
double median(std::span<const double> values);

// How a set of repeats lies. The median says where; the median absolute deviation says how far a typical
// repeat is from it, and unlike a standard deviation does not care how bad the worst one was.
struct Spread {
  int64_t count = 0;
  double median = 0, min = 0, max = 0;
  double median_absolute_deviation = 0;
};
Spread spread(std::span<const double> values);

// The mean with its 95 % confidence interval from independent values, such as one figure per window of text:
// mean ± t · s / √n with Student's t for n − 1 degrees of freedom. One value alone says nothing of its error:
// ± infinity.
struct Interval {
  double mean = 0, low = 0, high = 0;
};
Interval mean_interval_95(std::span<const double> values);

// The median with a confidence interval of at least 95 % from independent values of any distribution: between
// two order statistics (David and Nagaraja, Order Statistics, 7.1). Fewer than six values allow none: ±
// infinity.
Interval median_interval_95(std::span<const double> values);

// Student's t for a two-sided 95 % interval: 12.706 at one degree of freedom, towards 1.960. Relative error
// below 1e-8.
double student_t_95(int64_t degrees_of_freedom);

// P(T > t) for Student's t.
double student_upper_tail(double t, int64_t degrees_of_freedom);

// The Hodges–Lehmann estimate, the median of all means of two values (each with itself too), and an interval
// for the middle of their distribution, which must be symmetric about it: Wilcoxon's signed ranks, exact for
// up to 60 values, else by the normal approximation (Hollander and Wolfe, Nonparametric Statistical Methods,
// 3.2 and 3.3). confidence: at least so much, such as 0.99; ± infinity where there are too few values for it.
Interval hodges_lehmann(std::span<const double> values, double confidence);

// By how much `now` lies above `before`, two sets of independent values: the Hodges–Lehmann estimate, the
// median of all differences of one of each, and its interval by the distribution of Mann and Whitney, exact
// for up to 80 values together, else by the normal approximation (Hollander and Wolfe, 4.2 and 4.3); ±
// infinity where there are too few values for it.
Interval hodges_lehmann_shift(std::span<const double> before, std::span<const double> now, double confidence);

// now − before of two figures that are known with an interval each, from independent values: Newcombe's way
// to join the intervals (1998, method 10; for any figures Zou and Donner 2008). Of values that belong
// together in pairs it is too wide rather than too narrow, where they go up and down together.
Interval interval_of_difference(const Interval& before, const Interval& now);

// Holm's adjusted p-values, in the order given: of several tests, those below α may be believed together with
// a chance of α that any of them is false (Holm 1979).
std::vector<double> holm(std::span<const double> p_values);

// The median of numerators[i] / denominators[i]. A machine that changes its speed between two pairs, but not
// within one, leaves this unmoved: so a measurement is divided by the probe that ran beside it, and only then
// summarised.
double median_ratio(std::span<const double> numerators, std::span<const double> denominators);

}  // namespace whittle
