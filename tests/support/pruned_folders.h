#pragma once
// A model folder without parts of its layers, and the same model with these parts there and adding nothing:
// both made from a folder of any family, without the product's pruning.

#include <algorithm>
#include <numeric>
#include <string>
#include <vector>

#include "engine/weight_source.h"
#include "tests/support/tiny_model.h"

namespace whittle::test {

// Of a layer, ascending; none: no MLP, or no attention.
struct Kept {
  std::vector<int64_t> neurons, kv_heads;
};

inline std::vector<int64_t> runs(const std::vector<int64_t>& blocks, int64_t width) {
  std::vector<int64_t> all;
  for (const int64_t block : blocks)
    for (int64_t i = 0; i < width; ++i) all.push_back(block * width + i);
  return all;
}

// Along one axis, these places of a matrix or vector; or zeros in all others.
inline RawTensor cut(const RawTensor& tensor, size_t axis, const std::vector<int64_t>& kept, bool zeros) {
  const auto size = static_cast<int64_t>(tensor.dtype == "F32" ? 4 : 2), all = tensor.shape[axis],
             inner = axis + 1 < tensor.shape.size() ? tensor.shape[axis + 1] : 1,
             outer = axis ? tensor.shape[0] : 1;
  RawTensor out = tensor;
  out.bytes.clear();
  for (int64_t o = 0; o < outer; ++o)
    for (int64_t i = 0; i < all; ++i) {
      const std::string piece = tensor.bytes.substr(static_cast<size_t>((o * all + i) * inner * size),
                                                    static_cast<size_t>(inner * size));
      if (std::ranges::find(kept, i) != kept.end())
        out.bytes += piece;
      else if (zeros)
        out.bytes += std::string(piece.size(), '\0');
    }
  if (!zeros) out.shape[axis] = std::ssize(kept);
  return out;
}

// `kept` of each layer. zeros: all parts stay, and those that are not kept add nothing. config.json says with
// whittle_layers what layers have.
inline std::filesystem::path write_pruned(const std::filesystem::path& source,
                                          const std::filesystem::path& folder, const std::vector<Kept>& kept,
                                          bool zeros) {
  const FolderWeights weights(source);
  const ModelSpec& spec = weights.spec();
  const int64_t dim = spec.head_dim, heads = spec.num_key_value_heads, group = spec.query_group();
  std::vector<RawTensor> tensors;
  for (const TensorView& view : weights.file().tensors()) {
    RawTensor tensor{view.name,
                     std::string(name(view.dtype)),
                     view.shape,
                     {reinterpret_cast<const char*>(view.bytes.data()), view.bytes.size()}};
    const size_t dot = view.name.rfind('.');
    const Module* module = weights.inventory().find(view.name.substr(0, dot));
    if (!module || module->layer < 0) {
      tensors.push_back(std::move(tensor));
      continue;
    }
    const Kept& of_layer = kept[static_cast<size_t>(module->layer)];
    const bool bias = view.name.ends_with(".bias"), attention = module->role < Role::mlp_norm,
               gone = attention ? of_layer.kv_heads.empty() : of_layer.neurons.empty();
    const size_t outputs = !bias && module->transposed, inputs = 1 - outputs;
    const bool end = module->role == Role::o || module->role == Role::down;
    if (gone && zeros && end) tensor.bytes.assign(tensor.bytes.size(), '\0');
    if (gone && zeros) tensors.push_back(std::move(tensor));
    if (gone) continue;
    const std::vector<int64_t> queries = runs(of_layer.kv_heads, group * dim),
                               keys = runs(of_layer.kv_heads, dim);
    if (end) {
      if (!bias) tensor = cut(tensor, inputs, module->role == Role::o ? queries : of_layer.neurons, zeros);
    } else if (!zeros && module->kind() == ModuleKind::linear) {
      std::vector<int64_t> rows = module->role == Role::q                              ? queries
                                  : module->role == Role::k || module->role == Role::v ? keys
                                                                                       : of_layer.neurons;
      if (module->role == Role::qkv && spec.qkv_layout == QkvLayout::by_head)
        rows = runs(of_layer.kv_heads, 3 * dim);
      if (module->role == Role::qkv && spec.qkv_layout == QkvLayout::by_part) {
        std::vector<int64_t> blocks;
        for (int64_t part = 0; part < 3; ++part)
          for (const int64_t head : of_layer.kv_heads) blocks.push_back(part * heads + head);
        rows = runs(blocks, dim);
      }
      tensor = cut(tensor, outputs, rows, false);
    }
    tensors.push_back(std::move(tensor));
  }
  nlohmann::json config = weights.file().config();
  if (!zeros)
    for (const Kept& layer : kept)
      config["whittle_layers"].push_back(
          {{"intermediate_size", layer.neurons.size()}, {"num_key_value_heads", layer.kv_heads.size()}});
  std::filesystem::create_directories(folder);
  write_text(folder / "config.json", config.dump());
  write_safetensors(folder / "model.safetensors", tensors);
  return folder;
}

}  // namespace whittle::test
