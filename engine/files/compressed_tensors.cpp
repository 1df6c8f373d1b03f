#include "engine/files/compressed_tensors.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <utility>

#include "engine/files/bitmask.h"
#include "engine/files/float_tensor.h"
#include "engine/files/group_index.h"
#include "engine/files/model_file.h"
#include "engine/files/sparse_codes.h"
#include "engine/files/tensor_checks.h"
#include "engine/files/word_codes.h"
#include "kernels/error.h"

namespace whittle {

namespace {

int64_t words(int64_t codes, WeightFormat format) { return (codes * info(format).bits + 31) / 32; }

bool in_words(const QuantizationScheme& scheme) {
  return bit_packed(scheme.format) || scheme.layout == CodeLayout::words;
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
  return repeat_if_single(read_finite_scales(tensor), static_cast<size_t>(rows * groups));
}

// Where the bits of a row's zero point begin in the words of its group, which lie along the rows.
struct BitPlace {
  int64_t word, shift;
  bool crosses;  // into the next word
};
BitPlace zero_point_place(int64_t row, int64_t bits) {
  const int64_t at = row * bits, shift = at % 32;
  return {at / 32, shift, shift + bits > 32};
}

std::vector<int8_t> unpack_zero_points(const TensorView& tensor, WeightFormat format, int64_t rows,
                                       int64_t groups) {
  const int64_t bits = info(format).bits;
  std::vector<int8_t> result(static_cast<size_t>(rows * groups));
  for (int64_t row = 0; row < rows; ++row) {
    const auto [word, shift, crosses] = zero_point_place(row, bits);
    for (int64_t group = 0; group < groups; ++group) {
      uint64_t stored = word_at(tensor, word * groups + group);
      if (crosses) stored |= uint64_t{word_at(tensor, (word + 1) * groups + group)} << 32;
      result[static_cast<size_t>(row * groups + group)] =
          signed_code(static_cast<uint32_t>(stored >> shift), 0, bits);
    }
  }
  return result;
}

std::vector<uint32_t> pack_zero_points(std::span<const int8_t> zero_points, WeightFormat format, int64_t rows,
                                       int64_t groups) {
  std::vector<uint32_t> result(static_cast<size_t>(words(rows, format) * groups));
  for (int64_t row = 0; row < rows; ++row) {
    const auto [word, shift, crosses] = zero_point_place(row, info(format).bits);
    for (int64_t group = 0; group < groups; ++group) {
      const int code = zero_points[static_cast<size_t>(row * groups + group)] - info(format).code_min;
      const uint64_t stored = static_cast<uint64_t>(code) << shift;
      result[static_cast<size_t>(word * groups + group)] |= static_cast<uint32_t>(stored);
      if (crosses)
        result[static_cast<size_t>((word + 1) * groups + group)] |= static_cast<uint32_t>(stored >> 32);
    }
  }
  return result;
}

std::vector<int8_t> read_zero_points(const TensorView& tensor, const QuantizationScheme& scheme, int64_t rows,
                                     int64_t groups) {
  std::vector<int8_t> result;
  if (in_words(scheme) && tensor.dtype == DType::I32) {
    expect(tensor, DType::I32, {words(rows, scheme.format), groups});
    result = unpack_zero_points(tensor, scheme.format, rows, groups);
  } else {
    if (tensor.dtype != DType::I8) fail("{}: expected I8, found {}", label(tensor), name(tensor.dtype));
    check_scale_shape(tensor, scheme.strategy, rows, groups);
    const auto* values = reinterpret_cast<const int8_t*>(tensor.bytes.data());
    result = repeat_if_single(std::vector(values, values + tensor.bytes.size()),
                              static_cast<size_t>(rows * groups));
  }
  const auto& [code_min, code_max] = std::pair(info(scheme.format).code_min, info(scheme.format).code_max);
  for (size_t i = 0; i < result.size(); ++i) {
    if (result[i] < code_min || result[i] > code_max) {
      fail("{}: index {}: expected a zero point from {} to {}, found {}", label(tensor), i, code_min,
           code_max, result[i]);
    }
  }
  // Some writers store the zeros of a symmetric scheme.
  return checked_zero_points(tensor, std::move(result), groups, scheme.symmetric);
}

// Where nothing was reordered, some writers leave the tensor as they made it.
bool is_unset(const TensorView& index) {
  return std::ranges::all_of(index.bytes, [](std::byte byte) { return byte == std::byte{0xff}; });
}

const TensorView& find_codes(const ModelFile& file, const std::string& module,
                             const QuantizationScheme& scheme, int64_t rows, int64_t cols) {
  if (!in_words(scheme)) return expect(file.get(module + ".weight"), DType::I8, {rows, cols});
  expect_values(expect(file.get(module + ".weight_shape"), DType::I64, {2}), {rows, cols});
  return expect(file.get(module + ".weight_packed"), DType::I32, {rows, words(cols, scheme.format)});
}

// How codes lie in the file.
enum class Codes { whole, some, sparse_weight };
Codes codes_of(const ModelFile& file, const std::string& module, const QuantizationScheme& scheme) {
  if (scheme.layout == CodeLayout::bitmask) return Codes::some;
  const bool sparse = !in_words(scheme) && file.sparse_storage(module) != SparseStorage::none;
  return sparse ? Codes::sparse_weight : Codes::whole;
}

// Rows of int8 codes without the bytes that fill up their last words.
std::vector<std::byte> unpack_bytes(std::span<const std::byte> packed, int64_t rows, int64_t cols,
                                    const Team* team) {
  std::vector<std::byte> codes(static_cast<size_t>(rows * cols));
  const int64_t stride = words(cols, WeightFormat::int8) * 4;
  for_each(team, rows, [&](int64_t row) {
    std::transform(packed.data() + row * stride, packed.data() + row * stride + cols,
                   codes.data() + row * cols, [](std::byte stored) { return stored ^ std::byte{0x80}; });
  });
  return codes;
}

}  // namespace

WeightMatrix read_compressed_tensors(const ModelFile& file, const std::string& module,
                                     const QuantizationScheme& scheme, int64_t rows, int64_t cols,
                                     const Team* team) {
  WeightMatrix weight;
  weight.format = scheme.format;
  weight.rows = rows;
  weight.cols = cols;
  const Codes stored = codes_of(file, module, scheme);
  if (stored == Codes::whole) weight.codes = find_codes(file, module, scheme, rows, cols).bytes;
  const std::span<const std::byte> mapped = weight.codes;
  const TensorView& scale = file.get(module + ".weight_scale");
  weight.group_size = checked_group_size(scale, scheme.format, scheme.group_size, cols);
  weight.scales = read_scales(scale, scheme.strategy, rows, weight.groups());
  if (const TensorView* tensor = file.find(module + ".weight_zero_point")) {
    weight.zero_points = read_zero_points(*tensor, scheme, rows, weight.groups());
  } else if (!scheme.symmetric) {
    file.get(module + ".weight_zero_point");
  }
  if (scheme.layout == CodeLayout::words)
    weight = with_codes(std::move(weight), unpack_bytes(mapped, rows, cols, team));
  else if (stored == Codes::some)
    weight = read_sparse_codes(file, module, std::move(weight), team);
  else if (stored == Codes::sparse_weight)
    weight = with_codes(std::move(weight),
                        read_bitmask(file, module, file.sparse_storage(module), DType::I8, rows, cols, team));
  const TensorView* index = file.find(module + ".weight_g_idx");
  if (index && !is_unset(expect(*index, DType::I32, {cols})))
    weight = with_groups_in_order(*index, std::move(weight), team);
  if (weight.owned) file.drop_pages(mapped);
  return weight;
}

std::vector<TensorInfo> quantized_tensors(const std::string& module, const QuantizationScheme& scheme,
                                          int64_t rows, int64_t cols, DType scale_dtype,
                                          SparseStorage sparse) {
  assert(scheme.strategy != ScaleStrategy::tensor);
  const bool packed = bit_packed(scheme.format);
  const int64_t groups =
      scheme.strategy == ScaleStrategy::group ? (cols + scheme.group_size - 1) / scheme.group_size : 1;
  std::vector<TensorInfo> tensors;
  if (scheme.layout == CodeLayout::bitmask) {
    tensors = sparse_code_tensors(module, scheme.format, rows, cols);
  } else if (packed) {
    tensors.push_back({module + ".weight_packed", DType::I32, {rows, words(cols, scheme.format)}});
    tensors.push_back({module + ".weight_shape", DType::I64, {2}});
  } else if (sparse != SparseStorage::none) {
    tensors = bitmask_tensors(module, sparse, DType::I8, rows, cols);
  } else {
    tensors.push_back({module + ".weight", DType::I8, {rows, cols}});
  }
  tensors.push_back({module + ".weight_scale", scale_dtype, {rows, groups}});
  if (!scheme.symmetric) {
    tensors.push_back({module + ".weight_zero_point",
                       packed ? DType::I32 : DType::I8,
                       {packed ? words(rows, scheme.format) : rows, groups}});
  }
  return tensors;
}

int64_t write_quantized(SafetensorsWriter& writer, const std::string& module,
                        const QuantizationScheme& scheme, const WeightMatrix& weight, DType scale_dtype,
                        SparseStorage sparse, const Team* team) {
  const bool packed = bit_packed(scheme.format);
  int64_t bytes = 0;
  const auto write = [&](const char* part, std::span<const std::byte> content) {
    writer.write(module + part, content);
    bytes += std::ssize(content);
  };
  if (scheme.layout == CodeLayout::bitmask) {
    bytes += write_sparse_codes(writer, module, weight, team);
  } else if (packed) {
    const int64_t shape[] = {weight.rows, weight.cols};
    write(".weight_packed", weight.codes);
    write(".weight_shape", std::as_bytes(std::span(shape)));
  } else if (sparse != SparseStorage::none) {
    bytes += write_bitmask(writer, module, sparse, DType::I8, weight.rows, weight.cols, weight.codes, team);
  } else {
    write(".weight", weight.codes);
  }
  write(".weight_scale", float_bytes(weight.scales, scale_dtype));
  if (scheme.symmetric) return bytes;
  if (packed) {
    const auto zeros = pack_zero_points(weight.zero_points, scheme.format, weight.rows, weight.groups());
    write(".weight_zero_point", std::as_bytes(std::span(zeros)));
  } else {
    write(".weight_zero_point", std::as_bytes(std::span(weight.zero_points)));
  }
  return bytes;
}

}  // namespace whittle
