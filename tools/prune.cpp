#include "quant/structure/prune.h"

#include <fmt/format.h>

#include "bench/reports/json_report.h"
#include "quant/recipe_file.h"
#include "quant/structure/prune_report.h"
#include "tools/commands.h"
#include "tools/model_options.h"
#include "tools/offline_run.h"
#include "tools/options.h"
#include "tools/pruning_options.h"

namespace whittle {
namespace {

struct PruneCommand : OfflineRun {
  PruningOptions pruning;  // of single weights
  std::string effort = "good", parts = "all";
  PruneRecipe wanted;
  bool unfitted = false;
};

// What a recipe says already.
constexpr std::initializer_list<const char*> recipe_flags = {
    "--parts",    "--alike",  "--no-fit",   "--exclude",        "--calibration", "--calibration-tokens",
    "--held-out", "--method", "--allocate", "--sparse-storage", "--effort"};

constexpr int64_t most_recipe_bytes = int64_t{64} << 20;

PruneRecipe recipe_of_parts(const PruneCommand& options, const CLI::App& command) {
  PruneRecipe recipe = options.wanted;
  recipe.parts = *pruned_parts_named(options.parts);
  recipe.fitted = !options.unfitted;
  if (!recipe.max_kl) refuse_void(command, {"--parts"}, "only --max-kl leaves a choice of parts");
  if (recipe.max_kl && recipe.alike && recipe.parts == PrunedParts::all)
    throw CLI::ValidationError("--alike", "expected --parts mlp-width, blocks or kv-heads beside it");
  return recipe;
}

Recipe recipe_of_weights(const PruneCommand& options, const CLI::App& command) {
  refuse_void(command, {"--parts", "--alike", "--no-fit"}, "single weights become zero");
  Recipe recipe;
  recipe.weights.reset();
  apply_effort(options.effort, recipe);
  if (!options.pruning.method.empty()) {
    refuse_void(command, {"--effort"}, "--method names one method alone");
    if (options.pruning.method == "magnitude") recipe.method = MethodName::rtn;
  }
  if (recipe.method == MethodName::rtn)
    refuse_void(command, {"--calibration", "--calibration-tokens", "--held-out", "--memory", "--resume"},
                "magnitude looks at the weights alone");
  recipe.exclude = options.wanted.exclude;
  recipe.calibration = options.wanted.calibration;
  apply_pruning(options.pruning, command, "--method", recipe);
  return recipe;
}

void prune_parts(const PruneCommand& options, const PruneRecipe& recipe, const CLI::App& command) {
  refuse_void(command, {"--method", "--allocate", "--sparse-storage", "--effort"},
              "whole parts of the model go");
  if (!recipe.layers.empty()) refuse_void(command, {"--resume"}, "the recipe says what each layer keeps");
  check_offline_run(options, recipe.calibration);
  const Team team(options.threads);
  Fingerprint fingerprint = fingerprint_of(options, recipe.calibration, team);
  StageLines lines;
  const PruneReport report = prune(options.source, options.out, recipe, team, options.run, lines.progress());
  lines.finish();
  for (const std::string& note : report.notes) fmt::print(stderr, "whittle: {}\n", note);
  if (options.json != "-")
    fmt::print("{}: {}\n{}", options.out, printable(recipe.text()), prune_text(report));
  if (options.json.empty()) return;
  fingerprint.models.push_back(fingerprint_of("output", options.out));
  write_json(options.json, prune_json(report, fingerprint));
}

void prune_weights(const PruneCommand& options, const Recipe& recipe) {
  check_offline_run(options, recipe.calibration);
  carry_out(options, recipe);
}

Recipe recipe_of_file(const nlohmann::json& json, const PruneCommand& options, const CLI::App& command) {
  const Recipe recipe = read_recipe(json, options.recipe);
  if (recipe.weights || !recipe.prunes())
    throw CLI::ValidationError("--recipe", "makes codes, or prunes nothing: for whittle quantize");
  if (recipe.method == MethodName::rtn)
    refuse_void(command, {"--memory", "--resume"}, "magnitude looks at the weights alone");
  return recipe;
}

// Those of both kinds are objects that say which they are.
void prune_by_recipe(const PruneCommand& options, const CLI::App& command) {
  refuse_void(command, recipe_flags, "--recipe says what is done");
  const nlohmann::json json = read_json(options.recipe, most_recipe_bytes);
  if (json.is_object() && json.contains("whittle_recipe"))
    prune_weights(options, recipe_of_file(json, options, command));
  else
    prune_parts(options, read_prune_recipe(json, options.recipe), command);
}

void run(const PruneCommand& options, const CLI::App& command) {
  if (!options.recipe.empty()) return prune_by_recipe(options, command);
  if (!options.pruning.pattern.empty() || options.pruning.sparsity > 0)
    prune_weights(options, recipe_of_weights(options, command));
  else
    prune_parts(options, recipe_of_parts(options, command), command);
}

}  // namespace

void add_prune(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "prune", "Write a copy of a Hugging Face model without the weights or parts that matter least");
  static PruneCommand options;
  CLI::Option_group* amount = command->add_option_group("Amount", "How much goes: one of");
  add_sparsity(*amount, options.pruning);
  amount
      ->add_option("--mlp-width", options.wanted.mlp_width,
                   "Keep this fraction of all neurons of the MLPs, in each layer as many as matter")
      ->type_name("FRACTION")
      ->check(number(0.01, 0.99, "0.01 to 0.99"));
  amount
      ->add_option(
          "--drop-blocks", options.wanted.blocks,
          "Drop as many weights as N layers have, as attention, MLP or both of layers: one after the "
          "other, whichever brings the least measured KL for its weights")
      ->type_name("N")
      ->check(CLI::Range(int64_t{1}, int64_t{10000}).description(""));
  amount
      ->add_option("--drop-kv-heads", options.wanted.kv_heads,
                   "Drop N key/value heads of every layer, each with the query heads that read it; the KV "
                   "cache shrinks as well")
      ->type_name("N")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 14).description(""));
  amount
      ->add_option("--max-kl", options.wanted.max_kl,
                   "Drop as much as leaves a mean KL divergence from the original, on held-out text, within "
                   "this")
      ->type_name("NATS")
      ->check(number(0, 100, "0 to 100"));
  amount->add_option("--recipe", options.recipe, "Keep what this says: the recipe.json of an earlier run")
      ->type_name("FILE")
      ->check(not_empty());
  amount->require_option(1);
  command->add_option("--parts", options.parts, "What --max-kl may drop")
      ->capture_default_str()
      ->check(CLI::IsMember({"mlp-width", "blocks", "kv-heads", "all"}));
  command->add_flag("--alike", options.wanted.alike,
                    "Layers stay alike, whole layers go: what any program can load");
  command->add_flag(
      "--no-fit", options.unfitted,
      "Leave what stays as it was; else the last linears of attention and MLP are fitted so that "
      "the stream comes back to the original's");
  add_pruning_method(*command, options.pruning, "--method");
  add_effort(*command, options.effort);
  add_exclude(*command, options.wanted.exclude,
              "Keep modules whose name REGEX matches, and with them all parts that they belong to; may be "
              "repeated");
  add_calibration(*command, options.wanted.calibration);
  add_offline_run(*command, options);
  add_allow_field(*command);
  command->footer(
      "What is written is a model folder of the source's float type. Single weights become exact zeros, "
      "which every program reads; to quantize as well, in one pass, give quantize the same flags. Without "
      "whole parts the model is a smaller dense one: quantize it afterwards. Where layers then differ, only "
      "Whittle reads it (--alike avoids that).\n"
      "Examples:\n"
      "  whittle prune llama llama-half --sparsity 0.5\n"
      "  whittle prune llama llama-sparse --pattern 2:4 --effort best\n"
      "  whittle prune llama llama-narrow --mlp-width 0.8\n"
      "  whittle prune llama llama-short --drop-blocks 2 --alike\n"
      "  whittle prune llama llama-small-cache --drop-kv-heads 1\n"
      "  whittle prune llama llama-small --max-kl 0.05 --held-out my-text.txt\n"
      "  whittle prune llama again --recipe llama-small/recipe.json");
  command->callback([command] { run(options, *command); });
}

}  // namespace whittle
