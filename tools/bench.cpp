#include <fmt/format.h>

#include <algorithm>
#include <iostream>

#include "bench/peak_memory.h"
#include "bench/reports/json_report.h"
#include "bench/summary.h"
#include "engine/files/model_file.h"
#include "engine/kv_cache.h"
#include "engine/model_spec.h"
#include "tools/commands.h"
#include "tools/memory_child.h"
#include "tools/model_options.h"
#include "tools/options.h"
#include "tools/progress.h"
#include "tools/streams.h"

namespace whittle {
namespace {

struct BenchFlags {
  std::vector<std::string> models;
  std::string baseline, text, json, trace;
  bool profile = false;
  SpeedOptions speed;
  int threads = 0;
  bool own_peak_memory = false;
};

// Lengths that were not asked for are cut to what every model's context holds.
void fit_context(BenchFlags& flags, const CLI::App& command) {
  SpeedOptions& speed = flags.speed;
  const bool prompt_given = command.count("--prompt-tokens") > 0,
             gen_given = command.count("--gen-tokens") > 0;
  int64_t context = std::numeric_limits<int64_t>::max();
  std::vector<std::string> folders = flags.models;
  if (!flags.baseline.empty()) folders.push_back(flags.baseline);
  for (const std::string& folder : folders)
    context = std::min(context, read_model_spec(ModelFile(folder)).max_position_embeddings);
  if ((prompt_given && gen_given) || speed.prompt_tokens + speed.gen_tokens <= context) return;
  const int64_t room = prompt_given ? context - speed.prompt_tokens : context / 4;
  if (!gen_given) speed.gen_tokens = std::clamp<int64_t>(room, 1, speed.gen_tokens);
  if (!prompt_given)
    speed.prompt_tokens = std::clamp<int64_t>(context - speed.gen_tokens, 1, speed.prompt_tokens);
  if (speed.prompt_tokens + speed.gen_tokens <= context)
    std::cerr << fmt::format(
        "whittle: a prompt of {} and {} generated tokens, as many as the context of {} holds\n",
        speed.prompt_tokens, speed.gen_tokens, context);
}

void run(BenchFlags& flags, const CLI::App& command) {
  if (flags.own_peak_memory)
    return report_own_peak_memory(flags.models.front(), Team(flags.threads), flags.speed);
  if (!flags.json.empty() && !flags.trace.empty() && same_path(flags.json, flags.trace))
    throw CLI::ValidationError("--trace", "is the same as --json");
  for (const std::string& path : {flags.json, flags.trace})
    if (!path.empty()) check_report_path(path);
  BenchOptions options;
  if (!flags.text.empty()) options.text = read_text(flags.text);
  if (!flags.baseline.empty()) check_baseline(flags.baseline);
  fit_context(flags, command);

  options.models.assign(flags.models.begin(), flags.models.end());
  if (!flags.baseline.empty()) options.baseline = flags.baseline;
  options.speed = flags.speed;
  options.speed.profile = flags.profile || !flags.trace.empty();
  options.threads = flags.threads;
  options.memory_child = [&](const std::filesystem::path& model) {
    return memory_child(flags.speed, flags.threads, model);
  };

  for (const std::string& model : flags.models) print_notes(model);
  std::optional<ProgressLine> line;
  std::string running;
  const BenchReport report = measure_models(
      options, [&](const std::string& phase, int64_t done, int64_t total, const std::string& model) {
        if (phase != running) line.emplace(running = phase);
        line->update(done, total, model);
      });
  line.reset();
  const bool show = flags.json != "-" && flags.trace != "-";
  if (show) std::cout << bench_text(report);
  if (show && flags.profile) std::cout << bench_profile_text(report);
  if (!flags.trace.empty()) write_json(flags.trace, bench_trace(report));
  if (!flags.json.empty()) write_json(flags.json, bench_json(report));
}

}  // namespace

void add_bench(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("bench", "Speed, latency and memory of models, beside the machine's limits");
  static BenchFlags flags;
  constexpr int64_t most = 1 << 24;
  command->add_option("MODEL", flags.models, "Folders of the models to measure, in turns")
      ->required()
      ->check(not_empty());
  CLI::Option* baseline =
      command
          ->add_option("--baseline", flags.baseline, "Folder to measure too, and to compare the others with")
          ->type_name("SRC")
          ->check(not_empty());
  command
      ->add_option("--text", flags.text,
                   "Also measure each model's drift from the baseline on this text file; -: standard input")
      ->type_name("FILE")
      ->check(not_empty())
      ->needs(baseline);
  command->add_option("--prompt-tokens", flags.speed.prompt_tokens, "Length of the prompt")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{1}, most).description(""));
  command->add_option("--gen-tokens", flags.speed.gen_tokens, "Tokens decoded after it, one by one")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{1}, most).description(""));
  command
      ->add_option("--sequences", flags.speed.sequences,
                   "Decoded together, so that each step reads the weights once")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{1}, int64_t{1024}).description(""));
  command->add_option("--repeat", flags.speed.repeat, "Repeats, after a warm-up")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{1}, int64_t{1000}).description(""));
  command->add_flag("--profile", flags.profile,
                    "One more run a model, and a table of the time that each operation takes");
  command
      ->add_option("--trace", flags.trace,
                   "Write that run as a trace that Perfetto and chrome://tracing open")
      ->type_name("FILE")
      ->check(not_empty());
  command->add_flag(memory_flag, flags.own_peak_memory)->group("");
  add_kv_cache(*command, flags.speed.kv_cache);
  add_allow_field(*command);
  add_float_inputs(*command);
  add_sparse(*command);
  add_threads(*command, flags.threads);
  add_json(*command, flags.json);
  command->footer(
      "Examples:\n"
      "  whittle bench model-int8\n"
      "  whittle bench model-int8 model-int4 --baseline model --text story.txt\n"
      "  whittle bench model-int4 --prompt-tokens 128 --gen-tokens 32 --threads 1 --json bench.json\n"
      "  whittle bench model-int8 --profile --trace trace.json\n"
      "Prompt and generated tokens together must fit into the model's context; defaults are cut to it.");
  command->callback([command] { run(flags, *command); });
}

}  // namespace whittle
