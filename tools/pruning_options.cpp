#include "tools/pruning_options.h"

#include "tools/options.h"

namespace whittle {

void add_sparsity(CLI::App& command, PruningOptions& options) {
  command
      .add_option("--sparsity", options.sparsity,
                  "This part of each linear's weights, wherever it costs least")
      ->type_name("PART")
      ->check(number(1e-9, 1, "more than 0, up to 1"));
  command
      .add_option("--pattern", options.pattern,
                  "All but N of every M inputs that lie side by side, such as 2:4 or 4:8; M up to 16")
      ->type_name("N:M")
      ->check(CLI::Validator(
          [](const std::string& text) {
            return pattern_named(text) ? "" : "expected N:M with 0 < N < M ≤ 16, found " + text;
          },
          ""));
}

void add_pruning_method(CLI::App& command, PruningOptions& options, const char* method_flag) {
  const std::vector<std::string> methods(pruning_method_names().begin(), pruning_method_names().end());
  command
      .add_option(method_flag, options.method,
                  "Which weights go. magnitude: the smallest; wanda: the smallest, times the size of their "
                  "inputs; sparsegpt: column by column, the others make good for it; alps, the default: "
                  "searched and then fitted")
      ->check(CLI::IsMember(methods));
  command
      .add_option(
          "--allocate", options.allocation,
          "How linears share --sparsity. uniform: each loses that part; owl: layers with more outliers "
          "lose less; kl: what costs more KL when it is pruned alone loses less")
      ->capture_default_str()
      ->check(CLI::IsMember(
          std::vector<std::string>(sparsity_allocations().begin(), sparsity_allocations().end())));
  command.add_flag(
      "--sparse-storage", options.sparse_storage,
      "Leave zeros out of the file, too; few programs read such a file, so that by default it keeps "
      "them");
}

void apply_pruning(const PruningOptions& options, const CLI::App& command, const char* method_flag,
                   Recipe& recipe) {
  recipe.sparsity =
      options.pattern.empty() ? Sparsity{.zeros = options.sparsity} : pattern_named(options.pattern).value();
  if (!recipe.sparsity)
    refuse_void(command, {method_flag, "--allocate", "--sparse-storage"}, "nothing is pruned");
  recipe.sparse_storage = options.sparse_storage;
  if (recipe.sparsity.of) refuse_void(command, {"--allocate"}, "every group loses the same");
  const bool alone = recipe.method == MethodName::rtn;
  if (alone) refuse_void(command, {"--allocate"}, "the weights alone do not tell what they cost");
  recipe.allocation = *sparsity_allocation_named(options.allocation);
  recipe.pruning = alone ? PruningMethod::magnitude : PruningMethod::alps;
  if (options.method.empty()) return;
  recipe.pruning = *pruning_method_named(options.method);
  if (alone && recipe.pruning != PruningMethod::magnitude)
    throw CLI::ValidationError(method_flag, "who looks at the weights alone prunes by magnitude");
}

}  // namespace whittle
