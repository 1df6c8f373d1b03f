#pragma once
// The one in-memory copy of a weight, in the order in which kernels read it.
//
// What is packing? A weight arrives row by row: all K inputs of output 0, then of output 1, … A vector
// register wants one input of many outputs at once, so that a broadcast activation multiplies them all and
// every lane keeps the running sum of its own output. Packing reorders the weight into *panels* of 64 rows;
// inside a panel the inputs follow one another, and for each step of inputs there are 64 rows side by side:
//
//   format        step of inputs   bytes a step   order inside a step
//   f32           1                256            row
//   f16, bf16     1                128            row
//   int8          4                256            row, then input: a 32-bit lane holds four inputs of one row
//   int6          16               768            three lines as int8's, in the low six bits; their top two
//                                                 bits together are a fourth
//   int5          32               1280           five lines in the low five bits; their top three bits
//                                                 together are three more (packed_units.cpp says which)
//   int4          8                256            as int8; low nibble: input j, high nibble: input j + 4
//
// A panel is one linear stream from its first to its last byte. When rows have a scale per group of inputs,
// each group's scales (and zero points) stand in the stream just before the group's codes:
//
//   panel = group*
//   group = scale[64] (f16, or f32 where f16 would round) zero_point[64] (int8, if any) step*
//
// With one scale a row, scales and zero points stand apart, and int8 panels are exactly the blocked layout
// BA16a64b4a that oneDNN chooses for the weights of an int8 matmul: both read the same bytes.
//
// A panel whose codes are mostly zeros may keep the others alone: see sparse_weight.h.

#include <cstddef>
#include <cstdint>
#include <utility>

#include "kernels/buffer.h"
#include "kernels/threads.h"
#include "kernels/weight_matrix.h"

