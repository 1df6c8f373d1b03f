#include "bench/drift.h"

#include <fmt/format.h>

#include <iostream>

#include "bench/layer_drift.h"
#include "bench/reports/json_report.h"
#include "kernels/error.h"
#include "tools/commands.h"
#include "tools/model_options.h"
#include "tools/options.h"
#include "tools/progress.h"
#include "tools/streams.h"

namespace whittle {
namespace {

struct DriftOptions {
  std::string model, baseline, text, token_ids, protocol = "windows", json;
  int64_t context = 512, characters = 0;
  std::optional<double> max_kl, max_perplexity_increase;
  KvFormat kv_cache = KvFormat::f16;
  int threads = 0;
  bool layers = false;
};

void run(const DriftOptions& options, const CLI::App& command) {
  if (options.text.empty())
    refuse_void(command, {"--characters", "--context", "--protocol"}, "--token-ids gives the windows");
  if (!options.json.empty()) check_report_path(options.json);
  check_baseline(options.baseline);
  const Team team(options.threads);
  std::optional<Tokenizer> tokenizer;
  Windows windows;
  if (!options.token_ids.empty()) {
    constexpr int64_t most = int64_t{1} << 30;
    windows = token_windows(read_json(options.token_ids, most), options.token_ids);
  } else {
    tokenizer = Tokenizer::open(options.model);
    std::string text = read_text(options.text);
    if (options.characters) text = first_characters(text, options.characters);
    windows = text_windows(*tokenizer, text, options.context, options.protocol);
  }
  const Model baseline(options.baseline, team);
  const Model model(options.model, team);
  print_notes(options.model);
  ProgressLine progress("drift");
  const DriftReport report =
      measure_drift(baseline, model, team, windows, options.kv_cache, tokenizer ? &*tokenizer : nullptr,
                    [&](int64_t done, int64_t total) { progress.update(done, total, "windows"); });
  progress.finish();
  std::optional<LayerDriftReport> layers;
  if (options.layers) {
    ProgressLine layer_progress("layers");
    layers = measure_layer_drift(
        baseline, model, team, windows, options.kv_cache,
        [&](int64_t done, int64_t total) { layer_progress.update(done, total, "windows"); });
    layer_progress.finish();
  }
  std::vector<Gate> gates;
  if (options.max_kl) gates.push_back({"max_kl", "mean KL divergence", *options.max_kl, report.kl});
  if (options.max_perplexity_increase)
    gates.push_back({"max_perplexity_increase", "perplexity increase in percent",
                     *options.max_perplexity_increase, report.perplexity_increase_percent()});

  if (options.json != "-") {
    std::cout << drift_text(report, windows);
    for (const Gate& gate : gates) std::cout << gate_text(gate, report.windows) << '\n';
    if (layers) std::cout << '\n' << layer_drift_text(*layers);
  }
  if (!options.json.empty()) {
    nlohmann::json json = drift_json(report, windows, gates);
    json["layers"] = layers ? layer_drift_json(*layers) : nlohmann::json();
    write_json(options.json, json);
  }
  for (const Gate& gate : gates)
    if (gate.verdict() != Verdict::kept) std::cerr << "whittle: " << gate_text(gate, report.windows) << '\n';
  if (!std::ranges::all_of(gates, &Gate::passes)) throw CLI::RuntimeError(exit_gate);
}

}  // namespace

void add_drift(CLI::App& app) {
  CLI::App* command = app.add_subcommand("drift", "What a model lost against its unquantized baseline");
  static DriftOptions options;
  command->add_option("MODEL", options.model, "Folder of the model to judge")->required()->check(not_empty());
  command->add_option("--baseline", options.baseline, "Folder of the original weights")
      ->required()
      ->check(not_empty());
  CLI::Option_group* input = command->add_option_group("Input", "One of");
  input->add_option("--text", options.text, "Text file to score; -: standard input")
      ->type_name("FILE")
      ->check(not_empty());
  input
      ->add_option("--token-ids", options.token_ids,
                   "JSON array of windows of ids, BOS first; all others are scored; -: standard input")
      ->type_name("FILE")
      ->check(not_empty());
  input->require_option(1);
  add_characters(*command, options.characters);
  command->add_option("--context", options.context, "Tokens of a window, BOS included")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{2}, int64_t{1} << 30).description(""));
  command->add_option("--protocol", options.protocol, "How the text is cut and scored")
      ->capture_default_str()
      ->check(CLI::IsMember(protocol_names()));
  command->add_option("--max-kl", options.max_kl, "Gate: largest mean KL divergence, in nats")
      ->check(number(0, 1e9, "0 or more"));
  command
      ->add_option("--max-perplexity-increase", options.max_perplexity_increase,
                   "Gate: largest increase, in percent")
      ->type_name("PERCENT")
      ->check(number(0, 1e9, "0 or more"));
  command->add_flag("--layers", options.layers,
                    "Also name what lost it: relative errors of every layer and linear");
  add_kv_cache(*command, options.kv_cache);
  add_allow_field(*command);
  add_float_inputs(*command);
  add_sparse(*command);
  add_threads(*command, options.threads);
  add_json(*command, options.json);
  command->footer(
      "Examples:\n"
      "  whittle drift model-int8 --baseline model --text story.txt\n"
      "  whittle drift model-int4 --baseline model --text story.txt --max-kl 0.03 --json drift.json\n"
      "  whittle drift model-int4 --baseline model --text story.txt --layers\n"
      "Exit code 3 says that a gate was exceeded, and standard error says which. A limit within the 95 %\n"
      "interval is undecided: the mean decides, and the report says so; more windows narrow the interval.");
  command->callback([command] { run(options, *command); });
}

}  // namespace whittle
