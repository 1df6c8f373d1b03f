#include "kernels/sparse_weight.h"

#include <algorithm>
#include <atomic>
#include <bit>
#include <cstring>

#include "kernels/error.h"

namespace whittle {
namespace {

constexpr int64_t line_bytes = panel_rows * 4, step_inputs = 16, line_rows = 16;
constexpr uint64_t each_byte = 0x0101010101010101u;

bool n_of_m(Packing packing) { return packing == Packing::two_of_four || packing == Packing::four_of_eight; }

// The top bit of each byte that is not zero.
uint64_t nonzero_bytes(uint64_t bytes) {
  constexpr uint64_t low = 0x7f * each_byte;
  return (((bytes & low) + low) | bytes) & ~low;
}

// Eight inputs of row r as signed bytes, of which int4's upper halves are zero.
uint64_t eight_codes(WeightFormat format, const std::byte* dense, int64_t k, int64_t r) {
  uint32_t low, high;
  if (format == WeightFormat::int8) {
    std::memcpy(&low, dense + k / 4 * line_bytes + r * 4, 4);
    std::memcpy(&high, dense + (k / 4 + 1) * line_bytes + r * 4, 4);
  } else {
    uint32_t pairs;
    std::memcpy(&pairs, dense + k / 8 * line_bytes + r * 4, 4);
    pairs ^= 0x88888888u;  // stored as code + 8
    low = pairs & 0x0f0f0f0fu;
    high = pairs >> 4 & 0x0f0f0f0fu;
  }
  return low | uint64_t{high} << 32;
}

// Four slots of eight inputs, a byte each.
struct Slots {
  uint32_t codes = 0, places = 0;
};

Slots choose_slots(Packing packing, uint64_t codes, int64_t k) {
  Slots slots;
  const bool halves = packing == Packing::two_of_four;
  int next = 0;
  for (uint64_t left = nonzero_bytes(codes); left; left &= left - 1, ++next) {
    const int place = std::countr_zero(left) / 8;
    if (halves && place >= 4 && next < 2) next = 2;
    if (next == (halves && place < 4 ? 2 : 4))
      fail("{} packing: more than {} of inputs {} to {} are not zero", name(packing), halves ? 2 : 4,
           k + (halves ? place / 4 * 4 : 0), k + (halves ? place / 4 * 4 + 3 : 7));
    slots.codes |= (static_cast<uint32_t>(codes >> 8 * place) & 0xff) << 8 * next;
    slots.places |= static_cast<uint32_t>(place) << 8 * next;
  }
  return slots;
}

// Where the four slots of row r of the `half`th eight inputs of a step are found: bytes of the step, and bits
// of these.
struct SlotsAt {
  int64_t low, upper, codes;
  int low_shift, upper_shift, codes_shift;
  SlotsAt(WeightFormat format, Packing packing, int half, int64_t r) {
    const bool int8 = format == WeightFormat::int8;
    const int64_t q = r / line_rows, in = r % line_rows;
    low = half * panel_rows + q * 16 + in % 4 * 4;
    low_shift = static_cast<int>(in / 4 * 2);
    upper = 2 * panel_rows + half * panel_rows / 2 + q * 8 + in % 2 * 4;
    upper_shift = static_cast<int>(in / 2);
    codes = (packing == Packing::two_of_four ? 2 : 3) * panel_rows + (int8 ? half * line_bytes : 0) + r * 4;
    codes_shift = int8 ? 0 : 4 * half;
  }
};

constexpr uint32_t four_of(uint8_t byte) { return byte * 0x01010101u; }

uint32_t load_dword(const std::byte* from) {
  uint32_t dword;
  std::memcpy(&dword, from, sizeof dword);
  return dword;
}

int64_t step_bytes(WeightFormat format, Packing packing) {
  return panel_rows * step_inputs * sparse_half_bits(format, packing) / 16;
}

void pack_step(WeightFormat format, Packing packing, const std::byte* dense, int64_t k, std::byte* step) {
  const auto add = [&](int64_t at, uint32_t bits) {
    bits |= load_dword(step + at);
    std::memcpy(step + at, &bits, sizeof bits);
  };
  std::memset(step, 0, static_cast<size_t>(step_bytes(format, packing)));
  for (int half = 0; half < 2; ++half)
    for (int64_t r = 0; r < panel_rows; ++r) {
      const SlotsAt at(format, packing, half, r);
      const int64_t first = k + 8 * half;
      const auto [codes, places] = choose_slots(packing, eight_codes(format, dense, first, r), first);
      add(at.low, (places & four_of(3)) << at.low_shift);
      if (packing == Packing::four_of_eight) add(at.upper, (places >> 2 & four_of(1)) << at.upper_shift);
      add(at.codes, (format == WeightFormat::int8 ? codes : codes ^ four_of(8)) << at.codes_shift);
    }
}

void row_of_step(WeightFormat format, Packing packing, const std::byte* step, int64_t r, int8_t* out) {
  std::fill_n(out, step_inputs, int8_t{0});
  for (int half = 0; half < 2; ++half) {
    const SlotsAt at(format, packing, half, r);
    const uint32_t codes = load_dword(step + at.codes) >> at.codes_shift;
    uint32_t places = load_dword(step + at.low) >> at.low_shift & four_of(3);
    places |= packing == Packing::two_of_four
                  ? 0x04040000u
                  : (load_dword(step + at.upper) >> at.upper_shift & four_of(1)) << 2;
    for (int s = 0; s < 4; ++s) {
      const auto byte = static_cast<uint8_t>(codes >> 8 * s);
      const int code = format == WeightFormat::int8 ? static_cast<int8_t>(byte) : (byte & 15) - 8;
      if (code != 0) out[8 * half + (places >> 8 * s & 7)] = static_cast<int8_t>(code);
    }
  }
}

// A block of a masked panel: so many inputs, in lines of 64 codes, four lines to every four inputs.
constexpr int64_t block_inputs = 8, block_lines = block_inputs / 4 * (panel_rows / line_rows);

uint64_t mask_of(const std::byte* masks, int64_t line) {
  uint64_t mask;
  std::memcpy(&mask, masks + line * 8, 8);
  return mask;
}

std::byte* pack_block(const std::byte* dense, std::byte* masks) {
  std::byte* to = masks + block_lines * 8;
  for (int64_t line = 0; line < block_lines; ++line, dense += 64) {
    uint64_t mask = 0;
    for (int64_t i = 0; i < 64; ++i) mask |= uint64_t{dense[i] != std::byte{0}} << i;
    std::memcpy(masks + line * 8, &mask, 8);
    for (; mask; mask &= mask - 1) *to++ = dense[std::countr_zero(mask)];
  }
  return to;
}

const std::byte* row_of_block(const std::byte* masks, int64_t r, int8_t* out) {
  const std::byte* codes = masks + block_lines * 8;
  for (int64_t line = 0; line < block_lines; ++line) {
    const uint64_t mask = mask_of(masks, line);
    if (line % 4 == r / line_rows)
      for (int64_t i = 0; i < 4; ++i) {
        const uint64_t bit = uint64_t{1} << (r % line_rows * 4 + i);
        const int64_t before = std::popcount(mask & (bit - 1));
        *out++ = mask & bit ? static_cast<int8_t>(codes[before]) : int8_t{0};
      }
    codes += std::popcount(mask);
  }
  return codes;
}

}  // namespace

std::string_view name(Packing packing) {
  constexpr std::string_view names[] = {"dense", "2:4", "4:8", "masked"};
  return names[static_cast<size_t>(packing)];
}

int sparse_half_bits(WeightFormat format, Packing packing) {
  if (!n_of_m(packing)) return 0;
  return info(format).bits + (packing == Packing::two_of_four ? 2 : 3);
}

bool sparse_packable(const WeightMatrix& weight, Packing packing) {
  const bool int8 = weight.format == WeightFormat::int8;
  if (!weight.zero_points.empty() || (!int8 && weight.format != WeightFormat::int4)) return false;
  if (packing == Packing::masked) return int8;
  return weight.groups() == 1 || weight.group_size % step_inputs == 0;
}

CodeSparsity sparsity_of(const WeightMatrix& weight, const Team* team) {
  std::atomic<bool> two_of_four = true, four_of_eight = true;
  std::atomic<int64_t> kept = 0;
  const int64_t stride = row_bytes(weight.format, weight.cols);
  const bool int8 = weight.format == WeightFormat::int8;
  const auto count_row = [&](const std::byte* row) {
    // Of eight inputs, and the most of any four and eight.
    int64_t all = 0;
    int most_of_four = 0, most_of_eight = 0;
    for (int64_t k = 0; k < weight.cols; k += 8) {
      uint64_t codes = 0;
      const auto present = static_cast<size_t>(std::min<int64_t>(8, weight.cols - k));
      if (int8) {
        std::memcpy(&codes, row + k, present);
      } else {
        uint32_t nibbles = 0;
        std::memcpy(&nibbles, row + k / 2, (present + 1) / 2);
        nibbles ^= 0x88888888u;
        if (present < 8) nibbles &= (uint32_t{1} << 4 * present) - 1;
        for (int i = 0; i < 8; ++i) codes |= uint64_t{nibbles >> 4 * i & 15} << 8 * i;
      }
      const uint64_t nonzero = nonzero_bytes(codes);
      const int low = std::popcount(static_cast<uint32_t>(nonzero)), eight = std::popcount(nonzero);
      most_of_four = std::max({most_of_four, low, eight - low});
      most_of_eight = std::max(most_of_eight, eight);
      all += eight;
    }
    kept += all;
    if (most_of_four > 2) two_of_four = false;
    if (most_of_eight > 4) four_of_eight = false;
  };
  for_each(team, (weight.rows + panel_rows - 1) / panel_rows, [&](int64_t panel) {
    for (int64_t n = panel * panel_rows; n < std::min((panel + 1) * panel_rows, weight.rows); ++n)
      count_row(weight.codes.data() + n * stride);
  });
  return {two_of_four, four_of_eight, kept, weight.rows * weight.cols};
}

std::byte* pack_sparse(WeightFormat format, Packing packing, const std::byte* dense, int64_t inputs,
                       std::byte* codes) {
  if (packing == Packing::masked) {
    for (int64_t k = 0; k < inputs; k += block_inputs) codes = pack_block(dense + k * panel_rows, codes);
    return codes;
  }
  for (int64_t k = 0; k < inputs; k += step_inputs, codes += step_bytes(format, packing))
    pack_step(format, packing, dense, k, codes);
  return codes;
}

const std::byte* sparse_row(WeightFormat format, Packing packing, const std::byte* codes, int64_t inputs,
                            int64_t r, int8_t* out) {
  if (packing == Packing::masked) {
    for (int64_t k = 0; k < inputs; k += block_inputs) codes = row_of_block(codes, r, out + k);
    return codes;
  }
  const int64_t bytes = step_bytes(format, packing);
  for (int64_t k = 0; k < inputs; k += step_inputs, codes += bytes)
    row_of_step(format, packing, codes, r, out + k);
  return codes;
}

const std::byte* expand_codes(WeightFormat format, Packing packing, const std::byte* codes, int64_t inputs,
                              std::byte* dense) {
  const bool int8 = format == WeightFormat::int8;
  int8_t row[sparse_block];
  for (int64_t k = 0; k < inputs; k += sparse_block) {
    const int64_t count = std::min(sparse_block, inputs - k);
    const std::byte* end = codes;
    for (int64_t r = 0; r < panel_rows; ++r) {
      end = sparse_row(format, packing, codes, count, r, row);
      for (int64_t i = 0; i < count; i += int8 ? 4 : 8)
        for (int64_t j = 0; j < 4; ++j)
          dense[(int8 ? i / 4 : i / 8) * line_bytes + r * 4 + j] =
              static_cast<std::byte>(int8 ? row[i + j] : (row[i + j] + 8) | (row[i + j + 4] + 8) << 4);
    }
    codes = end;
    dense += panel_rows * count * info(format).bits / 8;
  }
  return codes;
}

}  // namespace whittle
