#include "quant/quantized_matrix.h"

#include <cmath>
#include <memory>
#include <vector>

#include "engine/files/compressed_tensors.h"
#include "engine/files/interrupts.h"
#include "engine/files/json_file.h"
#include "kernels/error.h"

namespace whittle {

std::byte* QuantizedMatrix::codes(int64_t at_row) const {
  return const_cast<std::byte*>(matrix.codes.data()) + at_row * row_bytes(matrix.format, matrix.cols);
}

QuantizedMatrix empty_matrix(const QuantizationScheme& scheme, int64_t rows, int64_t cols, DType scale_type) {
  QuantizedMatrix out;
  out.scale_type = scale_type;
  WeightMatrix& matrix = out.matrix;
  matrix.format = scheme.format;
  matrix.rows = rows;
  matrix.cols = cols;
  if (info(scheme.format).quantized) matrix.group_size = scheme.group_size ? scheme.group_size : cols;
  matrix.owned =
      std::make_shared<std::vector<std::byte>>(static_cast<size_t>(rows * row_bytes(scheme.format, cols)));
  matrix.codes = *matrix.owned;
  matrix.scales.resize(static_cast<size_t>(rows * matrix.groups()));
  if (!scheme.symmetric) matrix.zero_points.resize(matrix.scales.size());
  return out;
}

QuantizedMatrix round_to_nearest(const WeightMatrix& weights, const QuantizationScheme& scheme,
                                 DType scale_type, const float* importance, const Team& team) {
  QuantizedMatrix out = empty_matrix(scheme, weights.rows, weights.cols, scale_type);
  WeightMatrix& matrix = out.matrix;
  std::vector<RowFit> fits(static_cast<size_t>(weights.rows));
  team.for_each(weights.rows, [&](int64_t row) {
    if (interrupted()) return;
    std::vector<float> values(static_cast<size_t>(weights.cols));
    weights.decode_row(row, values.data());
    const int64_t group = row * matrix.groups();
    fits[static_cast<size_t>(row)] =
        round_row(values.data(), weights.cols, scheme, scale_type,
                  {out.codes(row), matrix.scales.data() + group,
                   scheme.symmetric ? nullptr : matrix.zero_points.data() + group},
                  importance);
  });
  check_interrupted();
  for (size_t row = 0; row < fits.size(); ++row)
    if (fits[row].fit > out.fit) {
      out.fit = fits[row].fit;
      out.row = static_cast<int64_t>(row);
      out.group = fits[row].group;
    }
  measure(weights, out, team);
  out.loss = out.error;
  return out;
}

QuantizedMatrix round_to_nearest(const WeightSource& source, const Module& module,
                                 const QuantizationScheme& scheme, const Team& team) {
  const WeightMatrix weights = source.matrix(module);
  QuantizedMatrix matrix = with_best_scale_type(
      scheme, [&](DType type) { return round_to_nearest(weights, scheme, type, nullptr, team); });
  source.release(weights);
  return matrix;
}

QuantizedMatrix as_floats(const std::string& module, const WeightMatrix& weights,
                          std::span<const float> values, WeightFormat format, const Team& team) {
  QuantizationScheme scheme;
  scheme.format = format;
  QuantizedMatrix out = empty_matrix(scheme, weights.rows, weights.cols, DType::F32);
  team.for_each(weights.rows, [&](int64_t row) {
    info(format).encode_row(values.data() + row * weights.cols, weights.cols, out.codes(row));
  });
  measure(weights, out, team);
  out.loss = out.error;
  if (!std::isfinite(out.error))
    fail("{}: pruned, a value is no finite {}", quote(module), info(format).name);
  return out;
}

void measure(const WeightMatrix& weights, QuantizedMatrix& quantized, const Team& team) {
  std::vector<double> errors(static_cast<size_t>(weights.rows)), powers(errors.size());
  team.for_each(weights.rows, [&](int64_t row) {
    const auto at = static_cast<size_t>(row);
    std::vector<float> values(static_cast<size_t>(weights.cols)), kept(values.size());
    weights.decode_row(row, values.data());
    quantized.matrix.decode_row(row, kept.data());
    for (size_t k = 0; k < values.size(); ++k) {
      const double value = static_cast<double>(values[k]), difference = value - static_cast<double>(kept[k]);
      errors[at] += difference * difference;
      powers[at] += value * value;
    }
  });
  quantized.error = quantized.power = 0;
  for (size_t row = 0; row < errors.size(); ++row) {
    quantized.error += errors[row];
    quantized.power += powers[row];
  }
}

DType scale_dtype(const QuantizationScheme& scheme) {
  return scheme.strategy == ScaleStrategy::group ? DType::F16 : DType::F32;
}

// BF16 reaches as far as F32, with fewer bits.
DType widest_scale_dtype(const QuantizationScheme& scheme) {
  const DType usual = scale_dtype(scheme);
  return usual == DType::F16 ? DType::BF16 : usual;
}

QuantizedMatrix with_best_scale_type(const QuantizationScheme& scheme,
                                     const std::function<QuantizedMatrix(DType)>& quantize) {
  QuantizedMatrix best = quantize(scale_dtype(scheme));
  const DType widest = widest_scale_dtype(scheme);
  if (best.scale_type == widest || best.fit == ScaleFit::good) return best;
  // A few tiny groups are no reason to take one with fewer bits.
  QuantizedMatrix other = quantize(widest);
  return best.fit == ScaleFit::lost || other.loss < best.loss ? other : best;
}

int64_t stored_bytes(const QuantizationScheme& scheme, int64_t rows, int64_t cols, DType scale_type) {
  if (!info(scheme.format).quantized) return rows * row_bytes(scheme.format, cols);
  int64_t bytes = 0;
  for (const TensorInfo& part : quantized_tensors("", scheme, rows, cols, scale_type))
    bytes += *tensor_bytes(part.dtype, part.shape);
  return bytes;
}

}  // namespace whittle
