#include "engine/files/compressed_tensors.h"

#include <algorithm>
#include <cassert>
#include <cmath>
#include <cstring>
#include <limits>

#include "engine/files/float_tensor.h"
#include "engine/files/json_file.h"
#include "engine/files/model_file.h"
#include "kernels/error.h"

namespace whittle {

namespace {

constexpr int64_t codes_per_word = 8;  // 4 bits each

int64_t words(int64_t codes) { return (codes + codes_per_word - 1) / codes_per_word; }

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

// [1] or [] for a whole matrix, [N, 1] or [N] for rows, [N, G] for groups.
bool has_scale_shape(const TensorView& tensor, ScaleStrategy strategy, int64_t rows, int64_t groups) {
  const std::vector<int64_t>& shape = tensor.shape;
  switch (strategy) {
    case ScaleStrategy::tensor: return tensor.elements() == 1 && shape.size() <= 2;
    case ScaleStrategy::channel: return shape == std::vector{rows, int64_t{1}} || shape == std::vector{rows};
    case ScaleStrategy::group: return shape == std::vector{rows, groups};
  }
  return false;
}

void check_scale_shape(const TensorView& tensor, ScaleStrategy strategy, int64_t rows, int64_t groups) {
  if (has_scale_shape(tensor, strategy, rows, groups)) return;
  const bool whole = strategy == ScaleStrategy::tensor;
  fail("{}: expected shape [{}, {}], found {}", label(tensor), whole ? 1 : rows, whole ? 1 : groups,
       shape_text(tensor.shape));
}

template <typename T>
std::vector<T> repeat_if_single(std::vector<T> values, size_t size) {
  if (values.size() == 1) values.resize(size, values.front());
  return values;
}

std::vector<float> read_scales(const TensorView& tensor, ScaleStrategy strategy, int64_t rows,
                               int64_t groups) {
  check_scale_shape(tensor, strategy, rows, groups);
  std::vector<float> scales = read_floats(tensor);
  for (size_t i = 0; i < scales.size(); ++i) {
    if (!std::isfinite(scales[i])) {
      fail("{}: index {}: expected a finite scale, found {}", label(tensor), i, scales[i]);
    }
  }
  return repeat_if_single(std::move(scales), static_cast<size_t>(rows * groups));
}

// Packed along the rows: word [n / 8, g] holds rows n … n + 7 of group g.
std::vector<int8_t> unpack_zero_points(std::span<const std::byte> packed, int64_t rows, int64_t groups) {
  std::vector<int8_t> result(static_cast<size_t>(rows * groups));
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t group = 0; group < groups; ++group) {
      uint32_t word = 0;
      std::memcpy(&word, packed.data() + (row / codes_per_word * groups + group) * 4, sizeof word);
      const uint32_t stored = word >> (row % codes_per_word * 4) & 15;
      result[static_cast<size_t>(row * groups + group)] = static_cast<int8_t>(static_cast<int>(stored) - 8);
    }
  }
  return result;
}

std::vector<uint32_t> pack_zero_points(std::span<const int8_t> zero_points, int64_t rows, int64_t groups) {
  std::vector<uint32_t> result(static_cast<size_t>(words(rows) * groups));
  for (int64_t row = 0; row < rows; ++row) {
    for (int64_t group = 0; group < groups; ++group) {
      const auto stored = static_cast<uint32_t>(zero_points[static_cast<size_t>(row * groups + group)] + 8);
      result[static_cast<size_t>(row / codes_per_word * groups + group)] |= stored
                                                                            << (row % codes_per_word * 4);
    }
  }
  return result;
}

std::vector<int8_t> read_zero_points(const TensorView& tensor, const QuantizationScheme& scheme, int64_t rows,
                                     int64_t groups) {
  const bool int4 = scheme.format == WeightFormat::int4;
  std::vector<int8_t> result;
  if (int4 && tensor.dtype == DType::I32) {
    expect(tensor, DType::I32, {words(rows), groups});
    result = unpack_zero_points(tensor.bytes, rows, groups);
  } else {
    if (tensor.dtype != DType::I8) fail("{}: expected I8, found {}", label(tensor), name(tensor.dtype));
    check_scale_shape(tensor, scheme.strategy, rows, groups);
    const auto* values = reinterpret_cast<const int8_t*>(tensor.bytes.data());
    result = repeat_if_single(std::vector(values, values + tensor.bytes.size()),
                              static_cast<size_t>(rows * groups));
  }
  const int limit = int4 ? 8 : 128;
  for (size_t i = 0; i < result.size(); ++i) {
    if (result[i] < -limit || result[i] >= limit) {
      fail("{}: index {}: expected a zero point from {} to {}, found {}", label(tensor), i, -limit, limit - 1,
           result[i]);
    }
  }
  if (!scheme.symmetric) return result;
  // Some writers store the zeros of a symmetric scheme.
  const auto other = std::ranges::find_if(result, [](int8_t value) { return value != 0; });
  if (other != result.end()) {
    fail("{}: index {}: found zero point {}, but quantization_config says symmetric", label(tensor),
         other - result.begin(), *other);
  }
  return {};
}

