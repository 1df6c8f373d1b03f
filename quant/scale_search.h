#pragma once
// How much to scale each channel (scaling.h) before its readers are quantized.

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/model_spec.h"
#include "kernels/threads.h"
#include "quant/gptq.h"

namespace whittle {

// A linear that reads the channels, and how it will be stored.
struct ScaledReader {
  std::string name;      // for errors
  WeightMatrix weights;  // [outputs, inputs], before scaling
  QuantizationScheme scheme;
};

struct ScaleSearch {
  std::vector<float> scales;  // [channels]
  // Σ (w − ŵ) H (w − ŵ)ᵀ over the readers' rows, rounded to nearest with each input's importance: with these
  // scales, and without.
  double loss = 0, unscaled_loss = 0;
};

// AWQ (arXiv 2306.00978): s = magnitude^α, the α of 0, 0.05, … 0.95 whose rounding costs the readers' outputs
// least; α = 0 is no scaling, so that nothing is ever lost. (The paper's search of clips comes after this,
// and is not here.) `inputs`: of the readers, H and importance; the magnitude of an input is the root of its
// mean square. Readers are those that will be quantized, at least one.
ScaleSearch awq_scales(const ModelSpec& spec, int64_t layer, Role producer,
                       std::span<const ScaledReader> readers, const InputStatistics& inputs,
                       const Team& team);

// SmoothQuant (arXiv 2211.10438), for activations of 8 bits: s = max|x|^α / max|w|^(1 − α), which makes α of
// what is uneven in the activations uneven in the weights instead. largest: max|x| of every input.
std::vector<float> smoothquant_scales(const ModelSpec& spec, int64_t layer, Role producer,
                                      std::span<const ScaledReader> readers, std::span<const float> largest,
                                      double alpha);

}  // namespace whittle
