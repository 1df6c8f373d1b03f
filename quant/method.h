#pragma once
// How a module's floats become codes: a file a method, chosen by the recipe.

#include <cstdint>
#include <functional>
#include <string>

#include "engine/inventory.h"
#include "engine/weight_source.h"
#include "quant/quantized_matrix.h"

namespace whittle {

// How far a stage is, in steps of its own, and what is being worked on.
using StageProgress = std::function<void(int64_t done, int64_t total, const std::string& what)>;

class Method {
 public:
  virtual ~Method() = default;
  // For the provenance in the file.
  virtual std::string text() const = 0;
  // What has to be known of the whole model before the first module can be written. Values are finite.
  virtual void prepare(const StageProgress&) {}
  // Who has the values of a module that stays floats but is no longer the file's; nullptr: it is.
  virtual const WeightSource* changed(const Module&) const { return nullptr; }
  // The codes of `module`, whose values are finite; after prepare().
  virtual QuantizedMatrix quantize(const Module& module, const QuantizationScheme& scheme) = 0;
};

}  // namespace whittle