void check_columns_in_order(const TensorView& tensor, int64_t cols, int64_t group_size) {
  expect(tensor, DType::I32, {cols});
  for (int64_t k = 0; k < cols; ++k) {
    int32_t group = 0;
    std::memcpy(&group, tensor.bytes.data() + k * 4, sizeof group);
    if (group != k / group_size) {
      fail("{}: index {}: columns out of the order of their groups (actorder \"group\") are not supported",
           label(tensor), k);
    }
  }
}

// Kernels take eight inputs of a row at a time, which must share a scale. A group as long as the row is the
// row.
int64_t read_group_size(const TensorView& scale, const QuantizationScheme& scheme, int64_t cols) {
  if (scheme.strategy != ScaleStrategy::group || scheme.group_size >= cols) return cols;
  if (scheme.group_size % 8 != 0) {
    fail(
        "{}: field \"group_size\" of quantization_config: groups of {} inputs are not supported, expected a "
        "multiple of 8, or all {}",
        label(scale), scheme.group_size, cols);
  }
  return scheme.group_size;
}

std::span<const std::byte> read_codes(const ModelFile& file, const std::string& module,
                                      const QuantizationScheme& scheme, int64_t rows, int64_t cols) {
  if (scheme.format == WeightFormat::int8)
    return expect(file.get(module + ".weight"), DType::I8, {rows, cols}).bytes;
  const TensorView& shape = expect(file.get(module + ".weight_shape"), DType::I64, {2});
  int64_t stored[2] = {};
  std::memcpy(stored, shape.bytes.data(), sizeof stored);
  if (stored[0] != rows || stored[1] != cols) {
    fail("{}: expected the values {}, {}, found {}, {}", label(shape), rows, cols, stored[0], stored[1]);
  }
  return expect(file.get(module + ".weight_packed"), DType::I32, {rows, words(cols)}).bytes;
}

}  // namespace

WeightMatrix read_quantized(const ModelFile& file, const std::string& module,
                            const QuantizationScheme& scheme, int64_t rows, int64_t cols) {
  WeightMatrix weight;
  weight.format = scheme.format;
  weight.rows = rows;
  weight.cols = cols;
  weight.codes = read_codes(file, module, scheme, rows, cols);
  const TensorView& scale = file.get(module + ".weight_scale");
  weight.group_size = read_group_size(scale, scheme, cols);
  weight.scales = read_scales(scale, scheme.strategy, rows, weight.groups());
  if (const TensorView* tensor = file.find(module + ".weight_zero_point")) {
    weight.zero_points = read_zero_points(*tensor, scheme, rows, weight.groups());
  } else if (!scheme.symmetric) {
    file.get(module + ".weight_zero_point");
  }
  if (const TensorView* order = file.find(module + ".weight_g_idx")) {
    check_columns_in_order(*order, cols, weight.group_size);
  }
  return weight;
}

std::vector<TensorInfo> quantized_tensors(const std::string& module, const QuantizationScheme& scheme,
                                          int64_t rows, int64_t cols, DType scale_dtype) {
  assert(scheme.strategy != ScaleStrategy::tensor);
  const bool int4 = scheme.format == WeightFormat::int4;
  const int64_t groups =
      scheme.strategy == ScaleStrategy::group ? (cols + scheme.group_size - 1) / scheme.group_size : 1;
  std::vector<TensorInfo> tensors;
  if (int4) {
    tensors.push_back({module + ".weight_packed", DType::I32, {rows, words(cols)}});
    tensors.push_back({module + ".weight_shape", DType::I64, {2}});
  } else {
    tensors.push_back({module + ".weight", DType::I8, {rows, cols}});
  }
  tensors.push_back({module + ".weight_scale", scale_dtype, {rows, groups}});
  if (!scheme.symmetric) {
    tensors.push_back(
        {module + ".weight_zero_point", int4 ? DType::I32 : DType::I8, {int4 ? words(rows) : rows, groups}});
  }
  return tensors;
}

void write_quantized(SafetensorsWriter& writer, const std::string& module, const QuantizationScheme& scheme,
                     const WeightMatrix& weight, DType scale_dtype) {
  const bool int4 = scheme.format == WeightFormat::int4;
  writer.write(module + (int4 ? ".weight_packed" : ".weight"), weight.codes);
  if (int4) {
    const int64_t shape[] = {weight.rows, weight.cols};
    writer.write(module + ".weight_shape", std::as_bytes(std::span(shape)));
  }
  writer.write(module + ".weight_scale", float_bytes(weight.scales, scale_dtype));
  if (scheme.symmetric) return;
  if (int4) {
    const auto packed = pack_zero_points(weight.zero_points, weight.rows, weight.groups());
    writer.write(module + ".weight_zero_point", std::as_bytes(std::span(packed)));
  } else {
    writer.write(module + ".weight_zero_point", std::as_bytes(std::span(weight.zero_points)));
  }
}

}  // namespace whittle
