#include "engine/inventory.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "engine/architectures.h"
#include "engine/files/model_file.h"
#include "kernels/error.h"

namespace whittle {
namespace {

// clang-format off
constexpr std::array<RoleInfo, role_count> roles = {{
    {Role::embedding,          "embedding",          ModuleKind::embedding, Role::embedding},
    {Role::position_embedding, "position embedding", ModuleKind::embedding, Role::position_embedding},
    {Role::embedding_norm,     "embedding norm",     ModuleKind::norm,      Role::embedding},
    {Role::attention_norm,     "attention norm",     ModuleKind::norm,      Role::attention_norm},
    {Role::q,                  "q",                  ModuleKind::linear,    Role::attention_norm},
    {Role::k,                  "k",                  ModuleKind::linear,    Role::attention_norm},
    {Role::v,                  "v",                  ModuleKind::linear,    Role::attention_norm},
    {Role::qkv,                "qkv",                ModuleKind::linear,    Role::attention_norm},
    {Role::q_norm,             "q norm",             ModuleKind::norm,      Role::q},
    {Role::k_norm,             "k norm",             ModuleKind::norm,      Role::k},
    {Role::o,                  "o",                  ModuleKind::linear,    Role::v},
    {Role::mlp_norm,           "MLP norm",           ModuleKind::norm,      Role::mlp_norm},
    {Role::gate,               "gate",               ModuleKind::linear,    Role::mlp_norm},
    {Role::up,                 "up",                 ModuleKind::linear,    Role::mlp_norm},
    {Role::down,               "down",               ModuleKind::linear,    Role::up},
    {Role::final_norm,         "final norm",         ModuleKind::norm,      Role::final_norm},
    {Role::head,               "head",               ModuleKind::linear,    Role::final_norm},
}};
// clang-format on

bool in_layers(Role role) { return role >= Role::attention_norm && role <= Role::down; }

bool is_present(const ModelSpec& spec, Role role, int64_t layer) {
  if (layer >= 0) {
    const LayerShape shape = spec.layer(layer);
    if ((role >= Role::mlp_norm ? shape.intermediate_size : shape.num_key_value_heads) == 0) return false;
  }
  const bool fused = spec.qkv_layout != QkvLayout::separate;
  switch (role) {
    case Role::position_embedding: return spec.positions == Positions::learned;
    case Role::embedding_norm: return spec.embedding_norm;
    case Role::q:
    case Role::k:
    case Role::v: return !fused;
    case Role::qkv: return fused;
    case Role::q_norm:
    case Role::k_norm: return spec.qk_norm;
    case Role::gate: return spec.gated_mlp;
    case Role::head: return !spec.tie_word_embeddings;
    default: return true;
  }
}

// Shape and bias by role; everything else about a module is its name.
Module describe(const ModelSpec& spec, Role role, int64_t layer) {
  const int64_t hidden = spec.hidden_size, inner = layer < 0 ? 0 : spec.layer(layer).intermediate_size,
                q_size = layer < 0 ? 0 : spec.q_size(layer), kv_size = layer < 0 ? 0 : spec.kv_size(layer);
  const bool norm_bias = spec.norm == NormType::layer;
  Module module;
  module.role = role;
  const auto is = [&](int64_t rows, int64_t cols, bool bias) {
    module.rows = rows;
    module.cols = cols;
    module.bias = bias;
  };
  switch (role) {
    case Role::embedding: is(spec.vocab_size, hidden, false); break;
    case Role::position_embedding: is(spec.max_position_embeddings, hidden, false); break;
    case Role::embedding_norm:
    case Role::attention_norm:
    case Role::mlp_norm:
    case Role::final_norm: is(1, hidden, norm_bias); break;
    case Role::q_norm:
    case Role::k_norm: is(1, spec.head_dim, false); break;
    case Role::q: is(q_size, hidden, spec.qkv_bias); break;
    case Role::k:
    case Role::v: is(kv_size, hidden, spec.qkv_bias); break;
    case Role::qkv: is(q_size + 2 * kv_size, hidden, spec.qkv_bias); break;
    case Role::o: is(hidden, q_size, spec.attention_output_bias); break;
    case Role::gate:
    case Role::up: is(inner, hidden, spec.mlp_bias); break;
    case Role::down: is(hidden, inner, spec.mlp_bias); break;
    case Role::head: is(spec.vocab_size, hidden, false); break;
  }
  module.transposed = spec.conv1d && in_layers(role) && module.kind() == ModuleKind::linear;
  return module;
}

std::string_view name_of(const ModuleNames& names, Role role) {
  const auto found = std::ranges::find(names.modules, role, &std::pair<Role, std::string_view>::first);
  if (found == names.modules.end())
    fail("the family of {} has no name for its {}", names.layers, info(role).name);
  return found->second;
}

}  // namespace

const RoleInfo& info(Role role) { return roles[static_cast<size_t>(role)]; }

Inventory::Inventory(const ModelSpec& spec, const std::function<bool(const std::string&)>& stored) {
  const ModuleNames& names = find_architecture(spec.model_type).family.names;
  const std::string plain(name_of(names, Role::embedding)), with_base = std::string(names.base) + plain;
  const bool based = !stored || stored(with_base) || !stored(plain);
  const std::string base(based ? names.base : "");
  embedding_name_ = base + plain;
  head_name_ = name_of(names, Role::head);

  const auto add = [&](Role role, int32_t layer) {
    Module module = describe(spec, role, layer);
    module.layer = layer;
    const std::string prefix = layer < 0 ? base : fmt::format("{}{}{}.", base, names.layers, layer);
    module.name = role == Role::head ? head_name_ : prefix + std::string(name_of(names, role));
    modules_.push_back(std::move(module));
  };
  const auto add_from = [&](Role first, Role last, int32_t layer) {
    for (const RoleInfo& row : roles)
      if (row.role >= first && row.role <= last && is_present(spec, row.role, layer)) add(row.role, layer);
  };
  add_from(Role::embedding, Role::embedding_norm, -1);
  for (int32_t layer = 0; layer < spec.num_hidden_layers; ++layer) {
    layer_begin_.push_back(modules_.size());
    add_from(Role::attention_norm, Role::down, layer);
  }
  layer_begin_.push_back(modules_.size());
  add_from(Role::final_norm, Role::head, -1);
  if (!spec.tie_word_embeddings)
    head_ = modules_.size() - 1;
  else if (stored && !stored(embedding_name_) && stored(head_name_))
    modules_[embedding_].name = head_name_;
}

std::span<const Module> Inventory::layer(int64_t layer) const {
  const auto i = static_cast<size_t>(layer);
  return std::span(modules_).subspan(layer_begin_[i], layer_begin_[i + 1] - layer_begin_[i]);
}

const Module* Inventory::find(std::string_view name) const {
  const auto found = std::ranges::find(modules_, name, &Module::name);
  return found == modules_.end() ? nullptr : &*found;
}

const Module* Inventory::find(Role role) const {
  const auto found = std::ranges::find_if(
      modules_, [&](const Module& module) { return module.layer < 0 && module.role == role; });
  return found == modules_.end() ? nullptr : &*found;
}

const Module* Inventory::find(int64_t layer, Role role) const {
  const auto of = [&](Role wanted) {
    const std::span<const Module> modules = this->layer(layer);
    const auto found = std::ranges::find(modules, wanted, &Module::role);
    return found == modules.end() ? nullptr : &*found;
  };
  const Module* module = of(role);
  return module || role < Role::q || role > Role::v ? module : of(Role::qkv);
}

std::vector<const Module*> Inventory::readers_beside(const Module& linear) const {
  std::vector<const Module*> readers;
  for (const Module& module : modules_)
    if (module.layer == linear.layer && module.kind() == ModuleKind::linear &&
        info(module.role).input == info(linear.role).input)
      readers.push_back(&module);
  return readers;
}

Inventory inventory_of(const ModelFile& file, const ModelSpec& spec) {
  return Inventory(spec, [&](const std::string& module) { return file.has_weight(module); });
}

std::vector<int64_t> fused_rows(const ModelSpec& spec, int64_t layer, Role role) {
  const int64_t part = role == Role::q   ? 0
                       : role == Role::k ? 1
                                         : 2,
                q_size = spec.q_size(layer), kv_size = spec.kv_size(layer);
  std::vector<int64_t> rows(static_cast<size_t>(part == 0 ? q_size : kv_size));
  const int64_t first = part == 0 ? 0 : q_size + (part - 1) * kv_size;
  for (size_t i = 0; i < rows.size(); ++i) {
    const auto row = static_cast<int64_t>(i);
    rows[i] = spec.qkv_layout == QkvLayout::by_part
                  ? first + row
                  : (row / spec.head_dim * 3 + part) * spec.head_dim + row % spec.head_dim;
  }
  return rows;
}

}  // namespace whittle
