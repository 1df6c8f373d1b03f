#include "quant/inverse_factor.h"

#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <algorithm>
#include <cmath>

#include "engine/files/interrupts.h"
#include "kernels/error.h"

namespace whittle {
namespace {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

// Blocks are chosen by the size of the caches, and decide the order of sums.
void fix_order() {
  [[maybe_unused]] static const bool once = (Eigen::setCpuCacheSizes(32 << 10, 512 << 10, 4 << 20), true);
}

constexpr int64_t block = 256;  // columns that are eliminated together

// A = LLᵀ in A's lower triangle; false where A is not positive definite. Each tile has one thread and one
// order of sums.
bool factorize(Matrix& a, const Team& team) {
  const int64_t n = a.rows();
  for (int64_t k = 0; k < n; k += block) {
    check_interrupted();
    const int64_t width = std::min(block, n - k), behind = k + width;
    Eigen::Ref<Matrix> corner(a.block(k, k, width, width));
    const Eigen::LLT<Eigen::Ref<Matrix>> diagonal(corner);
    if (diagonal.info() != Eigen::Success) return false;
    const int64_t tiles = (n - behind + block - 1) / block;
    const auto rows_of = [&](int64_t tile) { return std::min(block, n - behind - tile * block); };
    const auto panel = [&](int64_t tile) { return a.block(behind + tile * block, k, rows_of(tile), width); };
    team.for_each(tiles, [&](int64_t i) {
      auto rows = panel(i);
      corner.triangularView<Eigen::Lower>().transpose().solveInPlace<Eigen::OnTheRight>(rows);
    });
    team.for_each(tiles * (tiles + 1) / 2, [&](int64_t pair) {
      int64_t i = 0;
      while (pair > i) pair -= ++i;
      a.block(behind + i * block, behind + pair * block, rows_of(i), rows_of(pair)).noalias() -=
          panel(i) * panel(pair).transpose();
    });
  }
  return true;
}

}  // namespace

std::vector<float> inverse_factor(std::span<const float> h, int64_t n, double damping, const Team& team) {
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
    team.for_each(n, [&](int64_t i) {
      for (int64_t j = 0; j < n; ++j)
        reversed(i, j) = static_cast<double>(h[static_cast<size_t>((n - 1 - i) * n + (n - 1 - j))]) +
                         (i == j ? lambda : 0.0);
    });
    if (factorize(reversed, team)) break;
  }
  // L⁻¹ by blocks of columns, of which everything above the diagonal is zero.
  team.for_each((n + block - 1) / block, [&](int64_t of_columns) {
    if (interrupted()) return;
    const int64_t begin = of_columns * block, width = std::min(block, n - begin), below = n - begin;
    Matrix columns = Matrix::Identity(below, width);
    reversed.bottomRightCorner(below, below).triangularView<Eigen::Lower>().solveInPlace(columns);
    for (int64_t r = 0; r < below; ++r)
      for (int64_t c = 0; c < std::min(width, r + 1); ++c)
        factor[static_cast<size_t>((n - 1 - begin - r) * n + (n - 1 - begin - c))] =
            static_cast<float>(columns(r, c));
  });
  check_interrupted();
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
