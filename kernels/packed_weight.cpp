#include "kernels/packed_weight.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <vector>

#include "kernels/float16.h"

namespace whittle {
namespace {

// Where input k of row r (0..63) of a panel lies, in code units of its format from the start of a group's
// codes.
struct CodePlace {
  int64_t byte;
  int shift;  // of a nibble
};

CodePlace code_place(WeightFormat format, int64_t r, int64_t k) {
  switch (format) {
    case WeightFormat::f32:
      return {(k * panel_rows + r) * 4, 0};
    case WeightFormat::f16:
    case WeightFormat::bf16:
      return {(k * panel_rows + r) * 2, 0};
    case WeightFormat::int8:
      return {k / 4 * 256 + r * 4 + k % 4, 0};
    case WeightFormat::int4:
      return {k / 8 * 256 + r * 4 + k % 4, k % 8 < 4 ? 0 : 4};
  }
  assert(false);
  return {};
}

bool exact_in_f16(const std::vector<float>& values) {
  return std::all_of(values.begin(), values.end(),
                     [](float value) { return f16_to_float(float_to_f16(value)) == value; });
}

}  // namespace

Packer::Packer(const WeightMatrix& weight) : weight_(weight) {
  PackedWeight& p = packed_;
  p.format = weight.format;
  p.rows = weight.rows;
  p.cols = weight.cols;
  if (!p.quantized()) {
    p.padded_cols = p.cols;
    p.panel_bytes = p.code_bytes(p.cols);
  } else {
    assert(weight.group_size == weight.cols || weight.group_size % 8 == 0);
    p.padded_cols = round_up(p.cols, cols_block);
    p.group_size = weight.groups() == 1 ? p.padded_cols : weight.group_size;
    p.has_zero_points = !weight.zero_points.empty();
    p.f16_scales = p.row_scaled() ? false : exact_in_f16(weight.scales);
    p.panel_bytes = p.code_bytes(p.padded_cols);
    if (p.row_scaled()) {
      p.row_header = Buffer<std::byte>(p.panel_count() * p.header_bytes());
      if (p.format == WeightFormat::int8) p.row_sums = Buffer<int32_t>(p.padded_rows());
    } else {
      p.panel_bytes += p.groups() * p.header_bytes();
    }
  }
  p.panels = Buffer<std::byte>(p.panel_count() * p.panel_bytes, true);
}

void Packer::pack(int64_t panel) {
  PackedWeight& p = packed_;
  const int64_t bytes_per_row = row_bytes(p.format, p.cols);
  const int64_t element = info(p.format).bits / 8;  // 0 for nibbles
  const int64_t group = p.quantized() ? p.group_size : p.padded_cols;
  for (int64_t r = 0; r < panel_rows; ++r) {
    const int64_t row = panel * panel_rows + r;
    const bool present = row < p.rows;  // rows past the end stay zero
    const std::byte* source = weight_.codes.data() + (present ? row : 0) * bytes_per_row;
    for (int64_t g = 0, k0 = 0; k0 < p.padded_cols; ++g, k0 += group) {
      auto* codes =
          const_cast<std::byte*>(p.quantized() ? p.codes(panel, g) : p.panels.data() + panel * p.panel_bytes);
      const int64_t present_cols = present ? std::clamp<int64_t>(p.cols - k0, 0, group) : 0;
      if (p.format == WeightFormat::int4) {
        for (int64_t k = 0; k < std::min(group, p.padded_cols - k0); ++k) {
          const int64_t source_col = k0 + k;
          const std::byte nibble = k < present_cols
                                       ? (source[source_col / 2] >> (source_col % 2 * 4)) & std::byte{15}
                                       : std::byte{8};  // the code zero
          const CodePlace place = code_place(p.format, r, k);
          codes[place.byte] |= nibble << place.shift;
        }
      } else if (element == 1) {  // four inputs of a row are neighbours on both sides
        for (int64_t k = 0; k < present_cols; k += 4)
          std::memcpy(codes + code_place(p.format, r, k).byte, source + k0 + k,
                      static_cast<size_t>(std::min<int64_t>(4, present_cols - k)));
      } else {
        for (int64_t k = 0; k < present_cols; ++k)
          std::memcpy(codes + code_place(p.format, r, k).byte, source + (k0 + k) * element,
                      static_cast<size_t>(element));
      }
      if (!p.quantized()) continue;
      auto* header = const_cast<std::byte*>(p.header(panel, g));
      const bool scaled = present && g < weight_.groups();
      const float scale = scaled ? weight_.scales[static_cast<size_t>(row * weight_.groups() + g)] : 0.0f;
      if (p.f16_scales) {
        const uint16_t half = float_to_f16(scale);
        std::memcpy(header + r * 2, &half, 2);
      } else {
        std::memcpy(header + r * 4, &scale, 4);
      }
      if (p.has_zero_points && scaled)
        header[panel_rows * (p.f16_scales ? 2 : 4) + r] =
            static_cast<std::byte>(weight_.zero_points[static_cast<size_t>(row * weight_.groups() + g)]);
    }
    if (p.row_sums.size() && present) {
      int32_t sum = 0;
      for (int64_t k = 0; k < p.cols; ++k) sum += static_cast<int8_t>(source[k]);
      p.row_sums[row] = sum;
    }
  }
}

PackedWeight pack(const WeightMatrix& weight) {
  Packer packer(weight);
  for (int64_t p = 0; p < packer.panel_count(); ++p) packer.pack(p);
  return packer.take();
}

void PackedWeight::decode_row(int64_t row, float* out) const {
  const int64_t panel = row / panel_rows, r = row % panel_rows;
  const int64_t group = quantized() ? group_size : padded_cols;
  for (int64_t g = 0, k0 = 0; k0 < cols; ++g, k0 += group) {
    const std::byte* group_codes = quantized() ? codes(panel, g) : panels.data() + panel * panel_bytes;
    float scale = 1, zero_point = 0;
    if (quantized()) {
      const std::byte* head = header(panel, g);
      uint16_t half;
      if (f16_scales) {
        std::memcpy(&half, head + r * 2, 2);
        scale = f16_to_float(half);
      } else {
        std::memcpy(&scale, head + r * 4, 4);
      }
      if (has_zero_points) zero_point = static_cast<int8_t>(head[panel_rows * (f16_scales ? 2 : 4) + r]);
    }
    for (int64_t k = 0; k < std::min(group, cols - k0); ++k) {
      const CodePlace place = code_place(format, r, k);
      const std::byte* at = group_codes + place.byte;
      float code;
      if (format == WeightFormat::int4)
        code = static_cast<float>(std::to_integer<int>((*at >> place.shift) & std::byte{15}) - 8);
      else
        info(format).decode_row(at, 1, &code);
      out[k0 + k] = quantized() ? (code - zero_point) * scale : code;
    }
  }
}

}  // namespace whittle
