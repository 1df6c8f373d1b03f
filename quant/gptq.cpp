#include "quant/gptq.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>

#include "engine/files/interrupts.h"
#include "kernels/error.h"
#include "quant/inverse_factor.h"
#include "quant/product.h"

namespace whittle {
namespace {

// Columns whose errors reach the rest together, by one matrix product.
constexpr int64_t block_cols = 128;
// Rows whose scales are fitted together: their systems are in memory at once.
constexpr int64_t refit_rows = 256;

std::vector<float> values_of(const WeightMatrix& matrix, const Team& team) {
  std::vector<float> values(static_cast<size_t>(matrix.rows * matrix.cols));
  team.for_each(matrix.rows, [&](int64_t row) { matrix.decode_row(row, values.data() + row * matrix.cols); });
  return values;
}

class Feedback {
 public:
  Feedback(std::span<const float> weights, const WeightMatrix& grid, const InputStatistics& inputs,
           const Team& team)
      : rows_(grid.rows),
        cols_(grid.cols),
        grid_(grid),
        format_(info(grid.format)),
        inputs_(inputs),
        team_(team),
        left_(weights.size()),
        codes_(weights.size()) {
    team.for_each(rows_, [&](int64_t row) {
      for (int64_t i = 0; i < cols_; ++i)
        left_[at(row, i)] = weights[at(row, inputs.order[static_cast<size_t>(i)])];
    });
  }

  // The code of every weight, [rows, cols].
  std::vector<float> run() {
    for (int64_t begin = 0; begin < cols_; begin += block_cols) {
      check_interrupted();
      const int64_t end = std::min(cols_, begin + block_cols);
      std::vector<float> errors(static_cast<size_t>(rows_ * block_cols));
      team_.for_each(rows_,
                     [&](int64_t row) { round_block(row, begin, end, errors.data() + row * block_cols); });
      if (end < cols_) pass_on(begin, end, errors.data());
    }
    return std::move(codes_);
  }

 private:
  size_t at(int64_t row, int64_t col) const { return static_cast<size_t>(row * cols_ + col); }
  const float* factor_row(int64_t i) const { return inputs_.factor.data() + i * cols_; }

  // Rounds a row's columns [begin, end) one after the other; errors: what each leaves, over its factor.
  void round_block(int64_t row, int64_t begin, int64_t end, float* errors) {
    float* left = left_.data() + row * cols_;
    const auto least = static_cast<float>(format_.code_min), most = static_cast<float>(format_.code_max);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t col = inputs_.order[static_cast<size_t>(i)];
      const auto group = static_cast<size_t>(row * grid_.groups() + col / grid_.group_size);
      const float scale = grid_.scales[group],
                  zero = grid_.zero_points.empty() ? 0 : grid_.zero_points[group];
      const float steps = scale != 0 ? left[i] / scale : 0;
      const float code = std::clamp(std::rint(steps) + zero, least, most);
      codes_[at(row, col)] = code;
      const float* factor = factor_row(i);
      const float error = (left[i] - (code - zero) * scale) / factor[i];
      errors[i - begin] = error;
      for (int64_t j = i + 1; j < end; ++j) left[j] -= error * factor[j];
    }
  }

  // What the errors of [begin, end) take off the columns behind.
  void pass_on(int64_t begin, int64_t end, const float* errors) {
    const int64_t behind = cols_ - end, width = end - begin;
    std::vector<float> factors(static_cast<size_t>(behind * width));  // [behind, width]
    for (int64_t i = 0; i < width; ++i)
      for (int64_t j = 0; j < behind; ++j)
        factors[static_cast<size_t>(j * width + i)] = factor_row(begin + i)[end + j];
    const Product moved(team_, {rows_, block_cols, errors}, width, factors.data(), behind, width);
    team_.for_each(rows_, [&](int64_t row) {
      float* left = left_.data() + row * cols_ + end;
      const float* off = moved.row(row);
      for (int64_t j = 0; j < behind; ++j) left[j] -= off[j];
    });
  }

