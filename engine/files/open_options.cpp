#include "engine/files/open_options.h"

#include <algorithm>

namespace whittle {

static std::set<std::string, std::less<>> allowed;
static bool float_inputs = false;
static SparseUse sparse = SparseUse::automatic;

void allow_field(const std::string& name) { allowed.insert(name); }

const std::set<std::string, std::less<>>& allowed_fields() { return allowed; }

void keep_float_inputs() { float_inputs = true; }

bool float_inputs_kept() { return float_inputs; }

void use_sparse(SparseUse use) { sparse = use; }

SparseUse sparse_use() { return sparse; }

static constexpr std::string_view sparse_uses[] = {"auto", "never", "always"};

std::string_view name(SparseUse use) { return sparse_uses[static_cast<size_t>(use)]; }

std::optional<SparseUse> sparse_use_named(std::string_view name) {
  const auto* found = std::ranges::find(sparse_uses, name);
  if (found == std::ranges::end(sparse_uses)) return std::nullopt;
  return static_cast<SparseUse>(found - sparse_uses);
}

}  // namespace whittle
