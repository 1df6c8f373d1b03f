#include "engine/files/tensor_checks.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstring>

#include "engine/files/float_tensor.h"
#include "engine/files/json_file.h"
#include "kernels/error.h"
#include "kernels/packed_weight.h"

namespace whittle {

std::string label(const TensorView& tensor) {
  return fmt::format("{}: tensor {}", tensor.file->string(), quote(tensor.name));
}

const TensorView& expect(const TensorView& tensor, DType dtype, std::initializer_list<int64_t> shape) {
  if (tensor.dtype != dtype || !std::ranges::equal(tensor.shape, shape)) {
    fail("{}: expected {} {}, found {} {}", label(tensor), name(dtype),
         shape_text({shape.begin(), shape.size()}), name(tensor.dtype), shape_text(tensor.shape));
  }
  return tensor;
}

void expect_values(const TensorView& tensor, std::initializer_list<int64_t> values) {
  assert(tensor.bytes.size() == values.size() * sizeof(int64_t));
  std::vector<int64_t> stored(values.size());
  std::memcpy(stored.data(), tensor.bytes.data(), tensor.bytes.size());
  if (!std::ranges::equal(stored, values))
    fail("{}: expected the values {}, found {}", label(tensor), fmt::join(values, ", "),
         fmt::join(stored, ", "));
}

std::vector<float> read_finite_scales(const TensorView& tensor) {
  std::vector<float> scales = read_floats(tensor);
  for (size_t i = 0; i < scales.size(); ++i) {
    if (!std::isfinite(scales[i])) {
      fail("{}: index {}: expected a finite scale, found {}", label(tensor), i, scales[i]);
    }
  }
  return scales;
}

int64_t checked_group_size(const TensorView& scale, WeightFormat format, int64_t group_size, int64_t cols) {
  if (group_size == 0 || group_size >= cols) return cols;
  if (group_size % group_multiple(format) != 0) {
    fail(
        "{}: field \"group_size\" of quantization_config: {} in groups of {} inputs is not supported, "
        "expected "
        "a multiple of {}, or all {}",
        label(scale), info(format).name, group_size, group_multiple(format), cols);
  }
  return group_size;
}

std::vector<int8_t> checked_zero_points(const TensorView& tensor, std::vector<int8_t> zero_points,
                                        int64_t groups, bool symmetric) {
  if (!symmetric) return zero_points;
  const auto other = std::ranges::find_if(zero_points, [](int8_t value) { return value != 0; });
  if (other == zero_points.end()) return {};
  const int64_t at = other - zero_points.begin();
  fail("{}: output {}, group {}: found zero point {}, but quantization_config says symmetric", label(tensor),
       at / groups, at % groups, *other);
}

}  // namespace whittle
