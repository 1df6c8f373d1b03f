#include <fmt/format.h>

#include <algorithm>
#include <iostream>

#include "bench/peak_memory.h"
#include "bench/reports/cells_report.h"
#include "bench/reports/json_report.h"
#include "bench/summary.h"
#include "engine/files/json_file.h"
#include "engine/files/model_file.h"
#include "engine/kv_cache.h"
#include "engine/model_spec.h"
#include "tools/commands.h"
#include "tools/list_options.h"
#include "tools/memory_child.h"
#include "tools/model_options.h"
#include "tools/options.h"
#include "tools/progress.h"
#include "tools/streams.h"

namespace whittle {
namespace {

struct BenchFlags {
  std::vector<std::string> models;
  std::string baseline, text, prompts, goal;
  std::string json, trace, csv, markdown;
  bool profile = false, energy = false, end_to_end = false, model_only = false;
  SweepLists lists;
  int64_t repeat = SpeedOptions().repeat;
  ThroughputGoal throughput;
  bool own_peak_memory = false;
};

bool given(const CLI::App& command, const char* flag) { return command.count(flag) > 0; }

// Lengths that were not asked for are cut to what every model's context holds.
void fit_context(BenchFlags& flags, const CLI::App& command) {
  SweepLists& lists = flags.lists;
  const bool prompt_given = given(command, "--prompt-tokens"), gen_given = given(command, "--gen-tokens");
  int64_t positions = std::numeric_limits<int64_t>::max();
  std::vector<std::string> folders = flags.models;
  if (!flags.baseline.empty()) folders.push_back(flags.baseline);
  for (const std::string& folder : folders)
    positions = std::min(positions, read_model_spec(ModelFile(folder)).max_position_embeddings);
  const int64_t left = positions - std::ranges::max(lists.context);
  int64_t prompt = std::ranges::max(lists.prompt_tokens), gen = std::ranges::max(lists.gen_tokens);
  if ((prompt_given && gen_given) || !flags.prompts.empty() || prompt + gen <= left) return;
  if (!gen_given)
    lists.gen_tokens = {gen = std::clamp<int64_t>(prompt_given ? left - prompt : left / 4, 1, gen)};
  if (!prompt_given) lists.prompt_tokens = {prompt = std::clamp<int64_t>(left - gen, 1, prompt)};
  if (prompt + gen <= left)
    std::cerr << fmt::format(
        "whittle: a prompt of {} and {} generated tokens, as many as the context of {} holds\n", prompt, gen,
        positions);
}

Goal goal_of(const BenchFlags& flags, const CLI::App& command) {
  const Goal goal = flags.goal == "throughput"                          ? Goal::throughput
                    : flags.goal == "latency" || !flags.prompts.empty() ? Goal::latency
                                                                        : Goal::none;
  if (!flags.prompts.empty())
    refuse_void(command, {"--prompt-tokens", "--sequences", "--context"},
                "the prompts are those of --prompts");
  if (goal != Goal::throughput) {
    refuse_void(command, {"--max-itl-ms", "--max-sequences"}, "it belongs to --goal throughput");
    return goal;
  }
  refuse_void(command, {"--sequences"}, "--goal throughput looks for the number of sequences");
  refuse_void(command, {"--prompts", "--profile", "--trace"}, "with --goal throughput it is not measured");
  if (!given(command, "--max-itl-ms"))
    throw CLI::ValidationError("--max-itl-ms", "is needed: the longest time between tokens to allow");
  return goal;
}

SpeedOptions common_options(const BenchFlags& flags, const CLI::App& command, Goal goal) {
  SpeedOptions common;
  common.repeat = flags.repeat;
  // A percentile of a few values says little; a file has as many values as prompts.
  if (!given(command, "--repeat") && goal == Goal::latency) common.repeat = flags.prompts.empty() ? 20 : 1;
  common.profile = flags.profile || !flags.trace.empty();
  common.timing = flags.end_to_end   ? Timing::end_to_end
                  : flags.model_only ? Timing::model_only
                                     : Timing::usual;
  return common;
}

void write_reports(const BenchFlags& flags, const BenchReport& report, const Fingerprint& fingerprint) {
  const auto to_output = [](const std::string& path) { return path == "-"; };
  const bool show =
      std::ranges::none_of(std::array{flags.json, flags.trace, flags.csv, flags.markdown}, to_output);
  if (show) std::cout << bench_text(report);
  if (show && flags.profile) std::cout << bench_profile_text(report);
  if (!flags.trace.empty()) write_json(flags.trace, bench_trace(report));
  if (!flags.csv.empty()) write_report(flags.csv, cells_csv(report));
  if (!flags.markdown.empty()) write_report(flags.markdown, cells_markdown(report));
  if (!flags.json.empty()) write_json(flags.json, bench_json(report, fingerprint));
}

// Of all cells; 0 where they differ.
int threads_of(const BenchReport& report) {
  const int first = report.models.front().speed().threads;
  for (const ModelSummary& model : report.models)
    for (const SpeedReport& cell : model.cells)
      if (cell.threads != first) return 0;
  return first;
}

// Where not even one sequence keeps the limit.
void judge_goal(const BenchReport& report) {
  bool kept = true;
  for (const ModelSummary& model : report.models)
    for (const ThroughputSearch& search : model.searches) {
      if (search.search.best) continue;
      kept = false;
      std::cerr << fmt::format(
          "whittle: {}: one sequence alone takes {:.6g} ms between tokens (95th percentile), the limit is "
          "{:.6g}\n",
          printable(model.speed().name), search.search.tried.front().itl_p95_ms,
          report.throughput.max_itl_ms);
    }
  if (!kept) throw CLI::RuntimeError(exit_gate);
}

void run(BenchFlags& flags, const CLI::App& command) {
  if (flags.own_peak_memory) {
    const SweepPoint point = sweep_points(flags.lists, {}).front();
    return report_own_peak_memory(flags.models.front(), Team(point.threads), point.speed);
  }
  const Goal goal = goal_of(flags, command);
  check_outputs({{"--json", flags.json},
                 {"--trace", flags.trace},
                 {"--csv", flags.csv},
                 {"--markdown", flags.markdown}});
  BenchOptions options;
  if (!flags.text.empty()) options.text = read_text(flags.text);
  Fingerprint fingerprint;
  if (options.text) fingerprint.texts.push_back(fingerprint_of_text(flags.text, *options.text));
  std::vector<PromptLine> prompts;
  if (!flags.prompts.empty()) {
    const std::string text = read_text(flags.prompts);
    prompts = parse_prompts(text, flags.prompts == "-" ? "standard input" : flags.prompts);
    fingerprint.texts.push_back(fingerprint_of_text(flags.prompts, text));
  }
  if (!flags.baseline.empty()) check_baseline(flags.baseline);
  fit_context(flags, command);

  SpeedOptions common = common_options(flags, command, goal);
  common.prompts = prompts;
  std::optional<EnergyMeter> meter;
  if (flags.energy) common.energy = &meter.emplace();
  options.models.assign(flags.models.begin(), flags.models.end());
  if (!flags.baseline.empty()) options.baseline = flags.baseline;
  options.points = sweep_points(flags.lists, common);
  options.goal = goal;
  options.throughput = flags.throughput;
  options.memory_child = [](const std::filesystem::path& model, const SweepPoint& point) {
    return memory_child(point.speed, point.threads, model);
  };

  if (!flags.json.empty()) fingerprint.models = fingerprints_of(flags.baseline, flags.models);
  for (const std::string& model : flags.models) print_notes(model);
  std::optional<ProgressLine> line;
  std::string running;
  const BenchReport report = measure_models(
      options, [&](const std::string& phase, int64_t done, int64_t total, const std::string& model) {
        if (phase != running) line.emplace(running = phase);
        line->update(done, total, model);
      });
  line.reset();
  fingerprint.threads = threads_of(report);
  write_reports(flags, report, fingerprint);
  judge_goal(report);
}

void add_workload(CLI::App& command, BenchFlags& flags) {
  constexpr int64_t most = 1 << 24;
  add_list(command, "--prompt-tokens", flags.lists.prompt_tokens, 1, most, "Length of the prompt");
  add_list(command, "--gen-tokens", flags.lists.gen_tokens, 1, most, "Tokens decoded after it, one by one");
  add_list(command, "--sequences", flags.lists.sequences, 1, 1024,
           "Decoded together, so that each step reads the weights once");
  add_list(command, "--context", flags.lists.context, 0, most,
           "Tokens that the cache holds before the prompt");
  add_list(command, "--threads", flags.lists.threads, 0, 1024, "Threads; 0: one per physical core");
  add_kv_cache_list(command, flags.lists.kv_cache);
  command
      .add_option("--prompts", flags.prompts,
                  "Instead: prompts of a file, each alone; lines {\"prompt\": ..., \"max_tokens\": ...}, of "
                  "which the "
                  "latter may be left out; -: standard input")
      ->type_name("FILE")
      ->check(not_empty());
  command.add_option("--repeat", flags.repeat, "Repeats, after a warm-up; for latency 20, of --prompts 1")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{1}, int64_t{1000}).description(""));
}

