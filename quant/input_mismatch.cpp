#include "quant/input_mismatch.h"

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
  const Product half(team, {rows, cols, ordered.data()}, cols, inputs.factor.data(), cols, cols);
  std::vector<float> transposed(inputs.factor.size());
  for (int64_t i = 0; i < cols; ++i)
    for (int64_t j = i; j < cols; ++j) transposed[at(j, i)] = inputs.factor[at(i, j)];
  team.for_each(rows, [&](int64_t row) {
    for (int64_t i = 0; i < cols; ++i) ordered[at(row, i)] = half.row(row)[i];
  });
  const Product moved(team, {rows, cols, ordered.data()}, cols, transposed.data(), cols, cols);

  out.weights.resize(weights.size());
  out.first.resize(static_cast<size_t>(rows));
  const int64_t begin = inputs.order.front();
  const float price = inputs.h[at(begin, begin)];
  team.for_each(rows, [&](int64_t row) {
    for (int64_t i = 0; i < cols; ++i) {
      const size_t place = at(row, inputs.order[static_cast<size_t>(i)]);
      out.weights[place] = weights[place] + moved.row(row)[i];
    }
    const float raised = price > 0 ? out.pull[at(row, begin)] / price : 0;
    out.first[static_cast<size_t>(row)] = weights[at(row, begin)] + raised;
  });
  return out;
}

}  // namespace whittle
