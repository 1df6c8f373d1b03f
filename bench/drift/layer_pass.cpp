#include "bench/drift/layer_pass.h"

namespace whittle {

LayerPass::LayerPass(const ModelSpec& spec, const std::vector<int64_t>& group_sizes, const Team& team,
                     KvFormat kv_cache, int64_t longest)
    : hidden_size_(spec.hidden_size),
      runner_(spec, group_sizes, team, longest, longest),
      cache_(spec, kv_cache, longest) {
  // Shown while the team runs, looked at when it is done.
  observer_.input = [this](int32_t, Role reader, FloatRows rows) {
    Copy& copy = inputs_[reader];
    copy.values.assign(rows.values, rows.values + rows.rows * rows.stride);
    copy.rows = {rows.rows, rows.stride, copy.values.data()};
  };
}

void LayerPass::begin(std::span<const int32_t> ids) {
  step_.clear();
  for (const int32_t id : ids) step_.push_back({id, &cache_, std::ssize(step_)});
}

void LayerPass::run(const DecoderLayer& layer, int64_t index, float* hidden, bool observed) {
  runner_.observe(observed ? &observer_ : nullptr);
  runner_.run_alone(layer, static_cast<int32_t>(index), step_, hidden, hidden_size_);
}

}  // namespace whittle
