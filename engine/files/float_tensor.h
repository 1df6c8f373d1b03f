#pragma once
// Tensors of F32, F16 and BF16 as float32 values, and back.

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "engine/files/safetensors.h"
#include "kernels/weight_format.h"

namespace whittle {

// The weight format whose values lie in memory as those of `dtype`; nullopt for what is no float or one that
// we do not compute with.
std::optional<WeightFormat> float_format(DType dtype);

// Throws Error that names file and tensor for any other element type.
std::vector<float> read_floats(const TensorView& tensor);

// Values of `dtype` (F32, F16 or BF16) as float32.
std::vector<float> decode_floats(std::span<const std::byte> bytes, DType dtype);

// Values rounded to `dtype` (F32, F16 or BF16), as a file holds them.
std::vector<std::byte> float_bytes(std::span<const float> values, DType dtype);

}  // namespace whittle
