#pragma once
// What the kernels must compute, written slowly and obviously, and the random data to compute it on.

#include <fmt/format.h>

#include <bit>
#include <catch2/catch.hpp>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <span>
#include <string>
#include <vector>

#include "kernels/float16.h"
#include "kernels/kernel_table.h"

namespace whittle::test {

constexpr double float_epsilon = 0x1p-24;  // largest relative error of one rounding to float

// Calls test(table) for every instruction set that this machine has.
template <class Test>
void for_each_isa(Test test) {
  for (const InstructionSet& set : instruction_sets()) {
    if (!set.available()) continue;
    INFO("instruction set " << set.table->name);
    test(*set.table);
  }
}

// The formats whose codes have scales.
inline std::vector<WeightFormat> code_formats() {
  std::vector<WeightFormat> formats;
  for (const WeightFormatInfo& format : weight_formats())
    if (format.quantized) formats.push_back(format.format);
  return formats;
}

// Empty when both hold the same bits, else the first place where they do not.
template <class T>
std::string difference(std::span<const T> found, std::span<const T> expected) {
  if (found.size() != expected.size())
    return fmt::format("{} elements, not {}", found.size(), expected.size());
  for (size_t i = 0; i < found.size(); ++i)
    if (std::memcmp(&found[i], &expected[i], sizeof(T)) != 0)
      return fmt::format("element {}: {}, not {}", i, found[i], expected[i]);
  return {};
}
inline std::string difference(const std::vector<float>& found, const std::vector<float>& expected) {
  return difference(std::span<const float>(found), std::span<const float>(expected));
}

struct Random {
  std::mt19937 engine;
  explicit Random(unsigned seed) : engine(seed) {}
  // Uniform in [low, high].
  int integer(int low, int high) {
    return low + static_cast<int>(engine() % static_cast<unsigned>(high - low + 1));
  }
  float uniform(float low, float high) {
    return low + (high - low) * static_cast<float>(engine() >> 8) * 0x1p-24f;
  }
  std::vector<float> floats(int64_t n, float low = -1, float high = 1) {
    std::vector<float> values(static_cast<size_t>(n));
    for (float& value : values) value = uniform(low, high);
    return values;
  }
};

enum class Fill { random, smallest, largest, alternating, zero };

inline float code_for(Fill fill, int low, int high, int64_t i, Random& random) {
  switch (fill) {
    case Fill::random: return static_cast<float>(random.integer(low, high));
    case Fill::smallest: return static_cast<float>(low);
    case Fill::largest: return static_cast<float>(high);
    case Fill::alternating: return static_cast<float>(i % 2 ? low : high);
    case Fill::zero: return 0;
  }
  return 0;
}

// A WeightMatrix and the bytes that it borrows.
struct OwnedWeight {
  std::vector<std::byte> bytes;
  WeightMatrix matrix;

  const std::byte* row(int64_t n) const { return bytes.data() + n * row_bytes(matrix.format, matrix.cols); }
  // The stored codes of row n.
  std::vector<float> codes(int64_t n) const {
    std::vector<float> row_codes(static_cast<size_t>(matrix.cols));
    info(matrix.format).decode_row(row(n), matrix.cols, row_codes.data());
    return row_codes;
  }
  // Row n as the numbers that it stands for, by the definition in weight_matrix.h.
  std::vector<float> values(int64_t n) const {
    std::vector<float> row_values = codes(n);
    if (matrix.scales.empty()) return row_values;
    for (int64_t k = 0; k < matrix.cols; ++k) {
      const auto at = static_cast<size_t>(n * matrix.groups() + k / matrix.group_size);
      const float zero_point = matrix.zero_points.empty() ? 0.0f : matrix.zero_points[at];
      float& value = row_values[static_cast<size_t>(k)];
      value = (value - zero_point) * matrix.scales[at];
    }
    return row_values;
  }
};

struct WeightSpec {
  WeightFormat format = WeightFormat::f32;
  int64_t rows = 0, cols = 0;
  int64_t group_size = 0;  // 0: one scale a row
  bool asymmetric = false;
  bool f16_scales = true;  // every scale is exact in f16
  Fill fill = Fill::random;

  std::string name() const {
    return fmt::format("{} {}x{} group {}{}{} fill {}", info(format).name, rows, cols, group_size,
                       asymmetric ? " asymmetric" : "", f16_scales ? " f16 scales" : "",
                       static_cast<int>(fill));
  }
};

inline OwnedWeight make_weight(const WeightSpec& spec, Random& random) {
  const WeightFormatInfo& format = info(spec.format);
  OwnedWeight weight;
  WeightMatrix& m = weight.matrix;
  m.format = spec.format;
  m.rows = spec.rows;
  m.cols = spec.cols;
  const int64_t bytes_per_row = row_bytes(spec.format, spec.cols);
  weight.bytes.resize(static_cast<size_t>(spec.rows * bytes_per_row));
  m.codes = weight.bytes;
  std::vector<float> row(static_cast<size_t>(spec.cols));
  for (int64_t n = 0; n < spec.rows; ++n) {
    for (int64_t k = 0; k < spec.cols; ++k)
      row[static_cast<size_t>(k)] = format.quantized
                                        ? code_for(spec.fill, format.code_min, format.code_max, k, random)
                                        : random.uniform(-2, 2);
    format.encode_row(row.data(), spec.cols, weight.bytes.data() + n * bytes_per_row);
  }
  if (!format.quantized) return weight;
  m.group_size = spec.group_size ? spec.group_size : spec.cols;
  for (int64_t i = 0; i < spec.rows * m.groups(); ++i) {
    const float scale = random.uniform(0.001f, 0.01f);
    m.scales.push_back(spec.f16_scales ? f16_to_float(float_to_f16(scale)) : scale);
    if (spec.asymmetric)
      m.zero_points.push_back(static_cast<int8_t>(random.integer(format.code_min, format.code_max)));
  }
  return weight;
}

// Activation rows and the buffers behind their QuantizedRows.
struct OwnedRows {
  std::vector<int8_t> codes;
  std::vector<float> scales;
  std::vector<int32_t> sums;
  QuantizedRows view;

