#include "kernels/packed_weight.h"

#include <algorithm>
#include <cassert>
#include <cstring>
#include <numeric>
#include <string_view>

#include "kernels/error.h"
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
    case WeightFormat::f32: return {(k * panel_rows + r) * 4, 0};
    case WeightFormat::f16:
    case WeightFormat::bf16: return {(k * panel_rows + r) * 2, 0};
    case WeightFormat::int8: return {k / 4 * 256 + r * 4 + k % 4, 0};
    case WeightFormat::int4: return {k / 8 * 256 + r * 4 + k % 4, k % 8 < 4 ? 0 : 4};
  }
  assert(false);
  return {};
}

// Packing moves units: the bytes of one row in one step of inputs (packed_weight.h), four or two of them.
// Four units of four bytes move at once, in a vector.
using Four = uint32_t __attribute__((vector_size(16)));

template <class Unit>
Unit unchanged(Unit unit) {
  return unit;
}

// Eight nibbles in order of input to four bytes that hold inputs j and j + 4.
template <class Unit>
Unit pair_nibbles(Unit unit) {
  const auto spread = [](Unit four) {
    four = (four | four << 8) & 0x00ff00ffu;
    return (four | four << 4) & 0x0f0f0f0fu;
  };
  return spread(unit & 0xffffu) | spread(unit >> 16) << 4;
}

// Four units each of four rows, from `from` on and `stride` apart, to the same rows side by side, unit by
// unit.
template <Four (*arrange)(Four)>
void interleave_four(const std::byte* from, int64_t stride, std::byte* to) {
  Four rows[4];
  for (int r = 0; r < 4; ++r) {
    std::memcpy(&rows[r], from + r * stride, sizeof(Four));
    rows[r] = arrange(rows[r]);
  }
  const Four low_01 = __builtin_shuffle(rows[0], rows[1], Four{0, 4, 1, 5});
  const Four low_23 = __builtin_shuffle(rows[2], rows[3], Four{0, 4, 1, 5});
  const Four high_01 = __builtin_shuffle(rows[0], rows[1], Four{2, 6, 3, 7});
  const Four high_23 = __builtin_shuffle(rows[2], rows[3], Four{2, 6, 3, 7});
  const Four units[4] = {__builtin_shuffle(low_01, low_23, Four{0, 1, 4, 5}),
                         __builtin_shuffle(low_01, low_23, Four{2, 3, 6, 7}),
                         __builtin_shuffle(high_01, high_23, Four{0, 1, 4, 5}),
                         __builtin_shuffle(high_01, high_23, Four{2, 3, 6, 7})};
  for (int u = 0; u < 4; ++u) std::memcpy(to + u * panel_rows * 4, &units[u], sizeof(Four));
}

// The first `units` whole units of `rows` rows to their places in a group's codes, a cache line of each row
// at a time.
template <class Unit, Unit (*arrange)(Unit), Four (*arrange_four)(Four)>
void interleave(const std::byte* source, int64_t stride, int64_t rows, int64_t units, std::byte* codes) {
  constexpr int64_t size = sizeof(Unit), block = 64 / size;
  for (int64_t u0 = 0; u0 < units; u0 += block) {
    const int64_t count = std::min(block, units - u0);
    const std::byte* from = source + u0 * size;
    std::byte* to = codes + u0 * panel_rows * size;
    int64_t r = 0;
    if constexpr (size == 4)
      for (; r + 4 <= rows && count == block; r += 4) {
        // Rows are too many streams for the hardware's prefetcher.
        for (int64_t next = r; next < r + 4; ++next) __builtin_prefetch(from + next * stride + 64);
        for (int64_t u = 0; u < block; u += 4)
          interleave_four<arrange_four>(from + r * stride + u * size, stride,
                                        to + (u * panel_rows + r) * size);
      }
    for (; r < rows; ++r)
      for (int64_t u = 0; u < count; ++u) {
        Unit unit;
        std::memcpy(&unit, from + r * stride + u * size, size);
        unit = arrange(unit);
        std::memcpy(to + (u * panel_rows + r) * size, &unit, size);
      }
  }
}

struct Units {
  int64_t inputs;  // of one row in a unit
  int64_t bytes;
  std::byte zero;  // a byte of codes that stand for zero
  void (*interleave)(const std::byte* source, int64_t stride, int64_t rows, int64_t units, std::byte* codes);
};

