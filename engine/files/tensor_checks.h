#pragma once
// What the readers of quantized modules ask of tensors from strangers. Errors name the file and the tensor.

#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "engine/files/safetensors.h"
#include "kernels/weight_format.h"

namespace whittle {

// "FILE: tensor "NAME"": how errors begin.
std::string label(const TensorView& tensor);

// The tensor itself. Throws Error unless it has this type and this shape.
const TensorView& expect(const TensorView& tensor, DType dtype, std::initializer_list<int64_t> shape);

// Throws Error unless an I64 tensor of as many values has these.
void expect_values(const TensorView& tensor, std::initializer_list<int64_t> values);

// Scales as float32. Throws Error for an infinite one or a NaN.
std::vector<float> read_finite_scales(const TensorView& tensor);

// `group_size` of quantization_config as a matrix of `cols` inputs has it; 0: none smaller than a row. A
// group as long as the row is the row. Kernels take several inputs of a row at a time, which must share a
// scale: throws Error, beginning with the label of `scale`, for groups that are no group_multiple(format).
int64_t checked_group_size(const TensorView& scale, WeightFormat format, int64_t group_size, int64_t cols);

// Zero points [rows, groups]; none where quantization is `symmetric`. Throws Error when it is, but one is not
// 0.
std::vector<int8_t> checked_zero_points(const TensorView& tensor, std::vector<int8_t> zero_points,
                                        int64_t groups, bool symmetric);

}  // namespace whittle
