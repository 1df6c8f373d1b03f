#pragma once
// Least squares for the linear at the end of attention or an MLP: its weights become those with which the
// residual stream behind it is nearest to the original model's, whatever was left out, in it or before it.

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/threads.h"
#include "quant/hessian.h"

namespace whittle {

// What such a linear reads (x, `cols` values), and what the stream behind it then lacks (e = original − ours,
// `rows` values). Where it has a bias, that is one weight more, of an input that is always 1.
class StreamStatistics {
 public:
  StreamStatistics(int64_t rows, int64_t cols, bool bias);

  // Tokens of one window, each counted with its `weight` [tokens]. judged: they decide what is kept, and are
  // not learned from.
  void add(const Team& team, FloatRows x, FloatRows e, std::span<const float> weight, bool judged);
  // Nothing can be added any more.
  void finish(const Team& team);

  int64_t rows() const { return rows_; }
  int64_t inputs() const { return cols_ + bias_; }  // the bias is the last
  int64_t cols() const { return cols_; }
  bool bias() const { return bias_; }
  const std::vector<float>& h() const { return h_; }              // [inputs, inputs], mean of x xᵀ
  const std::vector<float>& lacking() const { return lacking_; }  // [rows, inputs], mean of e xᵀ
  // What x varies by where a bias takes its mean: [cols, cols]; H itself where there is none.
  std::vector<float> varying() const;

  struct Judged {
    int64_t tokens = 0;
    std::vector<float> x, e;  // [tokens, inputs], [tokens, rows]
  };
  const Judged& judged() const { return judged_; }

 private:
  const int64_t rows_, cols_;
  const bool bias_;
  Hessian hessian_;
  CrossMoment moment_;
  std::vector<float> h_, lacking_;
  Judged judged_;
};

struct Fit {
  std::vector<float> weights;  // [rows, kept]
  std::vector<float> bias;     // [rows], what is added to it; or none
  // Σ|e|² of the judged tokens, with the weights as they were and as they are; 0 where nothing was tried.
  double before = 0, after = 0;
};
// weights [rows, cols]: as they were, for all inputs; kept: those that are read from now on, ascending.
//   w′ = w_S + (e + w_R·x_R) x_Sᵀ (x_S x_Sᵀ + λI)⁻¹
// with that λ, among some, that leaves the judged tokens least; w_S itself where none does better, or
// `fitted` is false, or no token is judged.
Fit fit_stream(const StreamStatistics& statistics, std::span<const float> weights,
               const std::vector<int64_t>& kept, bool fitted, const Team& team);

}  // namespace whittle