  OwnedRows(int64_t rows, int64_t padded_cols, int64_t group_size) {
    view.rows = rows;
    view.cols = padded_cols;
    view.group_size = group_size;
    codes.resize(static_cast<size_t>(rows * padded_cols));
    scales.resize(static_cast<size_t>(rows * view.groups()));
    sums.resize(scales.size());
    view.codes = codes.data();
    view.scales = scales.data();
    view.sums = sums.data();
  }
  OwnedRows(OwnedRows&&) = default;  // vectors keep their buffers when moved

  // Rows [first, first + count) alone.
  QuantizedRows slice(int64_t first, int64_t count) const {
    QuantizedRows part = view;
    part.rows = count;
    part.codes += first * view.cols;
    part.scales += first * view.groups();
    part.sums += first * view.groups();
    return part;
  }
};

// `cols` codes a row with random scales; the padding is zero.
inline OwnedRows make_rows(int64_t rows, int64_t cols, int64_t group_size, Fill fill, Random& random) {
  const int64_t padded = round_up(cols, cols_block);
  OwnedRows x(rows, padded, group_size ? group_size : padded);
  for (int64_t m = 0; m < rows; ++m) {
    for (int64_t k = 0; k < cols; ++k) {
      const auto code = static_cast<int8_t>(code_for(fill, -127, 127, k, random));
      x.view.codes[m * padded + k] = code;
      x.view.sums[m * x.view.groups() + k / x.view.group_size] += code;
    }
    for (int64_t g = 0; g < x.view.groups(); ++g)
      x.view.scales[m * x.view.groups() + g] = m % 5 == 4 ? 0.0f : random.uniform(0.001f, 0.02f);
  }
  return x;
}

// matmul_quantized by its definition: exact sums in each group, groups in order.
class QuantizedProduct {
 public:
  QuantizedProduct(const OwnedWeight& w, const QuantizedRows& x) : w_(w.matrix), x_(x) {
    group_ = w_.groups() == 1 ? x.group_size : w_.group_size;
    groups_ = (x.cols + group_ - 1) / group_;
    sums_.resize(static_cast<size_t>(x.rows * w_.rows * groups_));
    std::vector<int> difference(static_cast<size_t>(w_.cols));
    for (int64_t n = 0; n < w_.rows; ++n) {
      const std::vector<float> codes = w.codes(n);
      for (int64_t k = 0; k < w_.cols; ++k) {
        const int zero_point = w_.zero_points.empty() ? 0 : w_.zero_points[weight_group(n, k / group_)];
        difference[static_cast<size_t>(k)] = static_cast<int>(codes[static_cast<size_t>(k)]) - zero_point;
      }
      for (int64_t m = 0; m < x.rows; ++m)
        for (int64_t g = 0; g < groups_; ++g) {
          int64_t sum = 0;
          for (int64_t k = g * group_; k < std::min((g + 1) * group_, w_.cols); ++k)
            sum += difference[static_cast<size_t>(k)] * x.codes[m * x.cols + k];
          sums_[static_cast<size_t>((m * w_.rows + n) * groups_ + g)] = sum;
        }
    }
  }
  float operator()(int64_t m, int64_t n) const {
    float total = 0;
    for (int64_t g = 0; g < groups_; ++g) {
      const float weight_scale = g * group_ < w_.cols ? w_.scales[weight_group(n, g)] : 0.0f;
      const auto sum = static_cast<float>(sums_[static_cast<size_t>((m * w_.rows + n) * groups_ + g)]);
      total = std::fma(sum, weight_scale * x_.scales[m * groups_ + g], total);
    }
    return total;
  }

 private:
  size_t weight_group(int64_t n, int64_t g) const {
    return static_cast<size_t>(w_.groups() == 1 ? n : n * w_.groups() + g);
  }
  const WeightMatrix& w_;
  const QuantizedRows x_;
  int64_t group_ = 0, groups_ = 0;
  std::vector<int64_t> sums_;
};

// matmul_float by its definition: one chain in order of k.
inline float float_product(const std::vector<float>& w, const float* x) {
  float total = 0;
  for (size_t k = 0; k < w.size(); ++k) total = std::fma(w[k], x[k], total);
  return total;
}

}  // namespace whittle::test
