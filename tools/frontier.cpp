#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <iostream>

#include "bench/reports/json_report.h"
#include "bench/version.h"
#include "engine/files/model_file.h"
#include "engine/model_spec.h"
#include "quant/frontier/report.h"
#include "tools/commands.h"
#include "tools/memory_child.h"
#include "tools/model_options.h"
#include "tools/offline_run.h"
#include "tools/options.h"
#include "tools/streams.h"

namespace whittle {
namespace {

struct FrontierFlags {
  std::string source, recipes, text, html, json, work;
  std::optional<double> minutes;
  int64_t characters = 0, memory = FrontierOptions().memory;
  bool resume = false, keep_models = false;
  int threads = 0;
};

// The project's own list, of which not all may fit.
constexpr double default_minutes = 30;
// Pairs enough for an interval that leaves out the worst on both sides.
constexpr int64_t pairs = 9;

void run(const FrontierFlags& flags, const CLI::App& command) {
  check_report_path(flags.html);
  if (!flags.json.empty()) check_report_path(flags.json);
  if (!flags.json.empty() && same_path(flags.html, flags.json))
    throw CLI::ValidationError("--json", "is the same as --html");
  if (flags.html == "-" && flags.work.empty())
    throw CLI::ValidationError("--work", "is needed where the page goes to standard output");
  const std::vector<FrontierRecipe> recipes =
      flags.recipes.empty() ? default_recipes() : read_recipes(flags.recipes);
  FrontierOptions options;
  options.version = this_build().version;
  options.build = version_text();
  options.memory = flags.memory;
  options.work = flags.work.empty() ? flags.html + ".work" : flags.work;
  options.resume = flags.resume;
  options.keep_models = flags.keep_models;
  options.keep_work = !flags.work.empty();
  options.minutes = flags.minutes;
  if (!flags.minutes && flags.recipes.empty()) options.minutes = default_minutes;
  if (flags.text.empty())
    refuse_void(command, {"--characters"}, "no text is given");
  else
    options.text = read_text(flags.text);
  if (options.text && flags.characters) options.text = first_characters(*options.text, flags.characters);
  options.text_name =
      flags.text == "-" ? "standard input" : std::filesystem::path(flags.text).filename().string();
  options.speed = fitted({.prompt_tokens = 256, .gen_tokens = 64, .repeat = pairs},
                         read_model_spec(ModelFile(flags.source)).max_position_embeddings);
  options.memory_child = [&](const std::filesystem::path& model) {
    return memory_child(options.speed, flags.threads, model);
  };
  const Team team(flags.threads);
  Fingerprint fingerprint{.threads = team.size()};
  if (options.text) fingerprint.texts = {fingerprint_of_text(flags.text, *options.text)};
  if (!flags.json.empty()) fingerprint.models = {fingerprint_of("source", flags.source)};
  StageLines lines;
  const FrontierReport report = measure_frontier(flags.source, recipes, team, options, lines.progress());
  lines.finish();

  write_report(flags.html, comparison_page(report));
  if (!flags.json.empty()) write_json(flags.json, comparison_json(report, fingerprint));
  if (flags.html != "-" && flags.json != "-") std::cout << comparison_text(report);
  for (const RecipeResult& result : report.results)
    if (result.status == RecipeResult::Status::failed)
      fmt::print(stderr, "whittle: {}: {}\n", printable(result.name), printable(result.reason));
  const bool failed = report.any(RecipeResult::Status::failed),
             skipped = report.any(RecipeResult::Status::skipped);
  if (flags.work.empty() && (flags.keep_models || failed || skipped))
    fmt::print(stderr, "whittle: {}: what is done is kept there; --resume goes on from it\n",
               printable(options.work.string()));
  if (failed) throw CLI::RuntimeError(exit_failed);
}

}  // namespace

void add_frontier(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "frontier", "Size, speed and drift of many recipes: which of them no other makes superfluous");
  static FrontierFlags flags;
  command->add_option("SRC", flags.source, "Folder of the original model (F16, BF16 or F32)")
      ->required()
      ->check(not_empty());
  command
      ->add_option(
          "--recipes", flags.recipes,
          "Folder of recipes, *.json: recipe.json of quantize or prune, or an array of both (default: "
          "a list of its own)")
      ->type_name("DIR")
      ->check(not_empty());
  command
      ->add_option("--minutes", flags.minutes,
                   "What the whole run may take, cheap recipes first; those that do not fit are named "
                   "(default: 30 for its own list, else no limit)")
      ->type_name("MINUTES")
      ->check(number(0.01, 1e6, "0.01 or more"));
  command
      ->add_option("--text", flags.text,
                   "Text file to judge by; -: standard input (default: the model's own text)")
      ->type_name("FILE")
      ->check(not_empty());
  add_characters(*command, flags.characters);
  command->add_option("--html", flags.html, "Page to write, with charts and all figures")
      ->required()
      ->type_name("FILE")
      ->check(not_empty());
  command
      ->add_option("--work", flags.work,
                   "Folder for models and results while it runs (default: beside the page, FILE.work)")
      ->type_name("DIR")
      ->check(not_empty());
  command->add_flag("--resume", flags.resume, "Go on from the results in the work folder");
  command->add_flag("--keep", flags.keep_models, "Leave the models in the work folder");
  add_memory(*command, flags.memory);
  add_allow_field(*command);
  add_threads(*command, flags.threads);
  add_json(*command, flags.json);
  command->footer(
      "Each recipe is made into a model, which runs in turns with the original. Exit code 1 says that a\n"
      "recipe failed; the page has the others.\n"
      "Examples:\n"
      "  whittle frontier llama --html llama.html\n"
      "  whittle frontier llama --minutes 15 --text my-text.txt --html llama.html --json llama.json\n"
      "  whittle frontier llama --recipes recipes --html llama.html --resume");
  command->callback([command] { run(flags, *command); });
}

}  // namespace whittle
