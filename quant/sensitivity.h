#pragma once
// What each tensor's format costs the whole model, measured: the figures that a budget is spent by.
//
// The model is calibrated with everything in the smallest format; then one tensor after the other is given
// the largest, only what comes after it runs again, and the KL divergence says what that saved. Formats
// between are taken to cost as much less as their outputs on the calibration text err less: the divergence
// is of second order in small errors, and so is that. All savings together are made to be what giving all
// tensors the largest format saves: so predictions end where that was measured.

#include <optional>
#include <string>
#include <vector>

#include "quant/calibrated.h"
#include "quant/solver.h"

namespace whittle {

// What a linear can become, the smallest first.
std::vector<ModuleFormat> candidate_formats();
// Inputs of an int8 linear with a scale a row that share an activation scale, in models of mixed formats.
inline constexpr int64_t mixed_activation_group_size = 32;

struct Sensitivity {
  double smallest_kl = 0;       // as planned: with every linear in the smallest format
  std::vector<Tensor> tensors;  // the layers' linears, in bytes; candidates as candidate_formats()
  // Embedding and head together, where the plan quantizes any: as planned, or both kept.
  std::optional<Tensor> outer;
};

// original: what divergence is measured from; source: it, or the same in other coordinates. plan: every
// linear that may be chosen for, in the smallest format. What was measured is kept in `work`.
Sensitivity measure_sensitivity(const WeightSource& original, const WeightSource& source,
                                const QuantizationPlan& plan, const CalibrationText& text,
                                const CalibratedOptions& options, WorkFolder& work, const Team& team,
                                const StageProgress& progress);

}  // namespace whittle
