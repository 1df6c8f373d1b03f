#pragma once
// The one list of what a model is made of: every module that holds tensors, what it does, and its shape.
// Loading, checking, quantizing, exporting, synthesizing and inspecting all walk through it.

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "engine/model_spec.h"

namespace whittle {

class ModelFile;

// What a module does, in the order in which a token meets them.
enum class Role : uint8_t {
  embedding,
  position_embedding,
  embedding_norm,
  attention_norm,
  q,
  k,
  v,
  qkv,  // q, k and v as one linear: see QkvLayout
  q_norm,
  k_norm,
  o,
  mlp_norm,
  gate,
  up,
  down,
  final_norm,
  head,
};
inline constexpr int role_count = 17;

enum class ModuleKind : uint8_t {
  embedding,  // a row for each id
  norm,       // a vector
  linear,     // y = x · Wᵀ
};

struct RoleInfo {
  Role role;
  std::string_view name;
  ModuleKind kind;
  Role input;  // whose output it reads, in its layer; itself where that is the residual stream, or ids
};
const RoleInfo& info(Role role);

struct Module {
  std::string name;  // "model.layers.3.self_attn.q_proj": its tensors are name + ".weight", name + ".bias"
  Role role = Role::embedding;
  int32_t layer = -1;          // −1: before or after the layers
  int64_t rows = 0, cols = 0;  // [outputs, inputs] of a linear, [ids, values] of an embedding, [1, values]
  bool bias = false;           // of `rows` values; of a norm: `cols`
  bool transposed = false;     // as floats it lies as [cols, rows] on disk (GPT-2's Conv1D)

  ModuleKind kind() const { return info(role).kind; }
  bool matrix() const { return kind() != ModuleKind::norm; }
};

// A family's names. A file that holds the model without its head may leave `base` out.
struct ModuleNames {
  std::string_view base;                                       // "model."
  std::string_view layers;                                     // "layers.": then the layer's number
  std::span<const std::pair<Role, std::string_view>> modules;  // each role that the family may have
};

class Inventory {
 public:
  Inventory() = default;
  // `stored` says whether the files hold a matrix of a module, which decides what only a look can: under
  // which name a tied matrix lies, and whether `base` is left out. Without it: as Hugging Face would write.
  explicit Inventory(const ModelSpec& spec, const std::function<bool(const std::string&)>& stored = {});

  // In the order in which a token meets them. A tied head is not listed: the embedding is both.
  std::span<const Module> modules() const { return modules_; }
  std::span<const Module> layer(int64_t layer) const;
  const Module& embedding() const { return modules_[embedding_]; }
  const Module& head() const { return modules_[head_]; }
  bool tied() const { return embedding_ == head_; }
  // What an embedding and a head of their own are called.
  const std::string& embedding_name() const { return embedding_name_; }
  const std::string& head_name() const { return head_name_; }

  const Module* find(std::string_view name) const;
  // Outside the layers; nullptr where the model has none.
  const Module* find(Role role) const;
  // Of a layer. q, k and v of a fused projection: that one.
  const Module* find(int64_t layer, Role role) const;
  // The linears that read what this one reads, itself among them.
  std::vector<const Module*> readers_beside(const Module& linear) const;

 private:
  std::vector<Module> modules_;
  std::vector<size_t> layer_begin_;  // [layers + 1]
  size_t embedding_ = 0, head_ = 0;
  std::string embedding_name_, head_name_;
};

// Names as they stand in a model's files.
Inventory inventory_of(const ModelFile& file, const ModelSpec& spec);

// The rows of a layer's fused q, k and v projection that are those of `role`.
std::vector<int64_t> fused_rows(const ModelSpec& spec, int64_t layer, Role role);

}  // namespace whittle
