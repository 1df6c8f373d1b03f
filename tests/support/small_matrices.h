#pragma once
// Matrices in double precision for slow references: products, and systems solved by elimination.

#include <cmath>
#include <cstdint>
#include <utility>
#include <vector>

namespace whittle::test {

struct SmallMatrix {
  int64_t rows = 0, cols = 0;
  std::vector<double> values;

  SmallMatrix(int64_t r, int64_t c) : rows(r), cols(c), values(static_cast<size_t>(r * c)) {}
  // Of values [rows, cols].
  SmallMatrix(int64_t r, int64_t c, const std::vector<float>& from)
      : rows(r), cols(c), values(from.begin(), from.end()) {}
  double& at(int64_t r, int64_t c) { return values[static_cast<size_t>(r * cols + c)]; }
  double at(int64_t r, int64_t c) const { return values[static_cast<size_t>(r * cols + c)]; }

  // Some of the columns.
  SmallMatrix take(const std::vector<int64_t>& which) const {
    SmallMatrix out(rows, static_cast<int64_t>(which.size()));
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < out.cols; ++c) out.at(r, c) = at(r, which[static_cast<size_t>(c)]);
    return out;
  }
  SmallMatrix turned() const {
    SmallMatrix out(cols, rows);
    for (int64_t r = 0; r < rows; ++r)
      for (int64_t c = 0; c < cols; ++c) out.at(c, r) = at(r, c);
    return out;
  }
  double squares() const {
    double sum = 0;
    for (const double value : values) sum += value * value;
    return sum;
  }
  double mean_diagonal() const {
    double sum = 0;
    for (int64_t i = 0; i < rows; ++i) sum += at(i, i);
    return sum / static_cast<double>(rows);
  }
};

inline SmallMatrix operator*(const SmallMatrix& a, const SmallMatrix& b) {
  SmallMatrix out(a.rows, b.cols);
  for (int64_t r = 0; r < a.rows; ++r)
    for (int64_t k = 0; k < a.cols; ++k)
      for (int64_t c = 0; c < b.cols; ++c) out.at(r, c) += a.at(r, k) * b.at(k, c);
  return out;
}

// a + factor · b.
inline SmallMatrix plus(SmallMatrix a, const SmallMatrix& b, double factor = 1) {
  for (size_t i = 0; i < a.values.size(); ++i) a.values[i] += factor * b.values[i];
  return a;
}

// x with a · x = b, pivots by rows.
inline SmallMatrix solved(SmallMatrix a, SmallMatrix b) {
  for (int64_t k = 0; k < a.rows; ++k) {
    int64_t pivot = k;
    for (int64_t r = k; r < a.rows; ++r)
      if (std::abs(a.at(r, k)) > std::abs(a.at(pivot, k))) pivot = r;
    for (int64_t c = 0; c < a.cols; ++c) std::swap(a.at(k, c), a.at(pivot, c));
    for (int64_t c = 0; c < b.cols; ++c) std::swap(b.at(k, c), b.at(pivot, c));
    for (int64_t r = 0; r < a.rows; ++r) {
      if (r == k) continue;
      const double factor = a.at(r, k) / a.at(k, k);
      for (int64_t c = k; c < a.cols; ++c) a.at(r, c) -= factor * a.at(k, c);
      for (int64_t c = 0; c < b.cols; ++c) b.at(r, c) -= factor * b.at(k, c);
    }
  }
  for (int64_t r = 0; r < a.rows; ++r)
    for (int64_t c = 0; c < b.cols; ++c) b.at(r, c) /= a.at(r, r);
  return b;
}

}  // namespace whittle::test