  int64_t rows_, cols_;
  const WeightMatrix& grid_;
  const WeightFormatInfo& format_;
  const InputStatistics& inputs_;
  const Team& team_;
  std::vector<float> left_;   // the weights as they are still to be rounded, columns in order
  std::vector<float> codes_;  // columns as in the file
};

// The scales that serve these codes best: for each row the minimum over s of (w − s∘v) H (w − s∘v)ᵀ, v = code
// − zero point, which is A·s = b with A_gh = v_g H_gh v_hᵀ and b_g = v_g·(wH)_g.
class ScaleFitter {
 public:
  ScaleFitter(std::span<const float> weights, const WeightMatrix& grid, const InputStatistics& inputs,
              double ridge, const Team& team)
      : grid_(grid),
        inputs_(inputs),
        ridge_(ridge),
        team_(team),
        pulled_(team, {grid.rows, grid.cols, weights.data()}, grid.cols, inputs.h.data(), grid.cols,
                grid.cols) {}

  // For `steps` = code − zero point, [rows, cols]. [rows, groups], not yet as stored.
  std::vector<double> run(std::span<const float> steps) const {
    std::vector<double> scales(grid_.scales.size());
    for (int64_t begin = 0; begin < grid_.rows; begin += refit_rows) {
      check_interrupted();
      fit(begin, std::min(grid_.rows, begin + refit_rows), steps.data() + begin * grid_.cols, scales);
    }
    return scales;
  }

 private:
  // Σ over the columns of group g.
  double dot(int64_t g, const float* a, const float* b) const {
    double sum = 0;
    const int64_t end = std::min(grid_.cols, (g + 1) * grid_.group_size);
    for (int64_t k = g * grid_.group_size; k < end; ++k)
      sum += static_cast<double>(a[k]) * static_cast<double>(b[k]);
    return sum;
  }

