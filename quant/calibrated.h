#pragma once
// Layer by layer: each linear is quantized for the inputs that it will read, which come out of the embedding
// and the layers before it as they have become, codes, int8 activations and all.

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "bench/drift/drift.h"
#include "quant/block_tuning.h"
#include "quant/calibration.h"
#include "quant/gptq.h"
#include "quant/judge.h"
#include "quant/method.h"
#include "quant/recipe.h"
#include "quant/replaced_weights.h"
#include "quant/token_stream.h"
#include "quant/work_folder.h"

namespace whittle {

// How the linears of a layer become codes, once it is known what they read.
enum class LayerRounding : uint8_t {
  feedback,  // gptq.h
  blocks,    // grid_search.h
};

struct CalibratedOptions {
  LayerRounding rounding = LayerRounding::feedback;
  GptqOptions gptq;
  PruningMethod pruning = PruningMethod::alps;
  BlockTuningOptions block_tuning;  // with gptq.repair_inputs only, whose second stream it reads
  // Streams that take more than an eighth of so many bytes lie in files in the work folder.
  int64_t memory = int64_t{4} << 30;
  // Shown the model as it becomes; nullptr: nobody.
  Judge* judge = nullptr;
  // Of source's modules, those that are not the file's, and all as they are where they stay floats; nullptr:
  // as in source.
  std::function<bool(const Module&)> changed;
  const WeightSource* written = nullptr;
  // Before the names of what is kept there, where several runs share it.
  std::string prefix;
  // Shown each linear and what its inputs were, before it is quantized.
  std::function<void(const Module&, const WeightMatrix&, const InputStatistics&)> look;
};

class CalibratedMethod final : public Method {
 public:
  // What each module becomes is kept in `work`, and taken from there where it is already. All that is
  // referred to must outlive this.
  CalibratedMethod(const WeightSource& source, const QuantizationPlan& plan, const CalibrationText& text,
                   CalibratedOptions options, WorkFolder& work, const Team& team);

  std::string text() const override;
  void prepare(const StageProgress& progress) override;
  const WeightSource* changed(const Module& module) const override {
    return options_.changed && options_.changed(module) ? &source_ : nullptr;
  }
  // Modules outside of the layers are rounded to nearest.
  QuantizedMatrix quantize(const Module& module, const QuantizationScheme& scheme) override;

  // What becomes of modules that stay floats.
  const WeightSource& written() const { return options_.written ? *options_.written : source_; }

  // What the judge said of the result; after prepare().
  const std::optional<DriftReport>& drift() const { return drift_; }
  // What it says of these layers, with embedding and head as this method leaves them.
  DriftReport judge(const ReplacedWeights& layers) const;

  // Puts the embedding or the head into `weights` as it will be read: a tied matrix that becomes two is read
  // once as the one, once as the other.
  void use_outer(ReplacedWeights& weights, const Module& module, const std::string& written_as) const;

 private:
  InputStatistics statistics(const Module& reader, Hessian&& hessian, CrossMoment* cross) const;
  QuantizedMatrix round(const WeightMatrix& weights, const QuantizationScheme& scheme,
                        const InputStatistics& inputs, std::span<const float> pruned) const;
  QuantizedMatrix change(const WeightMatrix& weights, const PlannedModule& plan,
                         const InputStatistics& inputs) const;
  void run_layer(int64_t index);
  // The codes of the layer's linears, from what they read of the text.
  void quantize_layer(int64_t index);
  const PlannedModule* planned_linear(const Module& module) const;
  std::map<std::string, QuantizedMatrix> finished(int64_t index) const;
  void keep(const Module& module, const QuantizationScheme& scheme, const QuantizedMatrix& matrix);
  void use(const Module& module, const QuantizationScheme& scheme, const QuantizedMatrix& matrix);

  const WeightSource& source_;
  const QuantizationPlan& plan_;
  const CalibrationText& text_;
  const CalibratedOptions options_;
  WorkFolder& work_;
  const Team& team_;
  ReplacedWeights replaced_;                // as it has become: the outer modules, and the layer at hand
  std::optional<TokenStream> stream_;       // until prepare() has ended
  std::optional<TokenStream> unquantized_;  // the same text in the unquantized model, where a method asks
  std::optional<DriftReport> drift_;
};

}  // namespace whittle
