#include "engine/files/float_tensor.h"

#include <algorithm>
#include <cassert>

#include "engine/files/json_file.h"
#include "kernels/error.h"

namespace whittle {

namespace {

struct FloatType {
  DType dtype;
  WeightFormat format;
};
constexpr FloatType float_types[] = {
    {DType::F32, WeightFormat::f32}, {DType::F16, WeightFormat::f16}, {DType::BF16, WeightFormat::bf16}};

}  // namespace

std::optional<WeightFormat> float_format(DType dtype) {
  const auto found = std::ranges::find(float_types, dtype, &FloatType::dtype);
  if (found == std::end(float_types)) return {};
  return found->format;
}

std::vector<float> read_floats(const TensorView& tensor) {
  const auto format = float_format(tensor.dtype);
  if (!format) {
    fail("{}: tensor {}: expected F32, F16 or BF16, found {}", tensor.file->string(), quote(tensor.name),
         name(tensor.dtype));
  }
  return decode_floats(tensor.bytes, tensor.dtype);
}

std::vector<float> decode_floats(std::span<const std::byte> bytes, DType dtype) {
  const auto format = float_format(dtype);
  assert(format);
  const int64_t count = std::ssize(bytes) * 8 / bits(dtype);
  std::vector<float> values(static_cast<size_t>(count));
  info(*format).decode_row(bytes.data(), count, values.data());
  return values;
}

std::vector<std::byte> float_bytes(std::span<const float> values, DType dtype) {
  const auto format = float_format(dtype);
  assert(format);
  const auto count = static_cast<int64_t>(values.size());
  std::vector<std::byte> bytes(static_cast<size_t>(row_bytes(*format, count)));
  info(*format).encode_row(values.data(), count, bytes.data());
  return bytes;
}

}  // namespace whittle
