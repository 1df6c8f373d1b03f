#include "quant/grid_search.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <vector>

#include "engine/files/interrupts.h"
#include "quant/product.h"

namespace whittle {
namespace {

// Candidates of some rows are in memory, and one product, at once: about so many values.
constexpr int64_t block_values = 1 << 22, most_block_rows = 64;
constexpr int steps = 24;
constexpr float narrowest = 0.5f;  // of the range, as in round_row

struct Grid {
  float scale = 0, zero_point = 0;
};

class GridSearch {
 public:
  GridSearch(const WeightMatrix& weights, QuantizedMatrix& rounded, DType scale_type,
             const InputStatistics& inputs, const Team& team)
      : weights_(weights),
        rounded_(rounded),
        matrix_(rounded.matrix),
        format_(info(matrix_.format)),
        code_min_(static_cast<float>(format_.code_min)),
        code_max_(static_cast<float>(format_.code_max)),
        scale_type_(scale_type),
        inputs_(inputs),
        team_(team) {}

  double run() {
    const int64_t group = std::min(matrix_.group_size, matrix_.cols),
                  block_rows =
                      std::clamp(block_values / (3 * (steps + 1) * group), int64_t{1}, most_block_rows);
    for (int64_t begin = 0; begin < matrix_.rows; begin += block_rows) {
      rows_ = std::min(block_rows, matrix_.rows - begin);
      decode(begin);
      for (int64_t g = 0; g < matrix_.groups(); ++g) search(begin, g);
      team_.for_each(rows_, [&](int64_t row) {
        format_.encode_row(codes_.data() + row * matrix_.cols, matrix_.cols, rounded_.codes(begin + row));
      });
    }
    return loss_;
  }

 private:
  void decode(int64_t begin) {
    values_.resize(static_cast<size_t>(rows_ * matrix_.cols));
    codes_.resize(values_.size());
    team_.for_each(rows_, [&](int64_t row) {
      weights_.decode_row(begin + row, values_.data() + row * matrix_.cols);
      format_.decode_row(rounded_.codes(begin + row), matrix_.cols, codes_.data() + row * matrix_.cols);
    });
  }

  // The grids that a group may take; the first is the one that it has.
  std::vector<Grid> candidates(const float* values, int64_t count, Grid now) const {
    std::vector<Grid> grids = {now};
    float low = 0, high = 0;
    for (int64_t k = 0; k < count; ++k) {
      low = std::min(low, values[k]);
      high = std::max(high, values[k]);
    }
    if (low == high || now.scale == 0) return grids;
    const auto offer = [&](float scale, float zero_point) {
      if (const std::optional<float> stored = stored_scale(scale, scale_type_))
        if (std::isfinite((code_min_ - zero_point) * *stored) &&
            std::isfinite((code_max_ - zero_point) * *stored))
          grids.push_back({*stored, zero_point});
    };
    for (int i = 0; i <= steps; ++i) {
      const float ratio = 1 - (1 - narrowest) * static_cast<float>(i) / steps;
      if (matrix_.zero_points.empty()) {
        const float scale = std::max(high, -low) * ratio / (code_max_ + 0.5f);
        offer(scale, 0);
        if (format_.bits < 8) offer(-scale, 0);
      } else {
        const float scale = (high - low) * ratio / (code_max_ - code_min_);
        const float zero = std::rint(code_min_ - low * ratio / scale);
        for (const float shift : {0.0f, -1.0f, 1.0f})
          offer(scale, std::clamp(zero + shift, code_min_, code_max_));
      }
    }
    return grids;
  }

  float code_of(float value, Grid grid) const {
    return std::clamp(std::rint(value / grid.scale) + grid.zero_point, code_min_, code_max_);
  }