// Indexed by WeightFormat.
constexpr Units unit_formats[] = {
    {1, 4, std::byte{0}, interleave<uint32_t, unchanged, unchanged>},           // f32
    {1, 2, std::byte{0}, interleave<uint16_t, unchanged, unchanged>},           // f16
    {1, 2, std::byte{0}, interleave<uint16_t, unchanged, unchanged>},           // bf16
    {4, 4, std::byte{0}, interleave<uint32_t, unchanged, unchanged>},           // int8
    {8, 4, std::byte{0x88}, interleave<uint32_t, pair_nibbles, pair_nibbles>},  // int4
};

void check_groups(const WeightMatrix& weight) {
  const bool zero_points = !weight.zero_points.empty();
  const std::string_view name = info(weight.format).name;
  if (weight.group_size <= 0)
    fail("{} weight: expected a group size above 0, found {}", name, weight.group_size);
  if (weight.group_size < weight.cols && !packable_group_size(weight.format, weight.group_size))
    fail("{} weight: expected groups of a multiple of 8 inputs, {} at most, found groups of {}", name,
         longest_sum(weight.format, true), weight.group_size);
  const int64_t summed = std::min(weight.group_size, weight.cols),
                most = longest_sum(weight.format, zero_points);
  if (summed > most)
    fail(
        "{} weight{}: expected a scale for every {} inputs or fewer, whose products fit into 32 bits, "
        "found one for {}",
        name, zero_points ? " with zero points" : "", most, summed);
}

}  // namespace

Packer::Packer(const WeightMatrix& weight) : weight_(weight) {
  PackedWeight& p = packed_;
  p.format = weight.format;
  p.code_bits = info(weight.format).bits;
  p.rows = weight.rows;
  p.cols = weight.cols;
  if (!p.quantized()) {
    p.padded_cols = p.cols;
    p.panel_bytes = p.code_bytes(p.cols);
  } else {
    check_groups(weight);
    p.padded_cols = round_up(p.cols, cols_block);
    p.group_size = weight.groups() == 1 ? p.padded_cols : weight.group_size;
    p.has_zero_points = !weight.zero_points.empty();
    p.f16_scales = !p.row_scaled() && std::ranges::all_of(weight.scales, exact_in_f16);
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
  const PackedWeight& p = packed_;
  const int64_t group = p.quantized() ? p.group_size : p.padded_cols;
  for (int64_t g = 0, k0 = 0; k0 < p.padded_cols; ++g, k0 += group) {
    const auto* codes = p.quantized() ? p.codes(panel, g) : p.panels.data() + panel * p.panel_bytes;
    pack_codes(panel, k0, std::min(group, p.padded_cols - k0), const_cast<std::byte*>(codes));
    if (p.quantized()) pack_header(panel, g);
  }
  if (p.row_sums.size()) sum_rows(panel);
}

// Inputs [k0, k0 + inputs) of a panel, where the rows and inputs that the weight lacks become zeros.
void Packer::pack_codes(int64_t panel, int64_t k0, int64_t inputs, std::byte* codes) {
  const Units& unit = unit_formats[static_cast<size_t>(packed_.format)];
  const int64_t stride = row_bytes(packed_.format, packed_.cols);
  const std::byte* source =
      weight_.codes.data() + panel * panel_rows * stride + k0 / unit.inputs * unit.bytes;
  const int64_t rows = std::min(panel_rows, packed_.rows - panel * panel_rows);
  const int64_t present = std::clamp<int64_t>(packed_.cols - k0, 0, inputs);
  const int64_t whole = present / unit.inputs, left = present % unit.inputs;
  if (rows < panel_rows || present < inputs)
    std::memset(codes, std::to_integer<int>(unit.zero), static_cast<size_t>(packed_.code_bytes(inputs)));
  unit.interleave(source, stride, rows, whole, codes);
  if (left == 0) return;
  for (int64_t r = 0; r < rows; ++r) {  // a row's last inputs, less than a unit
    uint32_t stored = 0, zero;
    std::memset(&zero, std::to_integer<int>(unit.zero), sizeof zero);
    std::memcpy(&stored, source + r * stride + whole * unit.bytes,
                static_cast<size_t>(std::min(unit.bytes, (left * packed_.code_bits + 7) / 8)));
    const uint32_t mask = (1u << (left * packed_.code_bits)) - 1;
    const uint32_t filled = (stored & mask) | (zero & ~mask);
    unit.interleave(reinterpret_cast<const std::byte*>(&filled), 0, 1, 1,
                    codes + (whole * panel_rows + r) * unit.bytes);
  }
}

void Packer::pack_header(int64_t panel, int64_t g) {
  auto* scales = const_cast<std::byte*>(packed_.header(panel, g));
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
