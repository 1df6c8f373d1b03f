#include "quant/gptq.h"

#include <algorithm>
#include <numeric>

#include "quant/feedback.h"
#include "quant/float_matrix.h"
#include "quant/input_mismatch.h"
#include "quant/scale_fitter.h"

namespace whittle {
namespace {

// Codes and scales of a matrix, judged row by row.
class Candidates {
 public:
  Candidates(std::span<const float> weights, const WeightMatrix& grid, const InputStatistics& inputs,
             const InputMismatch& mismatch, const Team& team)
      : weights_(weights), grid_(grid), inputs_(inputs), mismatch_(mismatch), team_(team) {}

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
    const std::vector<double> squares = output_errors(differences, grid_.rows, inputs_, team_);
    const std::vector<double> errors = errors_of(squares, differences);
    const bool first = errors_.empty();
    if (first) {
      codes = new_codes;
      scales = new_scales;
      squares_ = squares;
      errors_ = errors;
      return;
    }
    for (int64_t row = 0; row < grid_.rows; ++row) {
      const auto at = static_cast<size_t>(row);
      if (!(errors[at] < errors_[at])) continue;
      squares_[at] = squares[at];
      errors_[at] = errors[at];
      std::copy_n(new_codes.begin() + row * cols, cols, codes.begin() + row * cols);
      std::copy_n(new_scales.begin() + row * groups, groups, scales.begin() + row * groups);
    }
  }

  // Of the best, summed over the rows: what they were judged by, and (w − ŵ) H (w − ŵ)ᵀ.
  double error() const { return std::accumulate(errors_.begin(), errors_.end(), 0.0); }
  double square() const { return std::accumulate(squares_.begin(), squares_.end(), 0.0); }

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
  // What rounding adds to each row's |w·x₀ − ŵ·x|²: less than nothing where it makes good a part of the
  // mismatch.
  std::vector<double> errors_of(std::vector<double> errors, const std::vector<float>& differences) const {
    if (mismatch_.pull.empty()) return errors;
    team_.for_each(grid_.rows, [&](int64_t row) {
      for (int64_t k = row * grid_.cols; k < (row + 1) * grid_.cols; ++k)
        errors[static_cast<size_t>(row)] += 2 * static_cast<double>(differences[static_cast<size_t>(k)]) *
                                            static_cast<double>(mismatch_.pull[static_cast<size_t>(k)]);
    });
    return errors;
  }

  std::span<const float> weights_;
  const WeightMatrix& grid_;
  const InputStatistics& inputs_;
  const InputMismatch& mismatch_;
  const Team& team_;
  std::vector<double> errors_, squares_;  // [rows]
};

// Σ w H wᵀ: the fitter has wG, the mismatch w (G − H).
double output_power(std::span<const float> weights, const ScaleFitter& fitter,
                    const InputMismatch& mismatch) {
  double power = 0;
  const auto cols = static_cast<size_t>(fitter.cols());
  for (size_t i = 0; i < weights.size(); ++i) {
    const float pulled = fitter.pulled(static_cast<int64_t>(i / cols))[i % cols];
    const float pull = mismatch.pull.empty() ? 0 : mismatch.pull[i];
    power += static_cast<double>(weights[i]) * static_cast<double>(pulled - pull);
  }
  return power;
}

}  // namespace

QuantizedMatrix gptq(const WeightMatrix& weights, const QuantizationScheme& scheme, DType scale_type,
                     const InputStatistics& inputs, const GptqOptions& options, const Team& team,
                     std::span<const float> pruned) {
  const bool sparse = !pruned.empty();
  QuantizedMatrix out =
      round_to_nearest(sparse ? borrowed_floats(pruned, weights.rows, weights.cols) : weights, scheme,
                       scale_type, inputs.importance.data(), team);
  if (out.fit == ScaleFit::lost) return out;
  WeightMatrix& grid = out.matrix;
  const int64_t rows = grid.rows, cols = grid.cols;
  const std::vector<float> values = float_values(weights, team);
  const WeightFormatInfo& format = info(grid.format);
  const InputMismatch mismatch = input_mismatch(values, rows, inputs, team);
  FeedbackTask task{.weights = mismatch.weights.empty() ? values : mismatch.weights,
                    .first = mismatch.first,
                    .beta = options.beta};
  if (sparse) task = {.weights = pruned, .pruned = true, .beta = options.beta};
  Candidates best(values, grid, inputs, mismatch, team);
  std::vector<float> codes(values.size());
  team.for_each(rows,
                [&](int64_t row) { format.decode_row(out.codes(row), cols, codes.data() + row * cols); });
  best.offer(codes, grid.scales);
  const ScaleFitter fitter(values, grid, inputs, options.ridge, team);
  for (int round = 0; round < options.rounds; ++round) {
    codes = round_with_feedback(task, grid, inputs, team);
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
  out.output_power = output_power(values, fitter, mismatch);
  out.output_error = OutputError{best.square(), out.output_power}.relative();
  return out;
}

}  // namespace whittle
