#include "quant/pruning/support_fit.h"

#include "engine/files/interrupts.h"
#include "quant/product.h"

namespace whittle {

void fit_support(std::span<float> weights, std::span<const float> wanted, std::span<const float> a,
                 int64_t cols, int64_t steps, const Team& team) {
  // A row whose gradient has fallen so far has converged, as far as floats tell.
  constexpr double converged = 1e-10;
  const int64_t rows = std::ssize(weights) / cols;
  std::vector<float> left(weights.size()), direction(weights.size());  // the gradient's negative half
  std::vector<double> slopes(static_cast<size_t>(rows)), first(slopes.size());
  const auto price = [&](int64_t k) { return a[static_cast<size_t>(k * cols + k)]; };
  for (size_t i = 0; i < weights.size(); ++i) direction[i] = wanted[i] - weights[i];
  Product product(team);
  product.compute({rows, cols, direction.data()}, cols, a.data(), cols, cols);
  // Steps from the residual r along d: α = r·z / d·Ad, z = r / diagonal.
  team.for_each(rows, [&](int64_t row) {
    const float *w = weights.data() + row * cols, *pulled = product.row(row);
    float *r = left.data() + row * cols, *d = direction.data() + row * cols;
    double slope = 0;
    for (int64_t k = 0; k < cols; ++k) {
      r[k] = w[k] != 0 ? pulled[k] : 0;
      d[k] = r[k] / price(k);
      slope += static_cast<double>(r[k]) * static_cast<double>(d[k]);
    }
    slopes[static_cast<size_t>(row)] = first[static_cast<size_t>(row)] = slope;
  });
  std::vector<float> fitted(weights.begin(), weights.end());
  for (int64_t step = 0; step < steps; ++step) {
    check_interrupted();
    product.compute({rows, cols, direction.data()}, cols, a.data(), cols, cols);
    team.for_each(rows, [&](int64_t row) {
      const auto at = static_cast<size_t>(row);
      if (!(slopes[at] > converged * first[at])) return;
      const float *w = weights.data() + row * cols, *pulled = product.row(row);
      float *now = fitted.data() + row * cols, *r = left.data() + row * cols,
            *d = direction.data() + row * cols;
      double curvature = 0;
      for (int64_t k = 0; k < cols; ++k)
        curvature += static_cast<double>(d[k]) * static_cast<double>(pulled[k]);
      if (!(curvature > 0)) return;
      const auto alpha = static_cast<float>(slopes[at] / curvature);
      double slope = 0;
      for (int64_t k = 0; k < cols; ++k) {
        now[k] += alpha * d[k];
        r[k] -= w[k] != 0 ? alpha * pulled[k] : 0;
        slope += static_cast<double>(r[k]) * static_cast<double>(r[k] / price(k));
      }
      const auto beta = static_cast<float>(slope / slopes[at]);
      slopes[at] = slope;
      for (int64_t k = 0; k < cols; ++k) d[k] = r[k] / price(k) + beta * d[k];
    });
  }
  for (size_t i = 0; i < weights.size(); ++i) weights[i] = fitted[i];
}

}  // namespace whittle
