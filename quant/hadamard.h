#pragma once
// Orthogonal matrices that spread every input over all outputs, and are quick to apply.
//
// A Hadamard matrix holds ±1 and has orthogonal rows: divided by √n, each input goes to all outputs with the
// same weight, and an outlier disappears among them. With random signs before it, no direction is special
// (QuaRot, arXiv 2404.00456).

#include <cstdint>
#include <vector>

namespace whittle {

// Q = diag(±1) · (H ⊗ F) of any size n: H is Sylvester's Hadamard matrix of a power of two, n log n
// additions; F is what is left of n. That is one of Paley's Hadamard matrices where one has the size (12, 20,
// 28, 36, …), else a random orthogonal matrix of n's odd part: dense, but small for the sizes of real models.
// The same matrix for the same size and seed.
class OrthogonalMatrix {
 public:
  // keeps_ones: (1, …, 1) · Q = (1, …, 1), so that the mean of x · Q is that of x. Then one reflection more,
  // which takes the image of that vector back to it, comes last.
  OrthogonalMatrix(int64_t size, uint64_t seed, bool keeps_ones = false);

  int64_t size() const { return static_cast<int64_t>(signs_.size()); }
  // x ← x · Q, `size` values.
  void apply(double* x) const;

 private:
  std::vector<double> signs_;  // [size], times 1 / √size of H
  int64_t factor_size_ = 1;
  std::vector<double> factor_;      // F [factor_size, factor_size], orthogonal
  std::vector<double> reflection_;  // w [size], of length √2: x ← x − (x · w) w; or none
};

}  // namespace whittle
