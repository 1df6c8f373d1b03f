#include "quant/input_mismatch.h"

#include <algorithm>

#include "quant/product.h"

namespace whittle {

InputMismatch input_mismatch(std::span<const float> weights, int64_t rows, const InputStatistics& inputs,
                             const Team& team) {
  InputMismatch out;
  if (inputs.cross.empty()) return out;
  const int64_t cols = inputs.cols();
  const auto at = [cols](int64_t row, int64_t col) { return static_cast<size_t>(row * cols + col); };
  std::vector<float> difference(inputs.h.size());  // (G − H)ᵀ
  for (size_t i = 0; i < difference.size(); ++i) difference[i] = inputs.cross[i] - inputs.h[i];
  const Product pull(team, {rows, cols, weights.data()}, cols, difference.data(), cols, cols);

  // Columns in order, as the factor has them: pull · (H + λI)⁻¹ = (pull · Uᵀ) · U.
  std::vector<float> ordered(weights.size());
  out.pull.resize(weights.size());
  team.for_each(rows, [&](int64_t row) {
    for (int64_t k = 0; k < cols; ++k) out.pull[at(row, k)] = pull.row(row)[k];
    for (int64_t i = 0; i < cols; ++i)
      ordered[at(row, i)] = pull.row(row)[inputs.order[static_cast<size_t>(i)]];
  });
  // By blocks of columns, as U is zero below its diagonal: column i of the first product takes those from i
  // on, of the second those up to i.
  constexpr int64_t blocks = 8;
  const int64_t width = std::max<int64_t>(1, (cols + blocks - 1) / blocks);
  std::vector<float> half(weights.size()), transposed(inputs.factor.size());
  team.for_each(cols, [&](int64_t i) {
    for (int64_t j = i; j < cols; ++j) transposed[at(j, i)] = inputs.factor[at(i, j)];
  });
  const auto store = [&](const Product& product, int64_t begin, int64_t end, std::vector<float>& to) {
    team.for_each(
        rows, [&](int64_t row) { std::copy_n(product.row(row), end - begin, to.data() + at(row, begin)); });
  };
  for (int64_t begin = 0; begin < cols; begin += width) {
    const int64_t end = std::min(cols, begin + width);
    const Product product(team, {rows, cols, ordered.data() + begin}, cols - begin,
                          inputs.factor.data() + at(begin, begin), end - begin, cols);
    store(product, begin, end, half);
  }
  for (int64_t begin = 0; begin < cols; begin += width) {
    const int64_t end = std::min(cols, begin + width);
    const Product product(team, {rows, cols, half.data()}, end, transposed.data() + at(begin, 0), end - begin,
                          cols);
    store(product, begin, end, ordered);
  }

  out.weights.resize(weights.size());
  out.first.resize(static_cast<size_t>(rows));
  const int64_t begin = inputs.order.front();
  const float price = inputs.h[at(begin, begin)];
  team.for_each(rows, [&](int64_t row) {
    for (int64_t i = 0; i < cols; ++i) {
      const size_t place = at(row, inputs.order[static_cast<size_t>(i)]);
      out.weights[place] = weights[place] + ordered[at(row, i)];
    }
    const float raised = price > 0 ? out.pull[at(row, begin)] / price : 0;
    out.first[static_cast<size_t>(row)] = weights[at(row, begin)] + raised;
  });
  return out;
}

}  // namespace whittle
