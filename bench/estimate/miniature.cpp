#include "bench/estimate/miniature.h"

#include <algorithm>
#include <cmath>

namespace whittle {
namespace {

int64_t part_of(int64_t whole, double share) {
  return std::clamp<int64_t>(std::llround(share * static_cast<double>(whole)), std::min<int64_t>(whole, 1),
                             whole);
}

}  // namespace

ModelSpec miniature_of(const ModelSpec& spec, double share) {
  if (share >= 1) return spec;
  ModelSpec out = spec;
  const int64_t layers = spec.num_hidden_layers;
  out.num_hidden_layers = part_of(layers, share);
  const double kept = static_cast<double>(out.num_hidden_layers) / static_cast<double>(layers);
  out.layers.clear();
  for (int64_t i = 0; i < out.num_hidden_layers; ++i)
    out.layers.push_back(spec.layer((2 * i + 1) * layers / (2 * out.num_hidden_layers)));
  // What one layer is too large for, a narrower one does; heads come whole, and the MLP as many times
  // narrower as there are fewer of them.
  const double width = std::min(1.0, share / kept);
  const int64_t heads = part_of(spec.num_key_value_heads, width);
  const double narrowed = spec.num_key_value_heads
                              ? static_cast<double>(heads) / static_cast<double>(spec.num_key_value_heads)
                              : width;
  if (width < 0.75)
    for (LayerShape& layer : out.layers)
      layer = {part_of(layer.intermediate_size, narrowed), part_of(layer.num_key_value_heads, narrowed)};
  out.max_window_layers = std::min(out.num_hidden_layers, part_of(spec.max_window_layers, kept));
  out.vocab_size = part_of(spec.vocab_size, width < 0.75 ? kept * narrowed : kept);
  return out;
}

}  // namespace whittle
