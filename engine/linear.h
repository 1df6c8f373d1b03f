#pragma once
// One linear layer ready to run, and the input rows that it reads.

#include <cstdint>
#include <vector>

#include "engine/packing_choice.h"
#include "engine/profile.h"
#include "kernels/buffer.h"
#include "kernels/kernel_table.h"
#include "kernels/packed_weight.h"

namespace whittle {

class LinearInput;

// y = x · Wᵀ + bias. How the weight is packed is this class's own business: others hand out its panels of
// outputs, and ask what they cost.
class Linear {
 public:
  Linear() = default;  // no layer: the model has none
  // `bias` has `weight.rows` values or none. activation_group_size: inputs that share an activation scale at
  // run time, rounded up to a group_multiple() of the weight's format; 0: all of a token. A weight with
  // scales in groups uses its own groups. `choice`: why the weight is packed as it is.
  Linear(PackedWeight weight, std::vector<float> bias, int64_t activation_group_size,
         const PackingChoice& choice = {});

  explicit operator bool() const { return weight_.rows != 0; }
  int64_t rows() const { return weight_.rows; }
  int64_t cols() const { return weight_.cols; }
  bool quantized() const { return weight_.quantized(); }
  // Inputs that share an activation scale; 0 for float weights, whose inputs stay float32.
  int64_t activation_group_size() const { return activation_group_size_; }
  const PackingChoice& packing_choice() const { return choice_; }

  // Outputs are computed in panels of `panel_rows`; any thread may compute any.
  int64_t panels() const { return weight_.panel_count(); }
  int64_t padded_rows() const { return weight_.padded_rows(); }
  // Of the first `rows` rows of `input`, the outputs of `panels`.
  void multiply(const LinearInput& input, int64_t rows, Range panels, MatmulOutput y) const;
  // To be called, by one thread, before the first step of this many rows.
  void prepare(int64_t rows) const;
  // What that must move and compute.
  Work work(int64_t rows, Range panels) const;

  // Memory that the weight takes, which is what one step reads; and with the bias.
  int64_t weight_bytes() const { return weight_.bytes(); }
  int64_t bytes() const { return weight_.bytes() + static_cast<int64_t>(bias_.size() * sizeof(float)); }
  int64_t macs() const { return weight_.rows * weight_.cols; }  // multiply-accumulates a token
  // Row `row` of the weight as floats: out[cols()].
  void decode_row(int64_t row, float* out) const { weight_.decode_row(row, out); }

 private:
  PackedWeight weight_;
  std::vector<float> bias_;  // padded to whole panels; empty: none
  int64_t activation_group_size_ = 0;
  PackingChoice choice_;
};

// Inputs that share an activation scale where a weight of this layout runs, of which its file asks for
// `asked` (0: all of a token); 0 for floats.
int64_t activation_group_size(const PackedLayout& weight, int64_t asked);
// Bytes of a bias beside such a weight.
inline int64_t bias_bytes(const PackedLayout& weight) {
  return weight.padded_rows() * static_cast<int64_t>(sizeof(float));
}

// The same rows for every linear that reads them: as floats, and as int8 codes once for each group size in
// use.
class LinearInput {
 public:
  LinearInput() = default;
  // Room for `rows` rows of up to `cols` inputs. group_sizes: what the linears of the model ask for; 0 needs
  // no room.
  LinearInput(int64_t rows, int64_t cols, const std::vector<int64_t>& group_sizes);
  // Floats from a row of `cols` inputs to the next: no power of two, so that neighbouring rows do not share
  // sets of the cache.
  static int64_t stride_of(int64_t cols) { return round_up(cols, panel_rows) + float_block; }
  // Bytes that such a room takes once all of it has been used.
  static int64_t bytes(int64_t rows, int64_t cols, const std::vector<int64_t>& group_sizes);

  // Row m as floats, to be written before quantize().
  float* row(int64_t m) { return floats_.data() + m * stride_; }
  int64_t stride() const { return stride_; }
  // Quantizes row m, of `cols` values, for the given linear. Any thread may take any row.
  void quantize(int64_t m, int64_t cols, int64_t group_size);

  FloatRows floats(int64_t rows) const { return {rows, stride_, floats_.data()}; }
  QuantizedRows codes(int64_t rows, int64_t cols, int64_t group_size) const;

 private:
  struct Codes {
    int64_t group_size;
    Buffer<int8_t> codes;
    Buffer<float> scales;
    Buffer<int32_t> sums;
  };
  int64_t stride_ = 0;
  Buffer<float> floats_;
  std::vector<Codes> codes_;
};

}  // namespace whittle
