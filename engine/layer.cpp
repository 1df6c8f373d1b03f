#include "engine/layer.h"

#include <algorithm>

namespace whittle {
namespace {

Linear pack(const WeightMatrix& matrix, std::vector<float> bias, const WeightSource& source,
            const Module& module, const Team& team) {
  const PackingChoice choice = choose_packing(source, module, matrix, team);
  Packer packer(matrix, choice.taken);
  team.for_each(packer.panel_count(), [&](int64_t panel) { packer.pack(panel); });
  return {packer.take(), std::move(bias), source.activation_group_size(module), choice};
}

// q, k and v out of a projection that holds all three.
void load_fused(const WeightSource& source, const Module& module, DecoderLayer& layer, const Team& team) {
  const WeightMatrix matrix = source.matrix(module);
  const std::vector<float> biases = module.bias ? source.bias(module) : std::vector<float>();
  const std::pair<Role, Linear*> parts[] = {{Role::q, &layer.q}, {Role::k, &layer.k}, {Role::v, &layer.v}};
  for (const auto& [role, linear] : parts) {
    const std::vector<int64_t> rows = fused_rows(source.spec(), module.layer, role);
    std::vector<float> bias;
    for (const int64_t row : rows)
      if (module.bias) bias.push_back(biases[static_cast<size_t>(row)]);
    *linear = pack(take_rows(matrix, rows), std::move(bias), source, module, team);
  }
  source.release(matrix);
}

}  // namespace

Linear load_linear(const WeightSource& source, const Module& module, const Team& team) {
  const WeightMatrix matrix = source.matrix(module);
  Linear linear =
      pack(matrix, module.bias ? source.bias(module) : std::vector<float>(), source, module, team);
  source.release(matrix);
  return linear;
}

Norm load_norm(const WeightSource& source, const Module& module) {
  return {source.weight_vector(module), module.bias ? source.bias(module) : std::vector<float>()};
}

std::vector<int64_t> DecoderLayer::activation_group_sizes() const {
  std::vector<int64_t> sizes;
  for (const Linear* linear : linears())
    if (*linear && std::ranges::find(sizes, linear->activation_group_size()) == sizes.end())
      sizes.push_back(linear->activation_group_size());
  return sizes;
}

DecoderLayer load_layer(const WeightSource& source, int64_t layer, const Team& team) {
  const Inventory& inventory = source.inventory();
  DecoderLayer out;
  const std::pair<Role, Norm*> norms[] = {{Role::attention_norm, &out.attention_norm},
                                          {Role::mlp_norm, &out.mlp_norm}};
  for (const auto& [role, norm] : norms)
    if (const Module* module = inventory.find(layer, role)) *norm = load_norm(source, *module);
  const std::pair<Role, std::vector<float>*> head_norms[] = {{Role::q_norm, &out.q_norm},
                                                             {Role::k_norm, &out.k_norm}};
  for (const auto& [role, norm] : head_norms)
    if (const Module* module = inventory.find(layer, role)) *norm = source.weight_vector(*module);
  const std::pair<Role, Linear*> linears[] = {
      {Role::q, &out.q},       {Role::k, &out.k},   {Role::v, &out.v},      {Role::o, &out.o},
      {Role::gate, &out.gate}, {Role::up, &out.up}, {Role::down, &out.down}};
  for (const auto& [role, linear] : linears)
    if (const Module* module = inventory.find(layer, role); module && module->role == role)
      *linear = load_linear(source, *module, team);
  if (const Module* fused = inventory.find(layer, Role::qkv)) load_fused(source, *fused, out, team);
  return out;
}

}  // namespace whittle