  void fit(int64_t begin, int64_t end, const float* steps, std::vector<double>& scales) const {
    const int64_t rows = end - begin, cols = grid_.cols, groups = grid_.groups();
    std::vector<double> a(static_cast<size_t>(rows * groups * groups));
    for (int64_t h = 0; h < groups; ++h) {
      check_interrupted();
      const int64_t first = h * grid_.group_size, last = std::min(cols, first + grid_.group_size);
      const Product product(team_, {rows, cols, steps + first}, last - first, inputs_.h.data() + first, last,
                            cols);
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

  const WeightMatrix& grid_;
  const InputStatistics& inputs_;
  double ridge_;
  const Team& team_;
  Product pulled_;  // wH, [rows, cols]
};

// Codes and scales of a matrix, judged row by row.
class Candidates {
 public:
  Candidates(std::span<const float> weights, const WeightMatrix& grid, const InputStatistics& inputs,
             const Team& team)
      : weights_(weights), grid_(grid), inputs_(inputs), team_(team) {}

  std::vector<float> codes;   // [rows, cols], the best of each row
  std::vector<float> scales;  // [rows, groups]

  // Takes the rows whose outputs are nearer to the original's than those of all before.
  void offer(const std::vector<float>& new_codes, const std::vector<float>& new_scales) {
    std::vector<float> differences = steps_of(new_codes);
    const int64_t cols = grid_.cols, groups = grid_.groups();
    team_.for_each(grid_.rows, [&](int64_t row) {
      for (int64_t k = 0; k < cols; ++k) {
        const auto at = static_cast<size_t>(row * cols + k);
        const float scale = new_scales[static_cast<size_t>(row * groups + k / grid_.group_size)];
        differences[at] = weights_[at] - differences[at] * scale;
      }
    });
    const std::vector<double> errors = output_errors(differences, grid_.rows, inputs_, team_);
    const bool first = errors_.empty();
    if (first) {
      codes = new_codes;
      scales = new_scales;
      errors_ = errors;
      return;
    }
    for (int64_t row = 0; row < grid_.rows; ++row) {
      const auto at = static_cast<size_t>(row);
      if (!(errors[at] < errors_[at])) continue;
      errors_[at] = errors[at];
      std::copy_n(new_codes.begin() + row * cols, cols, codes.begin() + row * cols);
      std::copy_n(new_scales.begin() + row * groups, groups, scales.begin() + row * groups);
    }
  }

  // Of the best, summed over the rows.
  double error() const { return std::accumulate(errors_.begin(), errors_.end(), 0.0); }

  // Code − zero point.
  std::vector<float> steps_of(const std::vector<float>& of_codes) const {
    std::vector<float> steps = of_codes;
    if (grid_.zero_points.empty()) return steps;
    team_.for_each(grid_.rows, [&](int64_t row) {
      for (int64_t k = 0; k < grid_.cols; ++k)
        steps[static_cast<size_t>(row * grid_.cols + k)] -= static_cast<float>(
            grid_.zero_points[static_cast<size_t>(row * grid_.groups() + k / grid_.group_size)]);
    });
    return steps;
  }

 private:
  std::span<const float> weights_;
  const WeightMatrix& grid_;
  const InputStatistics& inputs_;
  const Team& team_;
  std::vector<double> errors_;  // [rows]
};

}  // namespace

InputStatistics input_statistics(Hessian&& hessian, const GptqOptions& options) {
  InputStatistics inputs;
  const int64_t cols = hessian.cols();
  inputs.h = Hessian(std::move(hessian)).mean();
  const auto diagonal = [&](int64_t k) { return inputs.h[static_cast<size_t>(k * cols + k)]; };
  for (int64_t k = 0; k < cols; ++k)
    if (!std::isfinite(diagonal(k))) fail("the squares of input {} of a linear have no finite sum", k);
  float largest = 0;
  for (int64_t k = 0; k < cols; ++k) largest = std::max(largest, diagonal(k));
  for (int64_t k = 0; k < cols; ++k) inputs.importance.push_back(largest > 0 ? diagonal(k) / largest : 1);
  inputs.order.resize(static_cast<size_t>(cols));
  std::iota(inputs.order.begin(), inputs.order.end(), 0);
  if (options.activation_order)
    std::ranges::stable_sort(inputs.order, [&](int64_t a, int64_t b) { return diagonal(a) > diagonal(b); });
  std::vector<float> ordered(inputs.h.size());
  for (int64_t i = 0; i < cols; ++i)
    for (int64_t j = 0; j < cols; ++j)
      ordered[static_cast<size_t>(i * cols + j)] = inputs.h[static_cast<size_t>(
          inputs.order[static_cast<size_t>(i)] * cols + inputs.order[static_cast<size_t>(j)])];
  inputs.factor = inverse_factor(ordered, cols, options.damping);
  return inputs;
}

std::vector<double> output_errors(std::span<const float> differences, int64_t rows,
                                  const InputStatistics& inputs, const Team& team) {
  const auto cols = static_cast<int64_t>(inputs.importance.size());
  const Product product(team, {rows, cols, differences.data()}, cols, inputs.h.data(), cols, cols);
  std::vector<double> errors(static_cast<size_t>(rows));
  team.for_each(rows, [&](int64_t row) {
    const float *left = differences.data() + row * cols, *right = product.row(row);
    double sum = 0;
    for (int64_t k = 0; k < cols; ++k) sum += static_cast<double>(left[k]) * static_cast<double>(right[k]);
    errors[static_cast<size_t>(row)] = sum;
  });
  return errors;
}

double output_power(const WeightMatrix& weights, const InputStatistics& inputs, const Team& team) {
  const std::vector<double> powers = output_errors(values_of(weights, team), weights.rows, inputs, team);
  return std::accumulate(powers.begin(), powers.end(), 0.0);
}

QuantizedMatrix gptq(const WeightMatrix& weights, const QuantizationScheme& scheme, DType scale_type,
                     const InputStatistics& inputs, const GptqOptions& options, const Team& team) {
  QuantizedMatrix out = round_to_nearest(weights, scheme, scale_type, inputs.importance.data(), team);
  if (out.fit == ScaleFit::lost) return out;
  WeightMatrix& grid = out.matrix;
  const int64_t rows = grid.rows, cols = grid.cols;
  const std::vector<float> values = values_of(weights, team);
  const WeightFormatInfo& format = info(grid.format);
  Candidates best(values, grid, inputs, team);
  std::vector<float> codes(values.size());
  team.for_each(rows,
                [&](int64_t row) { format.decode_row(out.codes(row), cols, codes.data() + row * cols); });
  best.offer(codes, grid.scales);
  const ScaleFitter fitter(values, grid, inputs, options.ridge, team);
  for (int round = 0; round < options.rounds; ++round) {
    codes = Feedback(values, grid, inputs, team).run();
    best.offer(codes, grid.scales);
    const std::vector<double> fitted = fitter.run(best.steps_of(codes));
    for (size_t i = 0; i < fitted.size(); ++i)
      if (const std::optional<float> stored = stored_scale(static_cast<float>(fitted[i]), scale_type))
        grid.scales[i] = *stored;
    best.offer(codes, grid.scales);
  }
  team.for_each(
      rows, [&](int64_t row) { format.encode_row(best.codes.data() + row * cols, cols, out.codes(row)); });
  grid.scales = std::move(best.scales);
  measure(weights, out, team);
  out.loss = best.error();
  return out;
}

}  // namespace whittle