void add_figures(CLI::App& command, BenchFlags& flags) {
  command
      .add_option("--goal", flags.goal,
                  "latency: percentiles; throughput: the number of sequences with the most tokens a second "
                  "within --max-itl-ms")
      ->type_name("latency|throughput")
      ->check(CLI::IsMember({"latency", "throughput"}).description(""));
  command
      .add_option("--max-itl-ms", flags.throughput.max_itl_ms,
                  "Gate: longest time between tokens, of which the 95th percentile is judged")
      ->type_name("MS")
      ->check(number(1e-6, 1e9, "a number above 0"));
  command
      .add_option("--max-sequences", flags.throughput.max_sequences, "The most that --goal throughput tries")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{1}, int64_t{1024}).description(""));
  CLI::Option* end_to_end = command.add_flag(
      "--end-to-end", flags.end_to_end,
      "Every figure holds tokenization, sampling and detokenization; else prefill speed does not");
  command.add_flag("--model-only", flags.model_only, "No figure holds them: the decoder alone")
      ->excludes(end_to_end);
  command.add_flag("--energy", flags.energy, "Joules a token, where the system lets them be read");
  command.add_flag(
      "--profile", flags.profile,
      "More runs a model: a table of the time that each operation takes, and what watching costs");
}

void add_outputs(CLI::App& command, BenchFlags& flags) {
  const auto add = [&](const char* flag, std::string& path, const char* help) {
    command.add_option(flag, path, help)->type_name("FILE")->check(not_empty());
  };
  add("--trace", flags.trace, "Write the profile as a trace that Perfetto and chrome://tracing open");
  add("--csv", flags.csv, "Write a row a model and setting as comma-separated values");
  add("--markdown", flags.markdown, "Write the same table as Markdown");
  add_json(command, flags.json);
}

}  // namespace

