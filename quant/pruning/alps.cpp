// ALPS (Meng et al., arXiv 2406.07831): of W ≈ B with few weights, B is asked to be near in its outputs, D to
// be sparse, and V is the price of their difference, which grows until both agree on which weights stay. Then
// these are fitted.

#include <algorithm>
#include <cmath>

#include "engine/files/interrupts.h"
#include "quant/inverse_factor.h"
#include "quant/product.h"
#include "quant/pruning/pruner.h"
#include "quant/pruning/support_fit.h"

namespace whittle {
namespace {

constexpr int64_t most_rounds = 300, rounds_a_price = 3, fit_steps = 20;
constexpr double first_price = 0.1;

// ρ by how many weights have changed places since it last grew, as a part of those that stay.
double growth(double changed) { return changed >= 0.1 ? 1.3 : changed >= 0.005 ? 1.2 : 1.1; }

class Alps {
 public:
  Alps(const PruningTask& task, const Team& team)
      : task_(task),
        team_(team),
        rows_(task.rows),
        cols_(task.cols),
        unit_(static_cast<size_t>(cols_)),
        a_(static_cast<size_t>(cols_ * cols_)),
        wanted_(task.weights.begin(), task.weights.end()) {
    scale();
  }

  std::vector<float> run() {
    std::vector<float> sparse = support();
    fit_support(sparse, wanted_, a_, cols_, fit_steps, team_);
    team_.for_each(rows_, [&](int64_t row) {
      for (int64_t k = 0; k < cols_; ++k) sparse[at(row, k)] /= unit_[static_cast<size_t>(k)];
    });
    return sparse;
  }

 private:
  size_t at(int64_t row, int64_t col) const { return static_cast<size_t>(row * cols_ + col); }

  // Inputs in units in which each has a mean square of one: A = (H + λI) there.
  void scale() {
    const std::vector<float>& h = task_.inputs->h;
    double mean = 0;
    for (int64_t k = 0; k < cols_; ++k) mean += static_cast<double>(h[at(k, k)]);
    const double lambda = task_.damping * mean / static_cast<double>(cols_);
    for (int64_t k = 0; k < cols_; ++k) {
      const double square = static_cast<double>(h[at(k, k)]) + lambda;
      unit_[static_cast<size_t>(k)] = square > 0 ? static_cast<float>(std::sqrt(square)) : 1;
    }
    team_.for_each(cols_, [&](int64_t i) {
      for (int64_t j = 0; j < cols_; ++j)
        a_[at(i, j)] =
            i == j ? 1 : h[at(i, j)] / unit_[static_cast<size_t>(i)] / unit_[static_cast<size_t>(j)];
    });
    team_.for_each(rows_, [&](int64_t row) {
      for (int64_t k = 0; k < cols_; ++k) wanted_[at(row, k)] *= unit_[static_cast<size_t>(k)];
    });
  }

  // (A + ρI)⁻¹
  std::vector<float> inverse(double price) const {
    const std::vector<float> factor = inverse_factor(a_, cols_, price, team_);
    std::vector<float> transposed(factor.size()), inverse(factor.size());
    team_.for_each(cols_, [&](int64_t i) {
      for (int64_t j = 0; j < cols_; ++j) transposed[at(j, i)] = factor[at(i, j)];
    });
    const Product product(team_, {cols_, cols_, transposed.data()}, cols_, transposed.data(), cols_, cols_);
    team_.for_each(cols_, [&](int64_t i) { std::copy_n(product.row(i), cols_, inverse.data() + at(i, 0)); });
    return inverse;
  }

  // The weights that stay, with the values that they end with.
  std::vector<float> support() const {
    const size_t size = wanted_.size();
    std::vector<float> d = wanted_, v(size), right(size), scores(size);
    const Product pulled(team_, {rows_, cols_, wanted_.data()}, cols_, a_.data(), cols_, cols_);
    Mask before;
    double price = first_price;
    std::vector<float> solver = inverse(price);
    Product product(team_);
    for (int64_t round = 1; round <= most_rounds; ++round) {
      check_interrupted();
      const auto rho = static_cast<float>(price);
      team_.for_each(rows_, [&](int64_t row) {
        for (int64_t k = 0; k < cols_; ++k)
          right[at(row, k)] = pulled.row(row)[k] - v[at(row, k)] + rho * d[at(row, k)];
      });
      product.compute({rows_, cols_, right.data()}, cols_, solver.data(), cols_, cols_);
      team_.for_each(rows_, [&](int64_t row) {
        for (int64_t k = 0; k < cols_; ++k) {
          d[at(row, k)] = product.row(row)[k] + v[at(row, k)] / rho;
          scores[at(row, k)] = std::abs(d[at(row, k)]);
        }
      });
      const Mask mask = keep_highest(scores, cols_, task_.sparsity, &team_);
      team_.for_each(rows_, [&](int64_t row) {
        for (int64_t k = 0; k < cols_; ++k) {
          if (!mask[at(row, k)]) d[at(row, k)] = 0;
          v[at(row, k)] += rho * (product.row(row)[k] - d[at(row, k)]);
        }
      });
      if (round % rounds_a_price != 0) continue;
      int64_t changed = before.empty() ? std::ssize(mask) : 0, kept = 0;
      for (size_t i = 0; i < mask.size(); ++i) {
        kept += mask[i];
        if (!before.empty()) changed += mask[i] != before[i];
      }
      if (changed == 0 || kept == 0) break;
      before = mask;
      price *= growth(static_cast<double>(changed) / static_cast<double>(kept));
      solver = inverse(price);
    }
    return d;
  }

  const PruningTask& task_;
  const Team& team_;
  const int64_t rows_, cols_;
  std::vector<float> unit_;    // of each input
  std::vector<float> a_;       // [cols, cols]
  std::vector<float> wanted_;  // [rows, cols], in those units
};

}  // namespace

std::vector<float> prune_by_alps(const PruningTask& task, const Team& team) { return Alps(task, team).run(); }

}  // namespace whittle
