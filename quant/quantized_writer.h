#pragma once
// The tensors of a quantized model, written one by one: what is kept as it was, then codes module by module.

#include <cstdint>
#include <string>
#include <vector>

#include "engine/files/safetensors_writer.h"
#include "engine/weight_source.h"
#include "kernels/threads.h"
#include "quant/method.h"
#include "quant/recipe.h"

namespace whittle {

// What writing the modules showed.
struct QuantizedWeights {
  int64_t modules = 0;
  // Stored bits of each weight, scales and zero points included, and Σ(w − ŵ)² / Σw².
  double bits_per_weight = 0, relative_error = 0;
  double zeros = 0;  // the part of the weights of pruned modules that is zero
  // Of the outputs on the calibration text, √(Σ(y − ŷ)² / Σy²), where a method looked at it: by the rounding
  // of the weights, worst first, and of the inputs.
  struct ModuleError {
    std::string module;
    double relative = 0, by_inputs = 0;
  };
  std::vector<ModuleError> output_errors;
};

// Every tensor of the output, in the source's order, quantized modules in the plan's order after what is
// kept.
std::vector<TensorInfo> outline(const FolderWeights& source, const QuantizationPlan& plan);

class QuantizedWriter {
 public:
  // All must outlive this.
  QuantizedWriter(const FolderWeights& source, const QuantizationPlan& plan, Method& method, const Team& team,
                  const StageProgress& progress);

  // Throws Error for a value that is not finite (it names tensor and index) and for weights that no scale
  // stands for (tensor, row and group).
  QuantizedWeights write(SafetensorsWriter& writer);

 private:
  void advance(const TensorView& tensor, const std::string& module);
  void copy(const TensorView& tensor, const std::string& name, SafetensorsWriter& writer);
  // Whether it wrote the tensor, as the method has changed its module.
  bool write_changed(const TensorView& tensor, const std::string& name, SafetensorsWriter& writer);
  void count_zeros(const WeightMatrix& matrix);
  // Of a module that is only pruned, as its file has it; returns the bytes.
  int64_t write_floats(const PlannedModule& module, const WeightMatrix& matrix, SafetensorsWriter& writer);
  void write_module(const PlannedModule& module, SafetensorsWriter& writer);

  const FolderWeights& source_;
  const ModelFile& file_;
  const QuantizationPlan& plan_;
  Method& method_;
  const Team& team_;
  const StageProgress& progress_;
  QuantizedWeights written_;
  int64_t done_bytes_ = 0, total_bytes_ = 0;
  int64_t stored_bytes_ = 0, weights_ = 0;
  int64_t zeros_ = 0, pruned_ = 0;  // weights
  double error_ = 0, power_ = 0;
};

}  // namespace whittle
