#pragma once
// Windows of tokens through single layers, one window after the other, and copies of what linears read.

#include <cstdint>
#include <map>
#include <span>
#include <vector>

#include "engine/kv_cache.h"
#include "engine/layer_runner.h"

namespace whittle {

class LayerPass {
 public:
  // group_sizes: of the layers' activations. Windows of at most `longest` tokens. Team must outlive this.
  LayerPass(const ModelSpec& spec, const std::vector<int64_t>& group_sizes, const Team& team,
            KvFormat kv_cache, int64_t longest);
  LayerPass(const LayerPass&) = delete;
  LayerPass& operator=(const LayerPass&) = delete;

  // From here on, rows are those of these tokens.
  void begin(std::span<const int32_t> ids);
  // Layer `index` over hidden [tokens, hidden_size], which it changes. The same bits as within a model.
  void run(const DecoderLayer& layer, int64_t index, float* hidden, bool observed);

  struct Copy {
    std::vector<float> values;
    FloatRows rows;
  };
  using Inputs = std::map<Role, Copy>;
  // What linears read in the last run that was observed, by the role that Observer gives them.
  Inputs& inputs() { return inputs_; }
  const LayerRunner& runner() const { return runner_; }

 private:
  const int64_t hidden_size_;
  LayerRunner runner_;
  KvCache cache_;
  Observer observer_;
  std::vector<DecoderRow> step_;
  Inputs inputs_;
};

}  // namespace whittle
