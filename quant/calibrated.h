#pragma once
// Layer by layer: each linear is quantized for the inputs that it will read, which come out of the layers
// before it as they have become, codes, int8 activations and all. (The embedding stays as it was.)

#include <cstdint>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "engine/layer_runner.h"
#include "quant/calibration.h"
#include "quant/gptq.h"
#include "quant/method.h"
#include "quant/recipe.h"
#include "quant/replaced_weights.h"

namespace whittle {

class CalibratedMethod final : public Method {
 public:
  // Source, plan and team must outlive this.
  CalibratedMethod(const WeightSource& source, const QuantizationPlan& plan, CalibrationText text,
                   const GptqOptions& options, const Team& team);

  std::string text() const override;
  // Modules outside of the layers are rounded to nearest.
  QuantizedMatrix quantize(const Module& module, const QuantizationScheme& scheme) override;

 private:
  void run_layer(int64_t index);
  const QuantizedModule* planned(const Module& module) const;  // nullptr: not to be quantized
  void embed();
  // Takes all windows through a layer of these activation group sizes; what comes out becomes the stream if
  // `keep`.
  void pass(const DecoderLayer& layer, int64_t index, const std::vector<int64_t>& group_sizes, bool keep,
            const std::function<void(Role, FloatRows)>& seen);

  const WeightSource& source_;
  const QuantizationPlan& plan_;
  const CalibrationText text_;
  const GptqOptions options_;
  const Team& team_;
  ReplacedWeights replaced_;
  int64_t next_layer_ = 0;
  std::vector<float> hidden_;  // [tokens, hidden_size]: the residual stream before `next_layer_`
  std::map<std::string, QuantizedMatrix> done_;  // of the layer before that
};

}  // namespace whittle