void add_bench(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("bench", "Speed, latency and memory of models, beside the machine's limits");
  static BenchFlags flags;
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
  add_workload(*command, flags);
  add_figures(*command, flags);
  command->add_flag(memory_flag, flags.own_peak_memory)->group("");
  add_opening_flags(*command);
  add_outputs(*command, flags);
  command->footer(
      "Examples:\n"
      "  whittle bench model-int8\n"
      "  whittle bench model-int8 model-int4 --baseline model --text story.txt\n"
      "  whittle bench model-int4 --prompt-tokens 128 --gen-tokens 32 --threads 1 --json bench.json\n"
      "  whittle bench model-int8 --profile --trace trace.json\n"
      "  whittle bench model-int8 model-int4 --threads 1,2,4 --context 0,1024 --csv sweep.csv\n"
      "  whittle bench model-int8 --prompts prompts.jsonl\n"
      "  whittle bench model-int4 --goal throughput --max-itl-ms 50\n"
      "Lists are separated by commas; of several, every combination is a row of one table. Context, prompt\n"
      "and generated tokens together must fit into the model's context; default lengths are cut to it. Exit\n"
      "code 3 says that not even one sequence keeps --max-itl-ms.");
  command->callback([command] { run(flags, *command); });
}

}  // namespace whittle