namespace whittle {

inline constexpr int64_t panel_rows = 64;
// Inputs of a quantized weight are padded with zeros to whole blocks of this many.
inline constexpr int64_t cols_block = 64;

inline int64_t round_up(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// What a panel keeps of the codes: all, or, of the other kinds, those that are not zero and their places.
enum class Packing : uint8_t { dense, two_of_four, four_of_eight, masked };

// Where everything in a packed weight lies: all of it but the bytes, so that what a weight will take is known
// before there is one.
struct PackedLayout {
  WeightFormat format = WeightFormat::f32;
  Packing packing = Packing::dense;
  int64_t rows = 0, cols = 0;  // N and K as the model knows them
  int64_t padded_cols = 0;     // K as stored
  // Twice the bits that an input of a row takes in a panel, without scales; not for masked panels.
  int half_bits = 0;
  int64_t group_size = 0;   // inputs that share a scale; padded_cols: all of a row; 0 for floats
  bool f16_scales = false;  // scales are f16, else f32
  bool has_zero_points = false;
  int64_t panel_bytes = 0;  // masked panels differ

  int64_t panel_count() const { return (rows + panel_rows - 1) / panel_rows; }
  int64_t padded_rows() const { return panel_count() * panel_rows; }
  bool quantized() const { return group_size != 0; }
  bool row_scaled() const { return quantized() && group_size == padded_cols; }
  int64_t groups() const { return (padded_cols + group_size - 1) / group_size; }
  int64_t header_bytes() const { return panel_rows * ((f16_scales ? 2 : 4) + (has_zero_points ? 1 : 0)); }
  // Bytes of the codes of `inputs` inputs of a panel; not of a masked one.
  int64_t code_bytes(int64_t inputs) const { return panel_rows * inputs * half_bits / 16; }
  // Bytes of scales and zero points that stand apart from the panels.
  int64_t row_header_bytes() const { return row_scaled() ? panel_count() * header_bytes() : 0; }
  // Rows whose codes are summed: where oneDNN multiplies many rows of x.
  int64_t summed_rows() const {
    const bool multiplied_dense = packing == Packing::dense || packing == Packing::masked;
    return row_scaled() && format == WeightFormat::int8 && multiplied_dense ? padded_rows() : 0;
  }
  // Everything that a weight of this layout keeps in memory; not of masked panels.
  int64_t bytes() const {
    return panel_count() * panel_bytes + row_header_bytes() +
           summed_rows() * static_cast<int64_t>(sizeof(int32_t));
  }
};

// Of [rows, cols] weights with a scale for `group_size` inputs (cols: for a row; unused for floats), in f16
// where `exact_in_f16`: whether these hold the scales exactly; rows with one scale have theirs in f32.
PackedLayout packed_layout(WeightFormat format, int64_t rows, int64_t cols, int64_t group_size,
                           bool exact_in_f16, bool zero_points, Packing packing = Packing::dense);

struct PackedWeight : PackedLayout {
  PackedWeight() = default;
  explicit PackedWeight(const PackedLayout& layout) : PackedLayout(layout) {}

  Buffer<std::byte> panels;  // panel_count() × panel_bytes
  // Scales and zero points a row, when they stand apart: panel_count() × header_bytes().
  Buffer<std::byte> row_header;
  Buffer<int32_t> row_sums;      // sum of a row's codes, [panel_count() × 64], of summed_rows()
  Buffer<int64_t> panel_starts;  // where masked panels lie, panel_count() + 1 of them

  // Where panel `p` begins.
  const std::byte* panel(int64_t p) const { return panels.data() + panel_start(p); }
  // Bytes of some panels, with what stands apart from them.
  int64_t bytes_of(Range some) const {
    return panel_start(some.end) - panel_start(some.begin) +
           (row_scaled() ? some.size() * header_bytes() : 0);
  }
  // Where the scales and the codes of group `g` of panel `p` lie; for row_scaled weights there is one group,
  // and of a masked panel's only the first is found so.
  const std::byte* header(int64_t p, int64_t g) const {
    return row_scaled() ? row_header.data() + p * header_bytes()
                        : panel(p) + g * (header_bytes() + code_bytes(group_size));
  }
  const std::byte* codes(int64_t p, int64_t g) const {
    return row_scaled() ? panel(p) : header(p, g) + header_bytes();
  }
  // Everything that this weight keeps in memory.
  int64_t bytes() const {
    return static_cast<int64_t>(panels.bytes() + row_header.bytes() + row_sums.bytes() +
                                panel_starts.bytes());
  }

  // Row `row` as floats: out[cols].
  void decode_row(int64_t row, float* out) const;

 private:
  int64_t panel_start(int64_t p) const { return panel_starts.size() ? panel_starts[p] : p * panel_bytes; }
};

// The most inputs whose products kernels sum in one int32, which are those of one scale: of a group, or of a
// whole row that has one scale (activations may then have one scale a token, too). A product is (code − zero
// point) · activation code, of at most 128 · 127 for int8, 255 · 127 for int8 with zero points, and 15 · 127,
// 31 · 127 and 63 · 127 for int4, int5 and int6, whose codes are stored without a sign. What int8 codes are
// shifted by on the way (VNNI: code + 128; oneDNN: activation + 128) wraps and leaves again: only the sum
// itself must fit.
int64_t longest_sum(WeightFormat format, bool zero_points);

// What the inputs of a group are a multiple of, where a row has more than one: of scales, or of activations'
// scales alone.
int64_t group_multiple(WeightFormat format);

// Whether kernels can read rows of `format` with more than one group, of this many inputs each. (Rows with
// one scale may have any number of inputs up to longest_sum. Floats have no groups.)
bool packable_group_size(WeightFormat format, int64_t group_size);

// Reorders `weight`. Throws Error where the weight's group size is not packable, a row's one scale has more
// inputs than longest_sum, or a sparse packing does not fit the weight (sparse_packable) or its codes;
// whoever knows the weight's name catches that earlier, or adds it. Called by one thread: tensors are packed
// in parallel, each by one, or panel range by panel range through Packer.
class Packer {
 public:
  explicit Packer(const WeightMatrix& weight, Packing packing = Packing::dense);
  int64_t panel_count() const { return packed_.panel_count(); }
  // Panels are independent: any thread may pack any panel.
  void pack(int64_t panel);
  PackedWeight take() { return std::move(packed_); }

 private:
  void place_panels();
  void pack_codes(int64_t panel, int64_t k0, int64_t inputs, std::byte* codes);
  void pack_header(int64_t panel, int64_t g, std::byte* scales);
  void sum_rows(int64_t panel);

  const WeightMatrix& weight_;
  PackedWeight packed_;
};

PackedWeight pack(const WeightMatrix& weight, Packing packing = Packing::dense);

}  // namespace whittle
