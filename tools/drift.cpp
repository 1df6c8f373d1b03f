#include "bench/drift.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iostream>

#include "bench/reports/json_report.h"
#include "engine/files/json_file.h"
#include "kernels/error.h"
#include "tools/commands.h"
#include "tools/options.h"
#include "tools/progress.h"
#include "tools/text_file.h"

namespace whittle {
namespace {

struct DriftOptions {
  std::string model, baseline, text, token_ids, protocol = "windows", json;
  int64_t context = 512, characters = 0;
  std::optional<double> max_kl, max_perplexity_increase;
  KvFormat kv_cache = KvFormat::f16;
  int threads = 0;
};

void run(const DriftOptions& options) {
  const Team team(options.threads);
  std::optional<Tokenizer> tokenizer;
  Windows windows;
  if (!options.token_ids.empty()) {
    constexpr int64_t most = int64_t{1} << 30;
    windows = token_windows(read_json_file(options.token_ids, most), options.token_ids);
  } else {
    tokenizer = Tokenizer::open(options.model);
    std::string text = read_text_file(options.text);
    if (options.characters) text = first_characters(text, options.characters);
    windows = text_windows(*tokenizer, text, options.context, options.protocol);
  }
  const Model baseline(options.baseline, team);
  const Model model(options.model, team);
  ProgressLine progress("drift");
  const DriftReport report =
      measure_drift(baseline, model, team, windows, options.kv_cache, tokenizer ? &*tokenizer : nullptr,
                    [&](int64_t done, int64_t total) { progress.update(done, total, "windows"); });
  progress.finish();
  std::vector<Gate> gates;
  if (options.max_kl) gates.push_back({"max_kl", "mean KL divergence", *options.max_kl, report.kl});
  if (options.max_perplexity_increase)
    gates.push_back({"max_perplexity_increase", "perplexity increase in percent",
                     *options.max_perplexity_increase, report.perplexity_increase_percent()});

  if (options.json != "-") {
    std::cout << drift_text(report, windows);
    for (const Gate& gate : gates) std::cout << gate_text(gate, report.windows) << '\n';
  }
  if (!options.json.empty()) write_json(options.json, drift_json(report, windows, gates));
  for (const Gate& gate : gates)
    if (gate.verdict() != Verdict::kept) std::cerr << "whittle: " << gate_text(gate, report.windows) << '\n';
  if (!std::ranges::all_of(gates, &Gate::passes)) throw CLI::RuntimeError(exit_gate);
}

// A limit of NaN or infinity would let everything pass, or nothing.
std::string finite_limit(const std::string& text) {
  double value = 0;
  const bool fits = CLI::detail::lexical_cast(text, value) && std::isfinite(value) && value >= 0;
  return fits ? "" : "expected a number, 0 or more, found " + quote(text);
}

}  // namespace

void add_drift(CLI::App& app) {
  CLI::App* command = app.add_subcommand("drift", "What a model lost against its unquantized baseline");
  static DriftOptions options;
  command->add_option("MODEL", options.model, "Folder of the model to judge")->required();
  command->add_option("--baseline", options.baseline, "Folder of the original weights")->required();
  CLI::Option_group* input = command->add_option_group("Input", "One of");
  input->add_option("--text", options.text, "Text file to score")->type_name("FILE");
  input
      ->add_option("--token-ids", options.token_ids,
                   "JSON array of windows of ids, BOS first; all others are scored")
      ->type_name("FILE");
  input->require_option(1);
  command
      ->add_option("--characters", options.characters, "Use only the first N characters of the text; 0: all")
      ->check(CLI::NonNegativeNumber);
  command->add_option("--context", options.context, "Tokens of a window, BOS included")
      ->capture_default_str();
  command->add_option("--protocol", options.protocol, "How the text is cut and scored")
      ->capture_default_str()
      ->check(CLI::IsMember({"windows", "llama.cpp"}));
  command->add_option("--max-kl", options.max_kl, "Gate: largest mean KL divergence, in nats")
      ->check(finite_limit);
  command
      ->add_option("--max-perplexity-increase", options.max_perplexity_increase,
                   "Gate: largest increase, in percent")
      ->type_name("PERCENT")
      ->check(finite_limit);
  add_kv_cache(*command, options.kv_cache);
  add_threads(*command, options.threads);
  add_json(*command, options.json);
  command->footer(
      "Examples:\n"
      "  whittle drift model-int8 --baseline model --text story.txt\n"
      "  whittle drift model-int4 --baseline model --text story.txt --max-kl 0.03 --json drift.json\n"
      "Exit code 3 says that a gate was exceeded, and standard error says which. A limit within the 95 %\n"
      "interval is undecided: the mean decides, and the report says so; more windows narrow the interval.");
  command->callback([] { run(options); });
}

}  // namespace whittle
