#include "quant/hadamard.h"

#include <Eigen/Core>
#include <Eigen/QR>
#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

namespace whittle {
namespace {

bool is_prime(int64_t n) {
  for (int64_t d = 2; d * d <= n; ++d)
    if (n % d == 0) return false;
  return n > 1;
}

// Paley's matrix over the integers modulo the prime q, [q + 1, q + 1]: 0 on the diagonal, else ±1, and q
// times orthogonal. With q = 3 (mod 4) it is skew, with q = 1 symmetric.
std::vector<double> conference_matrix(int64_t q) {
  std::vector<double> character(static_cast<size_t>(q), -1);  // whether a number is a square
  for (int64_t i = 1; i < q; ++i) character[static_cast<size_t>(i * i % q)] = 1;
  character[0] = 0;
  const int64_t n = q + 1;
  std::vector<double> c(static_cast<size_t>(n * n));
  for (int64_t i = 1; i < n; ++i) {
    c[static_cast<size_t>(i)] = 1;
    c[static_cast<size_t>(i * n)] = q % 4 == 3 ? -1 : 1;
    for (int64_t j = 1; j < n; ++j)
      c[static_cast<size_t>(i * n + j)] = character[static_cast<size_t>((i - j + q) % q)];
  }
  return c;
}

// A Hadamard matrix of order n by Paley's first or second construction (1933), or nothing.
std::vector<double> paley_matrix(int64_t n) {
  if (n % 4 != 0) return {};
  if (is_prime(n - 1)) {
    std::vector<double> h = conference_matrix(n - 1);
    for (int64_t i = 0; i < n; ++i) h[static_cast<size_t>(i * n + i)] = 1;
    return h;
  }
  const int64_t half = n / 2;
  if (half % 4 != 2 || !is_prime(half - 1)) return {};
  const std::vector<double> c = conference_matrix(half - 1);
  std::vector<double> h(static_cast<size_t>(n * n));
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j) {
      const int64_t row = i % 2, col = j % 2;
      const double sign = row && col ? -1 : 1;
      h[static_cast<size_t>(i * n + j)] =
          i / 2 == j / 2 ? (row || col ? -1 : 1) : c[static_cast<size_t>(i / 2 * half + j / 2)] * sign;
    }
  return h;
}

std::vector<double> random_matrix(int64_t n, std::mt19937_64& random) {
  Eigen::MatrixXd entries(n, n);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j) entries(i, j) = static_cast<double>(random() >> 11) * 0x1p-52 - 1;
  const Eigen::MatrixXd q = Eigen::HouseholderQR<Eigen::MatrixXd>(entries).householderQ();
  return {q.data(), q.data() + q.size()};
}

}  // namespace

OrthogonalMatrix::OrthogonalMatrix(int64_t size, uint64_t seed, bool keeps_ones) {
  std::mt19937_64 random(seed);
  const int64_t power = size & -size, odd = size / power;
  for (int64_t more = 1; odd > 1 && more <= power && factor_.empty(); more *= 2) {
    factor_size_ = odd * more;
    factor_ = paley_matrix(factor_size_);
    for (double& value : factor_) value /= std::sqrt(static_cast<double>(factor_size_));
  }
  if (factor_.empty()) {
    factor_size_ = odd;
    if (odd > 1) factor_ = random_matrix(odd, random);
  }
  const double scale = std::sqrt(static_cast<double>(factor_size_) / static_cast<double>(size));
  for (int64_t i = 0; i < size; ++i) signs_.push_back(random() >> 63 ? -scale : scale);
  if (!keeps_ones) return;
  const double unit = 1 / std::sqrt(static_cast<double>(size));
  std::vector<double> w(static_cast<size_t>(size), unit);
  apply(w.data());
  for (double& value : w) value -= unit;
  const double square = std::inner_product(w.begin(), w.end(), w.begin(), 0.0);
  if (square < 1e-20) return;  // it stays where it is
  for (double& value : w) value *= std::sqrt(2 / square);
  reflection_ = std::move(w);
}

void OrthogonalMatrix::apply(double* x) const {
  const int64_t n = size();
  for (int64_t i = 0; i < n; ++i) x[i] *= signs_[static_cast<size_t>(i)];
  for (int64_t step = factor_size_; step < n; step *= 2)
    for (int64_t begin = 0; begin < n; begin += 2 * step)
      for (int64_t i = begin; i < begin + step; ++i) {
        const double a = x[i], b = x[i + step];
        x[i] = a + b;
        x[i + step] = a - b;
      }
  if (!factor_.empty()) {
    std::vector<double> before(static_cast<size_t>(factor_size_));
    for (double* part = x; part != x + n; part += factor_size_) {
      std::copy_n(part, factor_size_, before.begin());
      std::fill_n(part, factor_size_, 0.0);
      const double* row = factor_.data();
      for (const double value : before)
        for (int64_t j = 0; j < factor_size_; ++j) part[j] += value * *row++;
    }
  }
  if (reflection_.empty()) return;
  const double along = std::inner_product(reflection_.begin(), reflection_.end(), x, 0.0);
  for (int64_t i = 0; i < n; ++i) x[i] -= along * reflection_[static_cast<size_t>(i)];
}

}  // namespace whittle
