#include "quant/feedback.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "engine/files/interrupts.h"
#include "quant/product.h"
#include "quant/rounding.h"

namespace whittle {
namespace {

// Columns whose errors reach the rest together, by one matrix product.
constexpr int64_t block_cols = 128;
// Of these, those whose errors reach the rest of the block together, in registers.
constexpr int64_t tile_cols = 16;

class Feedback {
 public:
  Feedback(const FeedbackTask& task, const WeightMatrix& grid, const InputStatistics& inputs,
           const Team& team)
      : first_(task.first),
        pruned_(task.pruned),
        beta_(static_cast<float>(task.beta)),
        rows_(grid.rows),
        cols_(grid.cols),
        grid_(grid),
        format_(info(grid.format)),
        inputs_(inputs),
        team_(team),
        groups_(grid.groups()),
        weights_(task.weights.size()),
        moved_(team) {
    for (const int64_t col : inputs.order) group_.push_back(col / grid.group_size);
    team.for_each(rows_, [&](int64_t row) {
      for (int64_t i = 0; i < cols_; ++i)
        weights_[at(row, i)] = task.weights[at(row, inputs.order[static_cast<size_t>(i)])];
    });
    left_ = weights_;
  }

  // The code of every weight, [rows, cols].
  std::vector<float> run() {
    std::vector<float> errors(static_cast<size_t>(rows_ * block_cols));
    for (int64_t begin = 0; begin < cols_; begin += block_cols) {
      check_interrupted();
      const int64_t end = std::min(cols_, begin + block_cols);
      std::array<float, block_cols * block_cols> factors{};
      for (int64_t i = begin; i < end; ++i)
        std::copy_n(factor_row(i) + begin, end - begin, factors.data() + (i - begin) * block_cols);
      team_.for_each(rows_, [&](int64_t row) {
        round_block(row, begin, end, factors.data(), errors.data() + row * block_cols);
      });
      if (end < cols_) pass_on(begin, end, errors.data());
    }
    // As in the file.
    team_.for_each(rows_, [&](int64_t row) {
      for (int64_t i = 0; i < cols_; ++i)
        weights_[at(row, inputs_.order[static_cast<size_t>(i)])] = left_[at(row, i)];
    });
    return std::move(weights_);
  }

 private:
  size_t at(int64_t row, int64_t col) const { return static_cast<size_t>(row * cols_ + col); }
  const float* factor_row(int64_t i) const { return inputs_.factor.data() + i * cols_; }

  // Rounds a row's columns [begin, end) one after the other. factors: theirs, [block_cols, block_cols];
  // errors: what each column leaves, over its factor.
  void round_block(int64_t row, int64_t begin, int64_t end, const float* factors, float* errors) {
    std::array<float, block_cols> left{};
    std::copy_n(left_.data() + row * cols_ + begin, end - begin, left.data());
    const float* scales = grid_.scales.data() + row * groups_;
    const int8_t* zero_points =
        grid_.zero_points.empty() ? nullptr : grid_.zero_points.data() + row * groups_;
    const auto least = static_cast<float>(format_.code_min), most = static_cast<float>(format_.code_max);
    for (int64_t tile = 0; tile < end - begin; tile += tile_cols) {
      const int64_t tile_end = std::min(end - begin, tile + tile_cols);
      for (int64_t i = tile; i < tile_end; ++i) {
        const int64_t group = group_[static_cast<size_t>(begin + i)];
        const float scale = scales[group], zero = zero_points ? zero_points[group] : 0;
        const float now = left[static_cast<size_t>(i)];
        const float value = begin + i == 0 && !first_.empty() ? first_[static_cast<size_t>(row)] : now;
        const float given = weights_[at(row, begin + i)];
        const bool zero_stays = pruned_ && given == 0;
        const float steps = scale != 0 && !zero_stays ? value / scale : 0;
        const float code = nearest(std::clamp(steps, least - zero, most - zero)) + zero;
        left_[at(row, begin + i)] = code;
        const float moved = zero_stays ? 0 : now - given;
        const float* factor = factors + i * block_cols;
        errors[i] = (now - (code - zero) * scale - beta_ * moved) / factor[i];
        take_off(errors, factors, i, i + 1, tile, left.data());
      }
      for (int64_t behind = tile + tile_cols; behind < end - begin; behind += tile_cols)
        take_off(errors, factors, tile, tile_end, behind, left.data());
    }
  }

  // What the errors of columns [first, last) take off the tile of columns that begins at `tile`; those that
  // are rounded already may change.
  static void take_off(const float* errors, const float* factors, int64_t first, int64_t last, int64_t tile,
                       float* left) {
    std::array<float, tile_cols> sums;
    std::copy_n(left + tile, tile_cols, sums.begin());
    for (int64_t i = first; i < last; ++i)
      for (size_t j = 0; j < tile_cols; ++j)
        sums[j] -= errors[i] * factors[i * block_cols + tile + static_cast<int64_t>(j)];
    std::copy_n(sums.begin(), tile_cols, left + tile);
  }

  // What the errors of [begin, end) take off the columns behind.
  void pass_on(int64_t begin, int64_t end, const float* errors) {
    const int64_t behind = cols_ - end, width = end - begin;
    factors_.resize(static_cast<size_t>(behind * width));  // [behind, width]
    team_.for_each((behind + block_cols - 1) / block_cols, [&](int64_t block) {
      for (int64_t i = 0; i < width; ++i)
        for (int64_t j = block * block_cols; j < std::min(behind, (block + 1) * block_cols); ++j)
          factors_[static_cast<size_t>(j * width + i)] = factor_row(begin + i)[end + j];
    });
    moved_.compute({rows_, block_cols, errors}, width, factors_.data(), behind, width);
    team_.for_each(rows_, [&](int64_t row) {
      float* left = left_.data() + row * cols_ + end;
      const float* off = moved_.row(row);
      for (int64_t j = 0; j < behind; ++j) left[j] -= off[j];
    });
  }

  std::span<const float> first_;
  bool pruned_;
  float beta_;
  int64_t rows_, cols_;
  const WeightMatrix& grid_;
  const WeightFormatInfo& format_;
  const InputStatistics& inputs_;
  const Team& team_;
  const int64_t groups_;
  // Columns in order, so that all that a block needs lies side by side.
  std::vector<int64_t> group_;
  std::vector<float> weights_;
  std::vector<float> left_;  // what is still to be rounded of the weights; of those that are, the code
  std::vector<float> factors_;
  Product moved_;
};

}  // namespace

std::vector<float> round_with_feedback(const FeedbackTask& task, const WeightMatrix& grid,
                                       const InputStatistics& inputs, const Team& team) {
  return Feedback(task, grid, inputs, team).run();
}

}  // namespace whittle
