#include "kernels/packed_weight.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <string_view>
#include <vector>

#include "kernels/error.h"
#include "kernels/float16.h"
#include "kernels/packed_units.h"
#include "kernels/sparse_weight.h"

namespace whittle {
namespace {

void check_groups(const WeightMatrix& weight) {
  const bool zero_points = !weight.zero_points.empty();
  const std::string_view name = info(weight.format).name;
  if (weight.group_size <= 0)
    fail("{} weight: expected a group size above 0, found {}", name, weight.group_size);
  if (weight.group_size < weight.cols && !packable_group_size(weight.format, weight.group_size))
    fail("{} weight: expected groups of a multiple of {} inputs, {} at most, found groups of {}", name,
         group_multiple(weight.format), longest_sum(weight.format, true), weight.group_size);
  const int64_t summed = std::min(weight.group_size, weight.cols),
                most = longest_sum(weight.format, zero_points);
  if (summed > most)
    fail(
        "{} weight{}: expected a scale for every {} inputs or fewer, whose products fit into 32 bits, "
        "found one for {}",
        name, zero_points ? " with zero points" : "", most, summed);
}

}  // namespace

int64_t longest_sum(WeightFormat format, bool zero_points) {
  const int levels = 1 << info(format).bits;
  const int64_t code = bit_packed(format) || zero_points ? levels - 1 : levels / 2;
  return INT32_MAX / (code * 127);
}

int64_t group_multiple(WeightFormat format) {
  constexpr int64_t two_lines = 8;  // which kernels take at once
  return std::max(two_lines, packed_units(format).inputs);
}

bool packable_group_size(WeightFormat format, int64_t group_size) {
  return info(format).quantized && group_size > 0 && group_size % group_multiple(format) == 0 &&
         group_size <= longest_sum(format, true);
}

PackedLayout packed_layout(WeightFormat format, int64_t rows, int64_t cols, int64_t group_size,
                           bool exact_in_f16, bool zero_points, Packing packing) {
  PackedLayout p;
  p.format = format;
  p.packing = packing;
  p.half_bits = packing == Packing::dense ? 2 * info(format).bits : sparse_half_bits(format, packing);
  p.rows = rows;
  p.cols = cols;
  if (!info(format).quantized) {
    p.padded_cols = cols;
    p.panel_bytes = p.code_bytes(cols);
    return p;
  }
  p.padded_cols = round_up(cols, cols_block);
  p.group_size = group_size >= cols ? p.padded_cols : group_size;
  p.has_zero_points = zero_points;
  p.f16_scales = !p.row_scaled() && exact_in_f16;
  p.panel_bytes = p.code_bytes(p.padded_cols) + (p.row_scaled() ? 0 : p.groups() * p.header_bytes());
  return p;
}

Packer::Packer(const WeightMatrix& weight, Packing packing) : weight_(weight) {
  if (packing != Packing::dense && !sparse_packable(weight, packing))
    fail(
        "{} packing: expected int8 codes, or int4 ones but for masked packing, without zero points, in whole "
        "rows or groups of a multiple of 16 inputs; found {}{} in groups of {}",
        name(packing), info(weight.format).name, weight.zero_points.empty() ? "" : " with zero points",
        weight.group_size);
  if (info(weight.format).quantized) check_groups(weight);
  packed_ = PackedWeight(packed_layout(weight.format, weight.rows, weight.cols, weight.group_size,
                                       std::ranges::all_of(weight.scales, exact_in_f16),
                                       !weight.zero_points.empty(), packing));
  PackedWeight& p = packed_;
  p.row_header = Buffer<std::byte>(p.row_header_bytes());
  p.row_sums = Buffer<int32_t>(p.summed_rows());
  if (packing == Packing::masked) place_panels();
  // Kernels read a whole line where a masked panel's last codes stand.
  const int64_t bytes = packing == Packing::masked ? p.panel_starts[p.panel_count()] + sparse_block
                                                   : p.panel_count() * p.panel_bytes;
  p.panels = Buffer<std::byte>(bytes, true);
}

// Masked panels are as long as their codes are many.
void Packer::place_panels() {
  PackedWeight& p = packed_;
  const int64_t besides =
      p.padded_cols * panel_rows / 8 + (p.row_scaled() ? 0 : p.groups() * p.header_bytes());
  p.panel_starts = Buffer<int64_t>(p.panel_count() + 1);
  for (int64_t panel = 0; panel < p.panel_count(); ++panel) {
    const auto begin = static_cast<size_t>(panel * panel_rows * p.cols),
               end = std::min(begin + static_cast<size_t>(panel_rows * p.cols), weight_.codes.size());
    const auto codes = weight_.codes.subspan(begin, end - begin);
    p.panel_starts[panel + 1] =
        p.panel_starts[panel] + besides + std::ssize(codes) - std::ranges::count(codes, std::byte{0});
  }
}

void Packer::pack(int64_t panel) {
  const PackedWeight& p = packed_;
  const int64_t group = p.quantized() ? p.group_size : p.padded_cols;
  auto* at = const_cast<std::byte*>(p.panel(panel));
  std::byte dense[panel_rows * sparse_block];
  for (int64_t g = 0, k0 = 0; k0 < p.padded_cols; ++g, k0 += group) {
    const int64_t inputs = std::min(group, p.padded_cols - k0);
    if (p.quantized())
      pack_header(panel, g, p.row_scaled() ? const_cast<std::byte*>(p.header(panel, g)) : at);
    if (p.quantized() && !p.row_scaled()) at += p.header_bytes();
    if (p.packing == Packing::dense) {
      pack_codes(panel, k0, inputs, at);
      at += p.code_bytes(inputs);
      continue;
    }
    for (int64_t k = 0; k < inputs; k += sparse_block) {
      const int64_t part = std::min(sparse_block, inputs - k);
      pack_codes(panel, k0 + k, part, dense);
      at = pack_sparse(p.format, p.packing, dense, part, at);
    }
  }
  if (p.row_sums.size()) sum_rows(panel);
}

// Inputs [k0, k0 + inputs) of a panel, where the rows and inputs that the weight lacks become zeros.
void Packer::pack_codes(int64_t panel, int64_t k0, int64_t inputs, std::byte* codes) {
  const PackedUnits& unit = packed_units(packed_.format);
  const WeightFormatInfo& format = info(packed_.format);
  const int64_t stride = row_bytes(packed_.format, packed_.cols);
  const std::byte* source =
      weight_.codes.data() + panel * panel_rows * stride + k0 / unit.inputs * unit.bytes;
  const int64_t rows = std::min(panel_rows, packed_.rows - panel * panel_rows);
  const int64_t present = std::clamp<int64_t>(packed_.cols - k0, 0, inputs);
  const int64_t whole = present / unit.inputs, left = present % unit.inputs;
  std::byte filled[most_unit_bytes];
  const auto place_of = [&](int64_t u) { return codes + u * panel_rows * unit.bytes; };
  const auto fill = [&](const float* values) { format.encode_row(values, unit.inputs, filled); };
  if (rows < panel_rows || present < inputs) {
    constexpr float zeros[most_unit_inputs] = {};
    fill(zeros);
    for (int64_t u = rows < panel_rows ? 0 : whole; u < inputs / unit.inputs; ++u)
      unit.interleave(filled, 0, panel_rows, 1, place_of(u));
  }
  unit.interleave(source, stride, rows, whole, codes);
  if (left == 0) return;
  for (int64_t r = 0; r < rows; ++r) {  // a row's last inputs, less than a unit
    float values[most_unit_inputs] = {};
    format.decode_row(source + r * stride + whole * unit.bytes, left, values);
    fill(values);
    unit.interleave(filled, 0, 1, 1, place_of(whole) + r * 4);
  }
}

void Packer::pack_header(int64_t panel, int64_t g, std::byte* scales) {
  std::byte* zero_points = scales + panel_rows * (packed_.f16_scales ? 2 : 4);
  if (g >= weight_.groups()) return;  // nothing but padding: scales of zero
  for (int64_t r = 0; r < std::min(panel_rows, packed_.rows - panel * panel_rows); ++r) {
    const auto at = static_cast<size_t>((panel * panel_rows + r) * weight_.groups() + g);
    if (packed_.f16_scales) {
      const uint16_t half = float_to_f16(weight_.scales[at]);
      std::memcpy(scales + r * 2, &half, 2);
    } else {
      std::memcpy(scales + r * 4, &weight_.scales[at], 4);
    }
    if (packed_.has_zero_points) zero_points[r] = static_cast<std::byte>(weight_.zero_points[at]);
  }
}

void Packer::sum_rows(int64_t panel) {
  for (int64_t row = panel * panel_rows; row < std::min((panel + 1) * panel_rows, packed_.rows); ++row) {
    const auto* codes = reinterpret_cast<const int8_t*>(weight_.codes.data()) + row * packed_.cols;
    packed_.row_sums[row] = std::accumulate(codes, codes + packed_.cols, int32_t{0});
  }
}

PackedWeight pack(const WeightMatrix& weight, Packing packing) {
  Packer packer(weight, packing);
  for (int64_t p = 0; p < packer.panel_count(); ++p) packer.pack(p);
  return packer.take();
}

void PackedWeight::decode_row(int64_t row, float* out) const {
  const int64_t panel = row / panel_rows, r = row % panel_rows;
  const int64_t group = quantized() ? group_size : padded_cols;
  const std::byte* at = this->panel(panel);
  std::vector<int8_t> sparse(static_cast<size_t>(packing == Packing::dense ? 0 : group));
  for (int64_t g = 0, k0 = 0; k0 < cols; ++g, k0 += group) {
    float scale = 1, zero_point = 0;
    if (quantized()) {
      const std::byte* head = row_scaled() ? header(panel, g) : at;
      uint16_t half;
      if (f16_scales) {
        std::memcpy(&half, head + r * 2, 2);
        scale = f16_to_float(half);
      } else {
        std::memcpy(&scale, head + r * 4, 4);
      }
      if (has_zero_points) zero_point = static_cast<int8_t>(head[panel_rows * (f16_scales ? 2 : 4) + r]);
    }
    if (quantized() && !row_scaled()) at += header_bytes();
    const std::byte* group_codes = at;
    const int64_t inputs = std::min(group, padded_cols - k0);
    at = packing == Packing::dense ? at + code_bytes(inputs)
                                   : sparse_row(format, packing, at, inputs, r, sparse.data());
    for (int64_t k = 0; k < std::min(group, cols - k0); ++k) {
      const float code = packing == Packing::dense ? packed_units(format).code(group_codes, r, k)
                                                   : sparse[static_cast<size_t>(k)];
      out[k0 + k] = quantized() ? (code - zero_point) * scale : code;
    }
  }
}

}  // namespace whittle
