#include "quant/inverse_factor.h"

#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <algorithm>
#include <cmath>

#include "kernels/error.h"

namespace whittle {
namespace {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

// Blocks are chosen by the size of the caches, and decide the order of sums.
void fix_order() {
  [[maybe_unused]] static const bool once = (Eigen::setCpuCacheSizes(32 << 10, 512 << 10, 4 << 20), true);
}

}  // namespace

std::vector<float> inverse_factor(std::span<const float> h, int64_t n, double damping) {
  fix_order();
  double mean = 0;
  for (int64_t i = 0; i < n; ++i) mean += static_cast<double>(h[static_cast<size_t>(i * n + i)]);
  mean /= static_cast<double>(std::max<int64_t>(n, 1));
  if (std::isinf(mean) || std::isnan(mean)) fail("inputs are too large for the sum of their squares");
  std::vector<float> factor(static_cast<size_t>(n * n));
  if (!(mean > 0)) {
    for (int64_t i = 0; i < n; ++i) factor[static_cast<size_t>(i * n + i)] = 1;
    return factor;
  }
  // With rows and columns in reverse, H = LLᵀ; in their own order that is H = RRᵀ with R upper triangular,
  // and H⁻¹ = R⁻ᵀR⁻¹: U = R⁻¹.
  Matrix reversed(n, n);
  for (double lambda = damping * mean;; lambda = std::max(10 * lambda, 1e-8 * mean)) {
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < n; ++j)
        reversed(i, j) = static_cast<double>(h[static_cast<size_t>((n - 1 - i) * n + (n - 1 - j))]) +
                         (i == j ? lambda : 0.0);
    Eigen::LLT<Eigen::Ref<Matrix>> cholesky(reversed);
    if (cholesky.info() == Eigen::Success) break;
  }
  // L⁻¹ by blocks of columns, of which everything above the diagonal is zero.
  constexpr int64_t block = 256;
  for (int64_t begin = 0; begin < n; begin += block) {
    const int64_t width = std::min(block, n - begin), below = n - begin;
    Matrix columns = Matrix::Identity(below, width);
    reversed.bottomRightCorner(below, below).triangularView<Eigen::Lower>().solveInPlace(columns);
    for (int64_t r = 0; r < below; ++r)
      for (int64_t c = 0; c < std::min(width, r + 1); ++c)
        factor[static_cast<size_t>((n - 1 - begin - r) * n + (n - 1 - begin - c))] =
            static_cast<float>(columns(r, c));
  }
  return factor;
}

std::vector<double> solve(std::span<const double> a, std::span<const double> b, double ridge) {
  fix_order();
  const auto n = static_cast<Eigen::Index>(b.size());
  Matrix matrix = Eigen::Map<const Matrix>(a.data(), n, n);
  for (Eigen::Index i = 0; i < n; ++i) matrix(i, i) = matrix(i, i) > 0 ? matrix(i, i) * (1 + ridge) : 1;
  const Eigen::VectorXd x = matrix.ldlt().solve(Eigen::Map<const Eigen::VectorXd>(b.data(), n));
  return {x.data(), x.data() + n};
}

}  // namespace whittle
