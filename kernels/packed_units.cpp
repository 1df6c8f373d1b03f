#include "kernels/packed_units.h"

#include <algorithm>
#include <cstring>

#include "kernels/packed_weight.h"

namespace whittle {
namespace {

constexpr int64_t line_bytes = panel_rows * 4;  // four bytes of each row

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
  for (int u = 0; u < 4; ++u) std::memcpy(to + u * line_bytes, &units[u], sizeof(Four));
}

// Units that stay whole, a cache line of each row at a time.
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

// How codes of 6 and 5 bits fill bytes. A line holds four inputs of a row, a byte each; a unit has `lines` of
// them, of which the first `stored` are kept as they are. The others' bits go where those leave room: into
// the top of their bytes.
struct SixBits {
  static constexpr int bits = 6, lines = 4, stored = 3;
  static void hide(uint32_t (&line)[lines]) {
    for (int i = 0; i < stored; ++i) line[i] |= (line[3] >> (2 * i) & 0x03030303u) << 6;
  }
  static uint32_t last(const uint32_t (&line)[stored], int) {
    const auto top = [&](int i) { return line[i] >> 6 & 0x03030303u; };
    return top(0) | top(1) << 2 | top(2) << 4;
  }
};

struct FiveBits {
  static constexpr int bits = 5, lines = 8, stored = 5;
  static void hide(uint32_t (&line)[lines]) {
    const auto low = [&](int i) { return line[i] & 0x07070707u; };
    const auto middle = [&](int i) { return line[i] >> 3 & 0x03030303u; };
    const uint32_t top[stored] = {low(5), middle(5) | (line[7] >> 1 & 0x04040404u), low(6),
                                  middle(6) | (line[7] >> 2 & 0x04040404u), low(7)};
    for (int i = 0; i < stored; ++i) line[i] |= top[i] << 5;
  }
  static uint32_t last(const uint32_t (&line)[stored], int which) {
    const auto top = [&](int i) { return line[i] >> 5 & 0x07070707u; };
    const auto two = [&](int i) { return (top(i) & 0x03030303u) << 3; };
    const auto third = [&](int i) { return top(i) >> 2 & 0x01010101u; };
    return which == 5   ? top(0) | two(1)
           : which == 6 ? top(2) | two(3)
                        : top(4) | third(1) << 3 | third(3) << 4;
  }
};

template <class Format>
constexpr int64_t unit_bytes = Format::stored * 4;

// Eight codes, in two loads that overlap: a copy of so many bytes would go through memory.
template <int bits>
uint64_t load_eight(const std::byte* from) {
  uint32_t low, high;
  std::memcpy(&low, from, sizeof low);
  std::memcpy(&high, from + bits - 4, sizeof high);
  return low | uint64_t{high} << (bits - 4) * 8;
}

// The same a byte each: first the upper four move into the upper half, then of each four
// two, then of each two one.
template <int bits>
uint64_t spread(uint64_t eight) {
  constexpr auto mask = [](int codes, uint64_t repeated) {
    return ((uint64_t{1} << codes * bits) - 1) * repeated;
  };
  constexpr int gap = 8 - bits;
  constexpr uint64_t four = mask(4, 1), two = mask(2, 0x100000001), one = mask(1, 0x1000100010001);
  eight = (eight & four) | (eight & four << 4 * bits) << 4 * gap;
  eight = (eight & two) | (eight & two << 2 * bits) << 2 * gap;
  return (eight & one) | (eight & one << bits) << gap;
}

template <class Format>
void interleave_lines(const std::byte* source, int64_t stride, int64_t rows, int64_t units,
                      std::byte* codes) {
  constexpr int64_t size = unit_bytes<Format>, block = 16;
  for (int64_t u0 = 0; u0 < units; u0 += block)
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t ahead = 0; ahead < block * size; ahead += 64)
        __builtin_prefetch(source + r * stride + (u0 + block) * size + ahead);
      for (int64_t u = u0; u < std::min(u0 + block, units); ++u) {
        const std::byte* unit = source + r * stride + u * size;
        uint32_t line[Format::lines];
#pragma GCC unroll 4
        for (int i = 0; i < Format::lines; i += 2, unit += Format::bits) {
          const uint64_t eight = spread<Format::bits>(load_eight<Format::bits>(unit));
          line[i] = static_cast<uint32_t>(eight);
          line[i + 1] = static_cast<uint32_t>(eight >> 32);
        }
        Format::hide(line);
        for (int i = 0; i < Format::stored; ++i)
          std::memcpy(codes + (u * Format::stored + i) * line_bytes + r * 4, &line[i], 4);
      }
    }
}

template <WeightFormat format, int64_t bytes>
float element(const std::byte* codes, int64_t r, int64_t k) {
  float value;
  info(format).decode_row(codes + (k * panel_rows + r) * bytes, 1, &value);
  return value;
}

float code_of_int8(const std::byte* codes, int64_t r, int64_t k) {
  return static_cast<float>(static_cast<int8_t>(codes[k / 4 * line_bytes + r * 4 + k % 4]));
}

float code_of_int4(const std::byte* codes, int64_t r, int64_t k) {
  const std::byte pair = codes[k / 8 * line_bytes + r * 4 + k % 4];
  return static_cast<float>(std::to_integer<int>(pair >> (k % 8 < 4 ? 0 : 4)) % 16 - 8);
}

template <class Format>
float code_in_lines(const std::byte* codes, int64_t r, int64_t k) {
  constexpr int64_t inputs = Format::lines * 4;
  uint32_t line[Format::stored];
  for (int i = 0; i < Format::stored; ++i)
    std::memcpy(&line[i], codes + (k / inputs * Format::stored + i) * line_bytes + r * 4, 4);
  const int at = static_cast<int>(k % inputs / 4);
  const uint32_t four = at < Format::stored ? line[at] : Format::last(line, at);
  const int code = static_cast<int>(four >> (k % 4 * 8)) & ((1 << Format::bits) - 1);
  return static_cast<float>(code - (1 << (Format::bits - 1)));
}

// Indexed by WeightFormat.
constexpr PackedUnits units[] = {
    {1, 4, interleave<uint32_t, unchanged, unchanged>, element<WeightFormat::f32, 4>},
    {1, 2, interleave<uint16_t, unchanged, unchanged>, element<WeightFormat::f16, 2>},
    {1, 2, interleave<uint16_t, unchanged, unchanged>, element<WeightFormat::bf16, 2>},
    {4, 4, interleave<uint32_t, unchanged, unchanged>, code_of_int8},
    {16, unit_bytes<SixBits>, interleave_lines<SixBits>, code_in_lines<SixBits>},
    {32, unit_bytes<FiveBits>, interleave_lines<FiveBits>, code_in_lines<FiveBits>},
    {8, 4, interleave<uint32_t, pair_nibbles, pair_nibbles>, code_of_int4},
};

}  // namespace

const PackedUnits& packed_units(WeightFormat format) { return units[static_cast<size_t>(format)]; }

}  // namespace whittle
