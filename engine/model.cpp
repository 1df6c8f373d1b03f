#include "engine/model.h"

#include <algorithm>
#include <array>

namespace whittle {

Linear Model::load_linear(const Team& team, const std::string& module, int64_t rows, int64_t cols,
                          bool bias) {
  const WeightMatrix matrix = file_.weight(module, rows, cols);
  Packer packer(matrix);
  team.for_each(packer.panel_count(), [&](int64_t panel) { packer.pack(panel); });
  Linear linear;
  linear.weight = packer.take();
  file_.drop_pages(matrix.codes);
  if (bias) {
    linear.bias = file_.vector(module + ".bias", rows);
    linear.bias.resize(static_cast<size_t>(linear.weight.padded_rows()));
  }
  if (linear.weight.quantized()) {
    // Groups of weights are finer than what a file may ask for its activations: their scales meet group by
    // group.
    const int64_t asked = file_.activation_group_size(module);
    linear.activation_group_size = !linear.weight.row_scaled() ? linear.weight.group_size
                                   : asked                     ? round_up(asked, 8)
                                                               : linear.weight.padded_cols;
  }
  if (std::find(group_sizes_.begin(), group_sizes_.end(), linear.activation_group_size) == group_sizes_.end())
    group_sizes_.push_back(linear.activation_group_size);
  weight_bytes_ += linear.weight.bytes() + static_cast<int64_t>(linear.bias.size() * sizeof(float));
  decode_bytes_ += linear.weight.bytes();
  return linear;
}

Model::Model(const std::filesystem::path& folder, const Team& team)
    : file_(folder), spec_(read_model_spec(file_)) {
  const EmbeddingModules modules = embedding_modules(file_, spec_);
  // The largest tensor comes first, while nothing else is in memory beside it and its packed copy.
  lm_head_ = load_linear(team, modules.output, spec_.vocab_size, spec_.hidden_size, false);
  for (int64_t i = 0; i < spec_.num_hidden_layers; ++i) {
    DecoderLayer& layer = layers_.emplace_back();
    const std::array<Linear*, 7> linears = {&layer.q_proj,    &layer.k_proj,  &layer.v_proj,   &layer.o_proj,
                                            &layer.gate_proj, &layer.up_proj, &layer.down_proj};
    const std::vector<LinearShape> shapes = layer_linears(spec_, i);
    for (size_t j = 0; j < linears.size(); ++j) {
      *linears[j] = load_linear(team, shapes[j].name, shapes[j].rows, shapes[j].cols, shapes[j].bias);
      const int64_t macs = shapes[j].rows * shapes[j].cols;
      macs_ += macs;
      if (linears[j]->weight.quantized()) int8_macs_ += macs;
    }
    const std::string prefix = fmt::format("model.layers.{}.", i);
    layer.input_layernorm = file_.vector(prefix + "input_layernorm.weight", spec_.hidden_size);
    layer.post_attention_layernorm =
        file_.vector(prefix + "post_attention_layernorm.weight", spec_.hidden_size);
    weight_bytes_ += 2 * spec_.hidden_size * static_cast<int64_t>(sizeof(float));
    if (spec_.qk_norm) {
      layer.q_norm = file_.vector(prefix + "self_attn.q_norm.weight", spec_.head_dim);
      layer.k_norm = file_.vector(prefix + "self_attn.k_norm.weight", spec_.head_dim);
    }
  }
  norm_ = file_.vector("model.norm.weight", spec_.hidden_size);
  if (modules.input != modules.output)
    embedding_ = file_.weight(modules.input, spec_.vocab_size, spec_.hidden_size);
  file_.check_unchanged();
}

void Model::embed(int32_t id, float* out) const {
  if (embedding_.codes.empty()) return lm_head_.weight.decode_row(id, out);
  embedding_.decode_row(id, out);
  // The system maps far more than the row around it: left there, the whole embedding would be resident after
  // a prompt.
  file_.drop_pages(embedding_.codes);
}

}  // namespace whittle
