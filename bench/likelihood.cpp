#include "bench/likelihood.h"

#include <algorithm>
#include <cmath>

namespace whittle {

double log_sum_exp(std::span<const float> logits) {
  const double top = static_cast<double>(*std::max_element(logits.begin(), logits.end()));
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - top);
  return top + std::log(sum);
}

}  // namespace whittle
