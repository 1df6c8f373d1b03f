#pragma once
// The operations of one instruction set. Every kernel computes an output element in one order that depends on
// neither the number of rows given at once, nor the thread, nor the instruction set: results are the same
// bits in prefill and decode, and on every CPU (but for which NaN a NaN is).

#include <cstdint>
#include <span>
#include <string_view>

#include "kernels/kv_format.h"
#include "kernels/packed_weight.h"
#include "kernels/threads.h"

namespace whittle {

// Float buffers that kernels read or write row by row have strides and capacities of a multiple of this.
inline constexpr int64_t float_block = 16;

// M activation rows quantized to int8: x[m, k] ≈ codes[m, k] · scales[m, k / group_size], codes in −127..127.
struct QuantizedRows {
  int64_t rows = 0;
  int64_t cols = 0;         // padded to cols_block; codes past the real width are zero
  int64_t group_size = 0;   // inputs that share a scale; `cols` for one scale a token
  int8_t* codes = nullptr;  // [rows, cols]
  float* scales = nullptr;  // [rows, groups()]
  int32_t* sums = nullptr;  // [rows, groups()], the sum of a group's codes

  int64_t groups() const { return (cols + group_size - 1) / group_size; }
};

// M float activation rows.
struct FloatRows {
  int64_t rows = 0;
  int64_t stride = 0;  // floats from a row to the next
  const float* values = nullptr;
};

struct MatmulOutput {
  float* values = nullptr;  // [M, stride]; whole panels are written: stride ≥ padded_rows of the weight
  int64_t stride = 0;
};

inline constexpr int64_t kv_block = 16;  // positions whose keys lie interleaved

// Keys and values of one head of one layer.
//   keys    [position / 16][head_dim][position % 16]: scores of 16 positions grow in the lanes of a register
//   values  [position][head_dim]
//   scales  [position], int8 only: one for the key, one for the value
// Room for whole blocks of positions: kernels read a block to its end and use what was written.
struct KvHead {
  KvFormat format = KvFormat::f16;
  int64_t head_dim = 0;
  std::byte* keys = nullptr;
  std::byte* values = nullptr;
  float* key_scales = nullptr;
  float* value_scales = nullptr;
};

// One query row and the positions that it may see: [begin, end).
struct Query {
  const float* values = nullptr;  // [head_dim], already scaled by 1/sqrt(head_dim)
  float* output = nullptr;        // [head_dim]
  int64_t begin = 0, end = 0;
  // ALiBi (Press et al., 2021): a score falls by this much for each position that the key is before the last.
  float slope = 0;
};
inline constexpr int max_queries = 16;

struct KernelTable {
  std::string_view name;
  // How int8 products are summed; for reports.
  std::string_view int8_instruction;
  // Products of unsigned and signed bytes are summed exactly by this instruction set, in oneDNN too.
  // (Elsewhere two of them saturate in 16 bits.)
  bool exact_u8s8;
  // Masked panels are read by instructions made for them; elsewhere slowly.
  bool reads_masks;

  // y[m, n] = sum over k of x[m, k] · w[n, k] for the outputs of `panels`. Quantized weights: integer sums
  // within a group, then in group order y += float(sum) · (weight scale · activation scale). x.group_size
  // must be the weight's group size, or any group_multiple(w.format) when the weight has one scale a row.
  // A sparse weight gives the bits of the same weight packed dense.
  void (*matmul_quantized)(const PackedWeight& w, const QuantizedRows& x, Range panels, MatmulOutput y);
  // Float weights: one chain of fused multiply-adds in order of k.
  void (*matmul_float)(const PackedWeight& w, const FloatRows& x, Range panels, MatmulOutput y);
  // The last step of matmul_quantized for sums made elsewhere: y[m, n] from sums[m, 64], row-scaled weights,
  // one panel.
  void (*scale_sums)(const PackedWeight& w, const QuantizedRows& x, int64_t panel, const int32_t* sums,
                     int64_t sums_stride, MatmulOutput y);

  // The codes of `inputs` inputs of a sparse panel, a multiple of 16, as dense panels have them. Returns the
  // end of what was read; a masked panel is read some bytes further.
  const std::byte* (*expand)(WeightFormat format, Packing packing, const std::byte* codes, int64_t inputs,
                             std::byte* dense);

  // y = x / sqrt(mean(x²) + eps) · weight, over n values.
  void (*rms_norm)(const float* x, const float* weight, int64_t n, float eps, float* y);
  // y = (x − mean) / sqrt(variance + eps) · weight + bias, over n values.
  void (*layer_norm)(const float* x, const float* weight, const float* bias, int64_t n, float eps, float* y);
  // One row of `cols` floats to row m of `out`: per group scale = max|x| / 127, round to nearest even;
  // a group whose max|x| is below 2^-100 gets zeros. A group with a NaN or an infinity gets zeros and a scale
  // that is NaN: products with it are NaN, too.
  void (*quantize_row)(const float* x, int64_t cols, const QuantizedRows& out, int64_t m);
  // gate = silu(gate) · up, silu(v) = v / (1 + exp(−v)).
  void (*silu_mul)(float* gate, const float* up, int64_t n);
  // x = gelu(x), gelu(v) = v / 2 · (1 + tanh(√(2/π) · (v + 0.044715 v³))).
  void (*gelu_tanh)(float* x, int64_t n);
  // x += y.
  void (*add)(float* x, const float* y, int64_t n);
  // Rotates the pairs (i, i + head_dim / 2) of one head by the angles whose cosines and sines [head_dim / 2]
  // are given.
  void (*rope)(float* head, const float* cosines, const float* sines, int64_t head_dim);

  // Writes one position of a head: as f16, finite numbers beyond ±65504 become ±65504, infinities and NaNs
  // stay what they are; as int8, a key or value with a NaN or an infinity gets zeros and a scale that is NaN.
  void (*store_kv)(const KvHead& head, int64_t position, const float* key, const float* value);
  // Softmax attention of 1..max_queries queries over one head. scores: scratch, max_queries × stride floats,
  // stride a multiple of 16 and ≥ every query's end. A query's output depends on nothing outside its range.
  void (*attention)(const KvHead& head, std::span<const Query> queries, float* scores, int64_t scores_stride);

  // Offline: sum over n of (x − snap(x))² with snap(x) = (clamp(round(x / scale) + zero_point) − zero_point)
  // · scale; zero_point and the code's limits are whole numbers.
  float (*rounding_error)(const float* x, int64_t n, float scale, float zero_point, float code_min,
                          float code_max);
};

struct InstructionSet {
  const KernelTable* table;
  bool (*available)();
  std::string_view needs;  // for people: what a CPU must have
};

// Every instruction set that was built, best first; the last one runs everywhere.
std::span<const InstructionSet> instruction_sets();
// The best one that this CPU has, or the one that WHITTLE_ISA names. Throws Error when that one is unknown or
// absent.
const KernelTable& kernels();

}  // namespace whittle
