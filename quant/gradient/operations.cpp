#include "quant/gradient/operations.h"

#include <algorithm>
#include <cmath>

namespace whittle {
namespace {

// Rows whose contributions to a parameter are summed by one thread: fixed, so that the sums' order is.
constexpr int64_t rows_of_part = 64;

int64_t parts_of(int64_t rows) { return (rows + rows_of_part - 1) / rows_of_part; }

template <class Body>
void for_rows(const Team& team, int64_t rows, Body body) {
  team.for_each(parts_of(rows), [&](int64_t part) {
    const int64_t end = std::min(rows, (part + 1) * rows_of_part);
    for (int64_t m = part * rows_of_part; m < end; ++m) body(m, part);
  });
}

std::vector<float> sum_parts(const Matrix& parts) {
  std::vector<float> total(static_cast<size_t>(parts.cols()));
  for (int64_t part = 0; part < parts.rows(); ++part)
    for (int64_t i = 0; i < parts.cols(); ++i) total[static_cast<size_t>(i)] += parts.row(part)[i];
  return total;
}

}  // namespace

void normalise(const Team& team, const ModelSpec& spec, const Norm& norm, const Matrix& x, Matrix& y) {
  y.reshape(x.rows(), x.cols());
  for_rows(team, x.rows(), [&](int64_t m, int64_t) {
    if (spec.norm == NormType::layer)
      kernels().layer_norm(x.row(m), norm.weight.data(), norm.bias.data(), x.cols(), spec.norm_eps, y.row(m));
    else
      kernels().rms_norm(x.row(m), norm.weight.data(), x.cols(), spec.norm_eps, y.row(m));
  });
}

// With x̂ the normalised row and g = d_y · weight: d_x = (g − x̂ · mean(g · x̂)) / σ, for LayerNorm less the
// mean of g, too.
void normalise_backward(const Team& team, const ModelSpec& spec, const Norm& norm, const Matrix& x,
                        const Matrix& d_y, Matrix& d_x, Norm& d_norm) {
  const int64_t n = x.cols();
  const auto width = static_cast<float>(n);
  const bool centred = spec.norm == NormType::layer;
  Matrix d_weight(parts_of(x.rows()), n), d_bias(centred ? d_weight.rows() : 0, n);
  fill(team, d_weight, 0);
  fill(team, d_bias, 0);
  for_rows(team, x.rows(), [&](int64_t m, int64_t part) {
    std::vector<float> unit(x.row(m), x.row(m) + n), g(d_y.row(m), d_y.row(m) + n);
    if (centred) {
      const float mean = sum(unit.data(), n) / width;
      for (float& value : unit) value -= mean;
    }
    const float inverse = 1.0f / std::sqrt(dot(unit.data(), unit.data(), n) / width + spec.norm_eps);
    float* const weight_sums = d_weight.row(part);
    for (int64_t i = 0; i < n; ++i) {
      const auto at = static_cast<size_t>(i);
      unit[at] *= inverse;
      weight_sums[i] += g[at] * unit[at];
      if (centred) d_bias.row(part)[i] += g[at];
      g[at] *= norm.weight[at];
    }
    const float along = dot(g.data(), unit.data(), n) / width, mean = centred ? sum(g.data(), n) / width : 0;
    float* const out = d_x.row(m);
    for (int64_t i = 0; i < n; ++i) {
      const auto at = static_cast<size_t>(i);
      out[i] += inverse * (g[at] - mean - unit[at] * along);
    }
  });
  d_norm.weight = sum_parts(d_weight);
  d_norm.bias = centred ? sum_parts(d_bias) : std::vector<float>();
}

void activate(const Team& team, const ModelSpec& spec, const Matrix& gate, const Matrix& up, Matrix& y) {
  y.reshape(up.rows(), up.cols());
  for_rows(team, up.rows(), [&](int64_t m, int64_t) {
    const Matrix& inner = spec.gated_mlp ? gate : up;
    std::copy_n(inner.row(m), round_up(inner.cols(), float_block), y.row(m));
    if (spec.gated_mlp)
      kernels().silu_mul(y.row(m), up.row(m), up.cols());
    else
      kernels().gelu_tanh(y.row(m), up.cols());
  });
}

void activate_backward(const Team& team, const ModelSpec& spec, const Matrix& gate, const Matrix& up,
                       const Matrix& d_y, Matrix& d_gate, Matrix& d_up) {
  d_up.reshape(up.rows(), up.cols());
  if (spec.gated_mlp) d_gate.reshape(up.rows(), up.cols());
  for_rows(team, up.rows(), [&](int64_t m, int64_t) {
    const float* const d = d_y.row(m);
    const float* const u = up.row(m);
    float* const out = d_up.row(m);
    if (spec.gated_mlp) {  // g · σ(g) · u
      const float* const g = gate.row(m);
      float* const gate_out = d_gate.row(m);
      for (int64_t i = 0; i < up.cols(); ++i) {
        const float sigma = 1.0f / (1.0f + exponential(-g[i]));
        gate_out[i] = d[i] * u[i] * sigma * (1.0f + g[i] * (1.0f - sigma));
        out[i] = d[i] * g[i] * sigma;
      }
      return;
    }
    for (int64_t i = 0; i < up.cols(); ++i) {  // v · σ(2z), z = √(2/π) · (v + 0.044715 v³)
      constexpr float twice_root = 1.5957691216057308f, cubic = 0.044715f;
      const float square = u[i] * u[i];
      const float sigma = 1.0f / (1.0f + exponential(-twice_root * u[i] * (1.0f + cubic * square)));
      const float slope = twice_root * (1.0f + 3.0f * cubic * square);
      out[i] = d[i] * sigma * (1.0f + u[i] * (1.0f - sigma) * slope);
    }
  });
}

void quantize_inputs(const Team& team, const Matrix& x, int64_t group_size, Matrix& y) {
  y.reshape(x.rows(), x.cols());
  const int64_t padded = round_up(x.cols(), cols_block);
  const int64_t size = group_size ? std::min(group_size, padded) : padded,
                groups = (padded + size - 1) / size;
  for_rows(team, x.rows(), [&](int64_t m, int64_t) {
    if (group_size == 0) {
      std::copy_n(x.row(m), x.cols(), y.row(m));
      return;
    }
    std::vector<int8_t> codes(static_cast<size_t>(padded));
    std::vector<float> scales(static_cast<size_t>(groups));
    std::vector<int32_t> sums(scales.size());
    kernels().quantize_row(x.row(m), x.cols(), {1, padded, size, codes.data(), scales.data(), sums.data()},
                           0);
    for (int64_t i = 0; i < x.cols(); ++i)
      y.row(m)[i] = static_cast<float>(codes[static_cast<size_t>(i)]) * scales[static_cast<size_t>(i / size)];
  });
}

std::vector<float> sum_rows(const Team& team, const Matrix& x) {
  Matrix parts(parts_of(x.rows()), x.cols());
  fill(team, parts, 0);
  for_rows(team, x.rows(), [&](int64_t m, int64_t part) {
    float* const to = parts.row(part);
    const float* const from = x.row(m);
    for (int64_t i = 0; i < x.cols(); ++i) to[i] += from[i];
  });
  return sum_parts(parts);
}

}  // namespace whittle
