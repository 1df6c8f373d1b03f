#pragma once
// The weights alone: the smallest of every module pruned, the others rounded to nearest.

#include <functional>
#include <string>

#include "quant/method.h"
#include "quant/recipe.h"

namespace whittle {

class RoundedMethod final : public Method {
 public:
  // changed: which of source's modules are not the file's. All that is referred to must outlive this.
  RoundedMethod(const WeightSource& source, const QuantizationPlan& plan,
                std::function<bool(const Module&)> changed, const Team& team)
      : source_(source), plan_(plan), changed_(std::move(changed)), team_(team) {}
  std::string text() const override;
  const WeightSource* changed(const Module& module) const override {
    return changed_ && changed_(module) ? &source_ : nullptr;
  }
  QuantizedMatrix quantize(const Module& module, const QuantizationScheme& scheme) override;

 private:
  const WeightSource& source_;
  const QuantizationPlan& plan_;
  const std::function<bool(const Module&)> changed_;
  const Team& team_;
};

}  // namespace whittle
