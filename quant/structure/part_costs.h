#pragma once
// What fewer neurons of an MLP, or fewer heads of an attention, cost the whole model: the figures by which
// parts of different layers are chosen against each other.
//
// Within a half of a layer, inputs of its last linear are eliminated one after the other (elimination.h),
// which gives an order and, at each number that is left, the error of the outputs. At a few of these numbers
// the KL divergence is measured, with what stays fitted for its own outputs; between them it goes as the
// error does.

#include <filesystem>
#include <vector>

#include "quant/structure/measured_model.h"
#include "quant/structure/measurements.h"
#include "quant/structure/structure.h"

namespace whittle {

// One half of a layer: what it costs to keep less of it.
struct PartCosts {
  int64_t half = 0;   // as MeasuredModel numbers them
  int64_t parts = 0;  // neurons or key/value heads that it has
  int64_t weights_a_part = 0;
  std::vector<double> kl;  // [parts + 1]: with so many kept; nats a token
};

struct PartCostsOptions {
  std::function<bool(int64_t half)> wanted;  // measured; others are left out
  int64_t memory = int64_t{4} << 30;
  std::filesystem::path spill;
  Measurements& known;  // of this model and text
};

// windows: what inputs are seen on. model: measures, with nothing left out.
std::vector<PartCosts> measure_part_costs(const FolderWeights& source, MeasuredModel& model,
                                          const std::vector<std::vector<int32_t>>& windows,
                                          const PartCostsOptions& options, const Team& team,
                                          const StageProgress& progress);

// How many parts each may keep: multiples of a step that divides groups and panels where the parts are many.
int64_t part_step(int64_t parts);

}  // namespace whittle
