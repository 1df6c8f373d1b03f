#include "quant/feedback.h"

#include <algorithm>
#include <cmath>

#include "engine/files/interrupts.h"
#include "quant/product.h"

namespace whittle {
namespace {

// Columns whose errors reach the rest together, by one matrix product.
constexpr int64_t block_cols = 128;

class Feedback {
 public:
  Feedback(std::span<const float> weights, std::span<const float> first, const WeightMatrix& grid,
           const InputStatistics& inputs, double beta, const Team& team)
      : weights_(weights),
        first_(first),
        beta_(static_cast<float>(beta)),
        rows_(grid.rows),
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
      const float value = i == 0 && !first_.empty() ? first_[static_cast<size_t>(row)] : left[i];
      const float steps = scale != 0 ? value / scale : 0;
      const float code = std::clamp(std::rint(steps) + zero, least, most);
      codes_[at(row, col)] = code;
      const float* factor = factor_row(i);
      const float moved = left[i] - weights_[at(row, col)];
      const float error = (left[i] - (code - zero) * scale - beta_ * moved) / factor[i];
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

  std::span<const float> weights_, first_;
  float beta_;
  int64_t rows_, cols_;
  const WeightMatrix& grid_;
  const WeightFormatInfo& format_;
  const InputStatistics& inputs_;
  const Team& team_;
  std::vector<float> left_;   // the weights as they are still to be rounded, columns in order
  std::vector<float> codes_;  // columns as in the file
};

}  // namespace

std::vector<float> round_with_feedback(std::span<const float> weights, std::span<const float> first,
                                       const WeightMatrix& grid, const InputStatistics& inputs, double beta,
                                       const Team& team) {
  return Feedback(weights, first, grid, inputs, beta, team).run();
}

}  // namespace whittle
