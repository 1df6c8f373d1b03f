#pragma once
// The weights alone: every module rounded to nearest.

#include <functional>
#include <string>

#include "quant/method.h"

namespace whittle {

class RoundedMethod final : public Method {
 public:
  // changed: which of source's modules are not the file's. Source and team must outlive this.
  RoundedMethod(const WeightSource& source, std::function<bool(const Module&)> changed, const Team& team)
      : source_(source), changed_(std::move(changed)), team_(team) {}
  std::string text() const override { return "round to nearest, scales by least squared error"; }
  const WeightSource* changed(const Module& module) const override {
    return changed_ && changed_(module) ? &source_ : nullptr;
  }
  QuantizedMatrix quantize(const Module& module, const QuantizationScheme& scheme) override {
    return round_to_nearest(source_, module, scheme, team_);
  }

 private:
  const WeightSource& source_;
  const std::function<bool(const Module&)> changed_;
  const Team& team_;
};

}  // namespace whittle
