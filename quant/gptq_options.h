#pragma once
// How error feedback goes about its work, and which of its refinements it uses.

namespace whittle {

struct GptqOptions {
  double damping = 0.01;  // λ, as a fraction of the mean of H's diagonal
  bool activation_order = true;
  // Error feedback with the scales as they are, then the scales that fit its codes best: so many times, the
  // best of all kept for each row.
  int rounds = 3;
  double ridge = 1e-3;  // holds fitted scales to the old ones, as a fraction of the system's diagonal
  // A weight that feedback has moved by δ has left the place where the error's gradient is zero: β·δ is held
  // back from what its rounding passes on (FOEM, arXiv 2507.11017; there 0.1 to 0.2). 0: GPTQ.
  double beta = 0.1;
  // Weights also make good what the quantized layers before have changed in the inputs (Qronos, arXiv
  // 2505.11695): see input_mismatch.h. Costs a second stream, that of the unquantized model.
  bool repair_inputs = true;
};

}  // namespace whittle
