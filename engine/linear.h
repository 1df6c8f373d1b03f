#pragma once
// One linear layer ready to run, and the input rows that it reads.

#include <cstdint>
#include <vector>

#include "kernels/buffer.h"
#include "kernels/kernel_table.h"
#include "kernels/packed_weight.h"

namespace whittle {

struct Linear {
  PackedWeight weight;
  std::vector<float> bias;  // padded to whole panels; empty: none
  // Inputs that share an activation scale; 0 for float weights, whose inputs stay float32.
  int64_t activation_group_size = 0;
};

// The same rows for every linear that reads them: as floats, and as int8 codes once for each group size in
// use.
class LinearInput {
 public:
  LinearInput() = default;
  // Room for `rows` rows of up to `cols` inputs. group_sizes: what the linears of the model ask for; 0 needs
  // no room.
  LinearInput(int64_t rows, int64_t cols, const std::vector<int64_t>& group_sizes);

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
  int64_t stride_ = 0;  // no power of two, so that neighbouring rows do not share sets of the cache
  Buffer<float> floats_;
  std::vector<Codes> codes_;
};

// y = x · Wᵀ + bias for the first `rows` rows of `input` and the outputs of `panels`.
void apply(const Linear& linear, const LinearInput& input, int64_t rows, Range panels, MatmulOutput y);

}  // namespace whittle