  // Group g of the rows from `begin` on.
  void search(int64_t begin, int64_t g) {
    check_interrupted();
    const int64_t cols = matrix_.cols, first = g * matrix_.group_size,
                  count = std::min(matrix_.group_size, cols - first);
    std::vector<std::vector<Grid>> grids(static_cast<size_t>(rows_));
    std::vector<int64_t> place(static_cast<size_t>(rows_) + 1);  // of each row's first candidate
    for (int64_t row = 0; row < rows_; ++row) {
      const auto at = static_cast<size_t>((begin + row) * matrix_.groups() + g);
      const float zero = matrix_.zero_points.empty() ? 0 : matrix_.zero_points[at];
      auto& of_row = grids[static_cast<size_t>(row)];
      of_row = candidates(values_.data() + row * cols + first, count, {matrix_.scales[at], zero});
      place[static_cast<size_t>(row) + 1] = place[static_cast<size_t>(row)] + std::ssize(of_row);
    }
    differences_.resize(static_cast<size_t>(place.back() * count));
    team_.for_each(rows_, [&](int64_t row) {
      const float* values = values_.data() + row * cols + first;
      const float* codes = codes_.data() + row * cols + first;
      float* out = differences_.data() + place[static_cast<size_t>(row)] * count;
      bool now = true;
      for (const Grid grid : grids[static_cast<size_t>(row)]) {
        for (int64_t k = 0; k < count; ++k) {
          const float code = now ? codes[k] : code_of(values[k], grid);
          *out++ = values[k] - (code - grid.zero_point) * grid.scale;
        }
        now = false;
      }
    });
    const Product product(team_, {place.back(), count, differences_.data()}, count,
                          inputs_.h.data() + first * cols + first, count, cols);
    std::vector<double> costs(static_cast<size_t>(rows_));
    team_.for_each(rows_, [&](int64_t row) {
      const auto& of_row = grids[static_cast<size_t>(row)];
      size_t best = 0;
      double least = 0;
      for (size_t i = 0; i < of_row.size(); ++i) {
        const int64_t m = place[static_cast<size_t>(row)] + static_cast<int64_t>(i);
        const float *left = differences_.data() + m * count, *right = product.row(m);
        double cost = 0;
        for (int64_t k = 0; k < count; ++k)
          cost += static_cast<double>(left[k]) * static_cast<double>(right[k]);
        if (i > 0 && !(cost < least)) continue;
        least = cost;
        best = i;
      }
      costs[static_cast<size_t>(row)] = least;
      if (best > 0) take(begin, row, g, of_row[best], first, count);
    });
    for (const double cost : costs) loss_ += cost;
  }

  void take(int64_t begin, int64_t row, int64_t g, Grid grid, int64_t first, int64_t count) {
    const auto at = static_cast<size_t>((begin + row) * matrix_.groups() + g);
    matrix_.scales[at] = grid.scale;
    if (!matrix_.zero_points.empty()) matrix_.zero_points[at] = static_cast<int8_t>(grid.zero_point);
    for (int64_t k = first; k < first + count; ++k) {
      const auto to = static_cast<size_t>(row * matrix_.cols + k);
      codes_[to] = code_of(values_[to], grid);
    }
  }

  const WeightMatrix& weights_;
  QuantizedMatrix& rounded_;
  WeightMatrix& matrix_;
  const WeightFormatInfo& format_;
  const float code_min_, code_max_;
  const DType scale_type_;
  const InputStatistics& inputs_;
  const Team& team_;
  int64_t rows_ = 0;                                 // of the block
  std::vector<float> values_, codes_, differences_;  // of its rows; of its rows' candidates
  double loss_ = 0;
};

}  // namespace

QuantizedMatrix round_by_blocks(const WeightMatrix& weights, const QuantizationScheme& scheme,
                                DType scale_type, const InputStatistics& inputs, const Team& team) {
  QuantizedMatrix out = round_to_nearest(weights, scheme, scale_type, inputs.importance.data(), team);
  if (out.fit == ScaleFit::lost) return out;
  out.loss = GridSearch(weights, out, scale_type, inputs, team).run();
  measure(weights, out, team);
  const OutputError error = output_error(weights, out.matrix, inputs, team);
  out.output_error = error.relative();
  out.output_power = error.power;
  return out;
}

}  // namespace whittle
