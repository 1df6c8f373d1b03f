#include "bench/estimate/made_up_weights.h"

#include <algorithm>
#include <cstring>
#include <random>

#include "kernels/float16.h"

namespace whittle {
namespace {

// As large as real models have them.
constexpr float weight_deviation = 0.02f;
// No power of two, so that rows differ.
constexpr int64_t stretch_values = 40'009;

}  // namespace

MadeUpWeights::MadeUpWeights(const StoredModel& model) : model_(model) {
  std::mt19937_64 random(1);
  std::vector<float> values(stretch_values);
  for (float& value : values)  // uniform, of that deviation
    value = (static_cast<float>(random() >> 40) * 0x1p-23f - 1) * 1.732f * weight_deviation;
  const WeightFormat floats = model.choice().floats;
  floats_.resize(static_cast<size_t>(row_bytes(floats, stretch_values)));
  info(floats).encode_row(values.data(), stretch_values, floats_.data());
  // Any byte is a code, but zeros would be taken for a sparse weight's.
  codes_.resize(stretch_values);
  for (std::byte& code : codes_) code = static_cast<std::byte>(1 + random() % 255);
}

const std::vector<std::byte>& MadeUpWeights::stretch(WeightFormat format) const {
  return info(format).quantized ? codes_ : floats_;
}

WeightMatrix MadeUpWeights::matrix(const Module& module) const {
  const QuantizationScheme* const scheme = model_.scheme(module);
  WeightMatrix matrix;
  matrix.format = scheme ? scheme->format : model_.choice().floats;
  matrix.rows = module.rows;
  matrix.cols = module.cols;
  if (scheme) {
    matrix.group_size = scheme->strategy == ScaleStrategy::group ? scheme->group_size : module.cols;
    const float levels = static_cast<float>(info(matrix.format).code_max);
    // Exact in f16.
    const float scale = f16_to_float(float_to_f16(3 * weight_deviation / levels));
    matrix.scales.assign(static_cast<size_t>(matrix.rows * matrix.groups()), scale);
  }
  std::vector<std::byte> bytes(static_cast<size_t>(matrix.rows * row_bytes(matrix.format, matrix.cols)));
  const std::vector<std::byte>& some = stretch(matrix.format);
  for (size_t at = 0; at < bytes.size(); at += some.size())
    std::memcpy(bytes.data() + at, some.data(), std::min(some.size(), bytes.size() - at));
  return with_codes(std::move(matrix), std::move(bytes));
}

std::vector<float> MadeUpWeights::weight_vector(const Module& norm) const {
  return std::vector<float>(static_cast<size_t>(norm.cols), 1.0f);
}

std::vector<float> MadeUpWeights::bias(const Module& module) const {
  return std::vector<float>(static_cast<size_t>(module.matrix() ? module.rows : module.cols));
}

int64_t MadeUpWeights::activation_group_size(const Module& linear) const {
  return model_.asked_activation_group(linear);
}

}  // namespace whittle
