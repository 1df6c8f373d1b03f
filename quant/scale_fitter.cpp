#include "quant/scale_fitter.h"

#include <algorithm>

#include "engine/files/interrupts.h"
#include "quant/inverse_factor.h"

namespace whittle {
namespace {

// So many rows are fitted together that their systems A have no more elements than this, nor the products of
// which A is made.
constexpr int64_t most_elements = int64_t{1} << 24;

}  // namespace

ScaleFitter::ScaleFitter(std::span<const float> weights, const WeightMatrix& grid,
                         const InputStatistics& inputs, double ridge, const Team& team)
    : grid_(grid),
      inputs_(inputs),
      ridge_(ridge),
      team_(team),
      pulled_(team, {grid.rows, grid.cols, weights.data()}, grid.cols,
              inputs.cross.empty() ? inputs.h.data() : inputs.cross.data(), grid.cols, grid.cols) {}

std::vector<double> ScaleFitter::run(std::span<const float> steps) const {
  std::vector<double> scales(grid_.scales.size());
  const int64_t of_row = std::max(grid_.groups() * grid_.groups(), grid_.cols),
                together = std::max<int64_t>(1, most_elements / of_row);
  for (int64_t begin = 0; begin < grid_.rows; begin += together)
    fit(begin, std::min(grid_.rows, begin + together), steps.data() + begin * grid_.cols, scales);
  return scales;
}

double ScaleFitter::dot(int64_t g, const float* a, const float* b) const {
  double sum = 0;
  const int64_t end = std::min(grid_.cols, (g + 1) * grid_.group_size);
  for (int64_t k = g * grid_.group_size; k < end; ++k)
    sum += static_cast<double>(a[k]) * static_cast<double>(b[k]);
  return sum;
}

void ScaleFitter::fit(int64_t begin, int64_t end, const float* steps, std::vector<double>& scales) const {
  const int64_t rows = end - begin, cols = grid_.cols, groups = grid_.groups();
  std::vector<double> a(static_cast<size_t>(rows * groups * groups));
  Product product(team_);
  for (int64_t h = 0; h < groups; ++h) {
    check_interrupted();
    const int64_t first = h * grid_.group_size, last = std::min(cols, first + grid_.group_size);
    product.compute({rows, cols, steps + first}, last - first, inputs_.h.data() + first, last, cols);
    team_.for_each(rows, [&](int64_t row) {
      double* of_row = a.data() + row * groups * groups;
      for (int64_t g = 0; g <= h; ++g)
        of_row[g * groups + h] = of_row[h * groups + g] = dot(g, steps + row * cols, product.row(row));
    });
  }
  team_.for_each(rows, [&](int64_t row) {
    const auto size = static_cast<size_t>(groups);
    const std::span<const double> of_row =
        std::span(a).subspan(static_cast<size_t>(row) * size * size, size * size);
    std::vector<double> right(size);
    for (int64_t g = 0; g < groups; ++g) {
      const auto at = static_cast<size_t>(g);
      const auto old = static_cast<double>(grid_.scales[static_cast<size_t>((begin + row) * groups + g)]);
      right[at] =
          dot(g, steps + row * cols, pulled_.row(begin + row)) + ridge_ * of_row[at * size + at] * old;
    }
    const std::vector<double> fitted = solve(of_row, right, ridge_);
    std::ranges::copy(fitted, scales.begin() + (begin + row) * groups);
  });
}

}  // namespace whittle
