#pragma once
// What is said about counts of right and wrong answers.

#include <cstdint>

#include "bench/statistics.h"

namespace whittle {

// A proportion with Wilson's 95 % score interval (Wilson, 1927), which lies within 0 and 1 and is no single
// point where all answers are alike. count ≥ 1.
Interval wilson_interval_95(int64_t successes, int64_t count);

// McNemar's exact test for paired answers (McNemar, 1947): of b + c pairs that differ, the two-sided
// probability of a split at least as uneven where each way is as likely. 1 where none differs.
double mcnemar_exact(int64_t b, int64_t c);

// (b − c) / count, the proportion that was lost, where of `count` paired answers b went from right to wrong
// and c from wrong to right; its 95 % interval is Agresti and Min's (2005, "Simple improved confidence
// intervals for comparing matched proportions"): Wald's after half an answer more in each of the four cells.
Interval paired_loss_interval_95(int64_t b, int64_t c, int64_t count);

}  // namespace whittle
