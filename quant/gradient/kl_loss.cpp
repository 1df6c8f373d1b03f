#include "quant/gradient/kl_loss.h"

#include <cmath>
#include <vector>

#include "quant/gradient/operations.h"

namespace whittle {
namespace {

// x becomes exp((x − max x) / T). Returns ln Σ exp(x / T); `total` is the sum of what x became.
double exponentials(float* x, int64_t n, float inverse_temperature, float& total) {
  const float top = largest(x, n);
  for (int64_t i = 0; i < n; ++i) x[i] = exponential((x[i] - top) * inverse_temperature);
  total = sum(x, n);
  return static_cast<double>(top) * static_cast<double>(inverse_temperature) +
         std::log(static_cast<double>(total));
}

}  // namespace

double kl_backward(const Team& team, const Matrix& target, float temperature, float factor, Matrix& logits) {
  const int64_t n = logits.cols();
  const float inverse = 1.0f / temperature;
  std::vector<double> kl(static_cast<size_t>(logits.rows()));
  team.for_each(logits.rows(), [&](int64_t m) {
    std::vector<float> p(target.row(m), target.row(m) + n), difference(p);
    float* const q = logits.row(m);
    for (int64_t i = 0; i < n; ++i) difference[static_cast<size_t>(i)] -= q[i];
    float p_sum, q_sum;
    const double p_norm = exponentials(p.data(), n, inverse, p_sum),
                 q_norm = exponentials(q, n, inverse, q_sum);
    const double mean = static_cast<double>(dot(p.data(), difference.data(), n)) / static_cast<double>(p_sum);
    kl[static_cast<size_t>(m)] = mean * static_cast<double>(inverse) - p_norm + q_norm;
    const float p_factor = factor * temperature / p_sum, q_factor = factor * temperature / q_sum;
    for (int64_t i = 0; i < n; ++i) q[i] = q[i] * q_factor - p[static_cast<size_t>(i)] * p_factor;
  });
  double total = 0;
  for (const double value : kl) total += value;
  return total;
}

}  // namespace whittle
