#include "quant/structure/prune.h"

#include <fmt/format.h>

#include "bench/reports/json_report.h"
#include "engine/files/name_pattern.h"
#include "kernels/error.h"
#include "quant/structure/prune_report.h"
#include "tools/commands.h"
#include "tools/model_options.h"
#include "tools/options.h"
#include "tools/progress.h"
#include "tools/streams.h"
#include "tools/version.h"

namespace whittle {
namespace {

struct PruneCommand {
  std::string source, out, json, recipe, parts = "all";
  PruneRecipe wanted;
  bool unfitted = false;
  PruneOptions run;
  int threads = 0;
};

// What a recipe says already.
constexpr std::initializer_list<const char*> recipe_flags = {
    "--parts", "--alike", "--no-fit", "--exclude", "--calibration", "--calibration-tokens", "--held-out"};

std::string wrong_regex(const std::string& pattern) {
  try {
    NamePattern("re:" + pattern, "expected a regular expression");
    return pattern.empty() ? "expected a regular expression, found \"\"" : "";
  } catch (const Error& error) {
    return error.what();
  }
}

PruneRecipe recipe_of(const PruneCommand& options, const CLI::App& command) {
  if (!options.recipe.empty()) {
    refuse_void(command, recipe_flags, "--recipe says what is done");
    constexpr int64_t most = int64_t{64} << 20;
    return read_prune_recipe(read_json(options.recipe, most), options.recipe);
  }
  PruneRecipe recipe = options.wanted;
  recipe.parts = *pruned_parts_named(options.parts);
  recipe.fitted = !options.unfitted;
  if (!recipe.max_kl) refuse_void(command, {"--parts"}, "only --max-kl leaves a choice of parts");
  if (recipe.max_kl && recipe.alike && recipe.parts == PrunedParts::all)
    throw CLI::ValidationError("--alike", "expected --parts mlp-width, blocks or kv-heads beside it");
  return recipe;
}

void run(PruneCommand& options, const CLI::App& command) {
  if (!options.json.empty()) check_report_path(options.json);
  if (!options.json.empty() && same_path(options.json, options.out))
    throw CLI::ValidationError("--json", "is the same as OUT");
  const PruneRecipe recipe = recipe_of(options, command);
  if ((options.recipe == "-") + (recipe.calibration.source == "-") + (recipe.calibration.held_out == "-") > 1)
    throw CLI::ValidationError(options.recipe == "-" ? "--recipe" : "--held-out",
                               "standard input can be read only once");
  options.run.version = WHITTLE_VERSION;
  const Team team(options.threads);
  std::string stage;
  std::optional<ProgressLine> line;
  const PruneReport report =
      prune(options.source, options.out, recipe, team, options.run,
            [&](const std::string& name, int64_t done, int64_t total, const std::string& what) {
              if (name != stage) line.emplace(stage = name);
              line->update(done, total, what);
            });
  line.reset();
  for (const std::string& note : report.notes) fmt::print(stderr, "whittle: {}\n", note);
  if (options.json != "-")
    fmt::print("{}: {}\n{}", options.out, printable(recipe.text()), prune_text(report));
  if (!options.json.empty()) write_json(options.json, prune_json(report));
}

}  // namespace

void add_prune(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "prune", "Write a smaller dense copy of a Hugging Face model, without the parts that matter least");
  static PruneCommand options;
  command->add_option("SRC", options.source, "Folder of the original model (F16, BF16 or F32)")
      ->required()
      ->check(not_empty());
  command->add_option("OUT", options.out, "Folder to write; must not exist")->required()->check(not_empty());
  CLI::Option_group* amount = command->add_option_group("Amount", "How much goes: one of");
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
  command
      ->add_option(
          "--exclude", options.wanted.exclude,
          "Drop nothing of an attention or MLP with a module whose name REGEX matches; may be repeated")
      ->type_name("REGEX")
      ->check(CLI::Validator(wrong_regex, ""))
      ->allow_extra_args(false);
  command
      ->add_option(
          "--calibration", options.wanted.calibration.source,
          "self: text that the model itself writes; or a text file, or a .json file of windows of ids")
      ->type_name("self|FILE")
      ->capture_default_str()
      ->check(not_empty());
  command
      ->add_option(
          "--calibration-tokens", options.wanted.calibration.tokens,
          "Tokens that choices are made by; unless --held-out names text for that, an eighth more is "
          "held out to judge the result")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 24).description(""));
  command
      ->add_option(
          "--held-out", options.wanted.calibration.held_out,
          "Text to judge the result by: a text file, or a .json file of windows of ids; its first 16 "
          "windows count")
      ->type_name("FILE")
      ->check(not_empty());
  command
      ->add_option("--memory", options.run.memory,
                   "What calibration may take beside the model, such as 4G: tokens then wait in a file")
      ->type_name("SIZE")
      ->default_str("4G")
      ->transform(CLI::AsSizeValue(false))
      ->check(CLI::Range(int64_t{1} << 20, int64_t{1} << 50).description(""));
  add_allow_field(*command);
  add_threads(*command, options.threads);
  add_json(*command, options.json);
  command->footer(
      "What is written is a model folder of the source's float type: quantize it afterwards. Where layers "
      "differ in what they have, only Whittle reads it (--alike avoids that).\n"
      "Examples:\n"
      "  whittle prune llama llama-narrow --mlp-width 0.8\n"
      "  whittle prune llama llama-short --drop-blocks 2 --alike\n"
      "  whittle prune llama llama-small-cache --drop-kv-heads 1\n"
      "  whittle prune llama llama-small --max-kl 0.05 --held-out my-text.txt\n"
      "  whittle prune llama again --recipe llama-small/recipe.json");
  command->callback([command] { run(options, *command); });
}

}  // namespace whittle
