#pragma once
// What `prune` and `quantize` ask about weights that become zero.

#include <CLI/CLI.hpp>
#include <string>

#include "quant/recipe.h"

namespace whittle {

struct PruningOptions {
  double sparsity = 0;
  std::string pattern, method, allocation = "uniform";
  bool sparse_storage = false;
};

// --sparsity and --pattern, of which one can be given; `command` may be a group of options.
void add_sparsity(CLI::App& command, PruningOptions& options);
// And --allocate, --sparse-storage. method_flag: "--method", or what else it is called beside other methods.
void add_pruning_method(CLI::App& command, PruningOptions& options, const char* method_flag);
// Into a recipe whose method is decided: one that looks at the weights alone prunes by magnitude.
void apply_pruning(const PruningOptions& options, const CLI::App& command, const char* method_flag,
                   Recipe& recipe);

}  // namespace whittle
