#include "quant/pruning/pruner.h"

#include <algorithm>
#include <array>

namespace whittle {
namespace {

constexpr std::array<std::string_view, 4> names = {"magnitude", "wanda", "sparsegpt", "alps"};
constexpr std::array methods = {prune_by_magnitude, prune_by_wanda, prune_by_sparsegpt, prune_by_alps};

}  // namespace

std::string_view name(PruningMethod method) { return names[static_cast<size_t>(method)]; }

std::span<const std::string_view> pruning_method_names() { return names; }

std::optional<PruningMethod> pruning_method_named(std::string_view name) {
  const auto found = std::ranges::find(names, name);
  if (found == names.end()) return std::nullopt;
  return static_cast<PruningMethod>(found - names.begin());
}

std::vector<float> prune(PruningMethod method, const PruningTask& task, const Team& team) {
  if (!task.sparsity) return {task.weights.begin(), task.weights.end()};
  return methods[static_cast<size_t>(method)](task, team);
}

}  // namespace whittle
