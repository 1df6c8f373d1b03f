#pragma once
// A calibrated model, tuned end to end before it is written.

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "quant/calibrated.h"
#include "quant/tuning.h"

namespace whittle {

class TunedMethod final : public Method {
 public:
  // calibrated: with a judge. stored: a norm's weight as the file will hold it. All that is referred to must
  // outlive this.
  TunedMethod(std::unique_ptr<CalibratedMethod> calibrated, const WeightSource& source,
              const QuantizationPlan& plan, const std::vector<std::vector<int32_t>>& training,
              const TuningOptions& options, std::function<float(const Module& norm, float weight)> stored,
              WorkFolder& work, const Team& team);

  std::string text() const override;
  // The calibrated method is prepared already. Goes on from what is kept in `work`.
  void prepare(const StageProgress& progress) override;
  const WeightSource* changed(const Module& module) const override;
  QuantizedMatrix quantize(const Module& module, const QuantizationScheme& scheme) override;

  // What the held-out windows say of the result; after prepare().
  const DriftReport& drift() const { return *drift_; }

 private:
  const std::unique_ptr<CalibratedMethod> calibrated_;
  const WeightSource& source_;
  const QuantizationPlan& plan_;
  const std::vector<std::vector<int32_t>>& training_;
  const TuningOptions options_;
  const std::function<float(const Module& norm, float weight)> stored_;
  WorkFolder& work_;
  const Team& team_;
  TuningResult result_;
  ReplacedWeights tuned_;  // its norms
  std::optional<DriftReport> drift_;
};

}  // namespace whittle
