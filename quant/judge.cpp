#include "quant/judge.h"

#include <fmt/format.h>

namespace whittle {

Judge::Judge(const WeightSource& original, const Windows& windows, const std::filesystem::path& spill_folder,
             const Team& team, const StageProgress& progress)
    : original_(original),
      windows_(windows),
      team_(team),
      spill_folder_(spill_folder),
      baseline_(original.spec(), windows.ids, team, spill_folder) {
  baseline_.embed(original);
  const int64_t layers = original.spec().num_hidden_layers;
  for (int64_t i = 0; i < layers; ++i) {
    progress(i, layers, fmt::format("layer {}", i));
    baseline_.pass(load_layer(original, i, team), i, KvFormat::f32, true);
  }
}

void Judge::begin(const WeightSource& model) {
  model_.emplace(model.spec(), windows_.ids, team_, spill_folder_);
  model_->embed(model);
}

void Judge::pass(const DecoderLayer& layer, int64_t index) {
  model_->pass(layer, index, KvFormat::f16, true);
}

DriftReport Judge::end(const WeightSource& model) {
  OutputHead baseline(original_, team_), head(model, team_);
  return compare(windows_, baseline_, baseline, *model_, head, team_);
}

}  // namespace whittle
