#include "quant/written_weights.h"

#include "engine/files/float_tensor.h"
#include "engine/files/interrupts.h"

namespace whittle {

DType WrittenWeights::dtype(const Module& module, const char* part) const {
  return source_.file().get(module.name + part).dtype;
}

WeightMatrix WrittenWeights::matrix(const Module& module) const {
  const WeightMatrix weights = weights_.matrix(module);
  if (!changed_(module)) return weights;
  WeightMatrix out{
      .format = *float_format(dtype(module, ".weight")), .rows = weights.rows, .cols = weights.cols};
  const int64_t stride = row_bytes(out.format, out.cols);
  std::vector<std::byte> bytes(static_cast<size_t>(out.rows * stride));
  team_.for_each(out.rows, [&](int64_t row) {
    if (interrupted()) return;
    std::vector<float> values(static_cast<size_t>(out.cols));
    weights.decode_row(row, values.data());
    info(out.format).encode_row(values.data(), out.cols, bytes.data() + row * stride);
  });
  check_interrupted();
  weights_.release(weights);
  return with_codes(std::move(out), std::move(bytes));
}

std::vector<float> WrittenWeights::weight_vector(const Module& norm) const {
  const std::vector<float> weight = weights_.weight_vector(norm);
  if (!changed_(norm)) return weight;
  const DType type = dtype(norm, ".weight");
  return decode_floats(float_bytes(weight, type), type);
}

std::vector<float> WrittenWeights::bias(const Module& module) const {
  const std::vector<float> bias = weights_.bias(module);
  if (!changed_(module) || bias.empty()) return bias;
  const DType type = dtype(module, ".bias");
  return decode_floats(float_bytes(bias, type), type);
}

}  // namespace whittle
