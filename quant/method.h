#pragma once
// How a module's floats become codes: a file a method, chosen by the recipe.

#include <string>

#include "engine/inventory.h"
#include "quant/quantized_matrix.h"

namespace whittle {

class Method {
 public:
  virtual ~Method() = default;
  // For the provenance in the file.
  virtual std::string text() const = 0;
  // The codes of `module`, whose values are finite. Modules come in the plan's order: layer by layer.
  virtual QuantizedMatrix quantize(const Module& module, const QuantizationScheme& scheme) = 0;
};

}  // namespace whittle
