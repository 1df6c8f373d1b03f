#include "quant/hadamard.h"

#include <bit>
#include <catch2/catch.hpp>
#include <cmath>

using namespace whittle;

namespace {

using Dense = std::vector<std::vector<double>>;

// Row i is what becomes of the i-th unit vector.
Dense dense(const OrthogonalMatrix& q) {
  const auto n = static_cast<size_t>(q.size());
  Dense rows(n, std::vector<double>(n));
  for (size_t i = 0; i < n; ++i) {
    rows[i][i] = 1;
    q.apply(rows[i].data());
  }
  return rows;
}

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// Of Q · Qᵀ from the identity.
double worst_product(const Dense& q) {
  double worst = 0;
  for (size_t i = 0; i < q.size(); ++i)
    for (size_t j = 0; j <= i; ++j) worst = std::max(worst, std::abs(dot(q[i], q[j]) - (i == j ? 1 : 0)));
  return worst;
}

double largest_entry(const Dense& q) {
  double largest = 0;
  for (const std::vector<double>& row : q)
    for (const double value : row) largest = std::max(largest, std::abs(value));
  return largest;
}

}  // namespace

TEST_CASE("Matrices of any size are orthogonal, whatever is asked to stay where it is") {
  for (const int64_t size :
       {1, 2, 3, 4, 5, 6, 7, 12, 14, 20, 28, 31, 33, 36, 44, 60, 64, 80, 96, 100, 172, 256, 430, 576})
    for (const bool keeps_ones : {false, true}) {
      CAPTURE(size, keeps_ones);
      const Dense q = dense(OrthogonalMatrix(size, 5, keeps_ones));
      // Each entry is a sum of at most `size` products of numbers below 1.
      CHECK(worst_product(q) < 1e-15 * static_cast<double>(size + 8));
      double worst = 0;
      for (size_t column = 0; keeps_ones && column < q.size(); ++column) {
        double sum = 0;
        for (const std::vector<double>& row : q) sum += row[column];
        worst = std::max(worst, std::abs(sum - 1));
      }
      CHECK(worst < 1e-15 * static_cast<double>(size + 8));
    }
}

TEST_CASE("Where a Hadamard matrix is known, every input goes to all outputs alike") {
  // Sylvester's; Paley's first construction (12, 20, 60, 44, 200) and second (28, 36), and times 2^k.
  for (const int64_t size : {2, 4, 64, 12, 20, 24, 60, 96, 80, 28, 36, 576, 200, 44}) {
    CAPTURE(size);
    const Dense q = dense(OrthogonalMatrix(size, 5));
    const double entry = 1 / std::sqrt(static_cast<double>(size));
    double worst = 0;
    for (const std::vector<double>& row : q)
      for (const double value : row) worst = std::max(worst, std::abs(std::abs(value) / entry - 1));
    CHECK(worst < 1e-12);
  }
  // Elsewhere not, but no direction is left to itself.
  for (const int64_t size : {33, 43, 172, 86, 430}) {
    CAPTURE(size);
    CHECK(largest_entry(dense(OrthogonalMatrix(size, 5))) < 0.75);
    CHECK(largest_entry(dense(OrthogonalMatrix(size, 5, true))) < 0.75);
  }
  // The reflection that keeps the ones hardly changes that.
  for (const int64_t size : {64, 96, 576}) {
    CAPTURE(size);
    CHECK(largest_entry(dense(OrthogonalMatrix(size, 5, true))) < 4 / std::sqrt(static_cast<double>(size)));
  }
}

TEST_CASE("Of a power of two it is Sylvester's matrix behind random signs") {
  const Dense q = dense(OrthogonalMatrix(32, 9));
  int negative = 0;
  for (size_t i = 0; i < 32; ++i) {
    negative += q[i][0] < 0;
    for (size_t j = 0; j < 32; ++j) CHECK(q[i][j] * q[i][0] * (std::popcount(i & j) % 2 ? -1 : 1) > 0);
  }
  CHECK(negative > 4);
  CHECK(negative < 28);
}

TEST_CASE("A seed gives one matrix, another seed another") {
  for (const int64_t size : {16, 33, 36}) {
    CHECK(dense(OrthogonalMatrix(size, 1)) == dense(OrthogonalMatrix(size, 1)));
    CHECK(dense(OrthogonalMatrix(size, 1)) != dense(OrthogonalMatrix(size, 2)));
  }
}
