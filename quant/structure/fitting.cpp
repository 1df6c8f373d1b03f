#include "quant/structure/fitting.h"

#include <algorithm>
#include <numeric>

#include "quant/inverse_factor.h"
#include "quant/product.h"

namespace whittle {
namespace {

// Of the mean diagonal of H: the fewer tokens an input has, the more it takes.
constexpr double ridges[] = {0.001, 0.01, 0.1, 1};

// These rows and columns of values [.., cols].
std::vector<float> part(const std::vector<float>& values, int64_t cols, const std::vector<int64_t>& rows,
                        const std::vector<int64_t>& of_cols) {
  std::vector<float> out;
  out.reserve(rows.size() * of_cols.size());
  for (const int64_t row : rows)
    for (const int64_t col : of_cols) out.push_back(values[static_cast<size_t>(row * cols + col)]);
  return out;
}

std::vector<int64_t> up_to(int64_t count) {
  std::vector<int64_t> all(static_cast<size_t>(count));
  std::iota(all.begin(), all.end(), 0);
  return all;
}

// to [rows, cols] += factor · the product.
void add(std::vector<float>& to, const Product& product, int64_t rows, int64_t cols, float factor) {
  for (int64_t row = 0; row < rows; ++row)
    for (int64_t col = 0; col < cols; ++col)
      to[static_cast<size_t>(row * cols + col)] += factor * product.row(row)[col];
}

double square(const std::vector<float>& values) {
  return std::transform_reduce(values.begin(), values.end(), 0.0, std::plus(), [](float value) {
    return static_cast<double>(value) * static_cast<double>(value);
  });
}

// C · (H + λI)⁻¹ = (C · Uᵀ) · U.
std::vector<float> solve(const std::vector<float>& c, int64_t rows, const std::vector<float>& h, int64_t n,
                         double ridge, const Team& team) {
  const std::vector<float> factor = inverse_factor(h, n, ridge, team);
  std::vector<float> half(c.size()), turned(factor.size()), out(c.size());
  add(half, Product(team, {rows, n, c.data()}, n, factor.data(), n, n), rows, n, 1);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = i; j < n; ++j)
      turned[static_cast<size_t>(j * n + i)] = factor[static_cast<size_t>(i * n + j)];
  add(out, Product(team, {rows, n, half.data()}, n, turned.data(), n, n), rows, n, 1);
  return out;
}

}  // namespace

StreamStatistics::StreamStatistics(int64_t rows, int64_t cols, bool bias)
    : rows_(rows), cols_(cols), bias_(bias), hessian_(cols + bias), moment_(rows, cols + bias) {}

void StreamStatistics::add(const Team& team, FloatRows x, FloatRows e, std::span<const float> weight,
                           bool judged) {
  std::vector<float> inputs(static_cast<size_t>(x.rows * this->inputs())),
      lacks(static_cast<size_t>(x.rows * rows_));
  team.for_each(x.rows, [&](int64_t t) {
    const float w = weight[static_cast<size_t>(t)];
    float* to = inputs.data() + t * this->inputs();
    for (int64_t k = 0; k < cols_; ++k) to[k] = w * x.values[t * x.stride + k];
    if (bias_) to[cols_] = w;
    for (int64_t n = 0; n < rows_; ++n)
      lacks[static_cast<size_t>(t * rows_ + n)] = w * e.values[t * e.stride + n];
  });
  if (judged) {
    judged_.tokens += x.rows;
    judged_.x.insert(judged_.x.end(), inputs.begin(), inputs.end());
    judged_.e.insert(judged_.e.end(), lacks.begin(), lacks.end());
    return;
  }
  hessian_.add(team, {x.rows, this->inputs(), inputs.data()});
  moment_.add(team, {x.rows, rows_, lacks.data()}, {x.rows, this->inputs(), inputs.data()});
}

void StreamStatistics::finish(const Team& team) {
  h_ = Hessian(std::move(hessian_)).mean(team);
  lacking_ = CrossMoment(std::move(moment_)).mean(team);
}

std::vector<float> StreamStatistics::varying() const {
  if (!bias_) return h_;
  const auto at = [&](int64_t i, int64_t j) { return h_[static_cast<size_t>(i * inputs() + j)]; };
  std::vector<float> out;
  const float ones = at(cols_, cols_);
  for (int64_t i = 0; i < cols_; ++i)
    for (int64_t j = 0; j < cols_; ++j)
      out.push_back(at(i, j) - (ones > 0 ? at(i, cols_) * at(cols_, j) / ones : 0));
  return out;
}

Fit fit_stream(const StreamStatistics& statistics, std::span<const float> weights,
               const std::vector<int64_t>& kept, bool fitted, const Team& team) {
  const int64_t rows = statistics.rows(), cols = statistics.cols(), inputs = statistics.inputs();
  std::vector<int64_t> gone, all = kept;
  std::ranges::set_difference(up_to(cols), kept, std::back_inserter(gone));
  if (statistics.bias()) all.push_back(cols);
  const std::vector<float> before(weights.begin(), weights.end());
  const auto n = std::ssize(all), removed = std::ssize(gone), tokens = statistics.judged().tokens;

  Fit fit;
  fit.weights = part(before, cols, up_to(rows), kept);
  if (statistics.bias()) fit.bias.resize(static_cast<size_t>(rows));
  if (!fitted || tokens == 0) return fit;
  // What the stream lacks without what is gone: of the mean, and token by token.
  std::vector<float> lacking = part(statistics.lacking(), inputs, up_to(rows), all),
                     lacks = statistics.judged().e;
  if (removed) {
    const std::vector<float> lost = part(before, cols, up_to(rows), gone),
                             across = part(statistics.h(), inputs, all, gone),
                             x = part(statistics.judged().x, inputs, up_to(tokens), gone);
    add(lacking, Product(team, {rows, removed, lost.data()}, removed, across.data(), n, removed), rows, n, 1);
    add(lacks, Product(team, {tokens, removed, x.data()}, removed, lost.data(), rows, removed), tokens, rows,
        1);
  }
  fit.before = fit.after = square(lacks);
  if (fit.before == 0) return fit;

  const std::vector<float> h = part(statistics.h(), inputs, all, all),
                           x = part(statistics.judged().x, inputs, up_to(tokens), all);
  std::vector<float> best;
  for (const double ridge : ridges) {
    std::vector<float> step = solve(lacking, rows, h, n, ridge, team), left = lacks;
    add(left, Product(team, {tokens, n, x.data()}, n, step.data(), rows, n), tokens, rows, -1);
    if (const double error = square(left); error < fit.after) {
      fit.after = error;
      best = std::move(step);
    }
  }
  for (int64_t row = 0; row < rows && !best.empty(); ++row) {
    for (int64_t k = 0; k < std::ssize(kept); ++k)
      fit.weights[static_cast<size_t>(row * std::ssize(kept) + k)] += best[static_cast<size_t>(row * n + k)];
    if (statistics.bias()) fit.bias[static_cast<size_t>(row)] = best[static_cast<size_t>(row * n + n - 1)];
  }
  return fit;
}

}  // namespace whittle
