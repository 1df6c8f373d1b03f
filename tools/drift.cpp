#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <functional>
#include <iostream>

#include "bench/drift/baseline_writer.h"
#include "bench/drift/drift_set.h"
#include "bench/drift/layer_drift.h"
#include "bench/reports/json_report.h"
#include "bench/reports/table.h"
#include "bench/version.h"
#include "engine/files/json_file.h"
#include "engine/files/model_file.h"
#include "kernels/error.h"
#include "tools/commands.h"
#include "tools/model_options.h"
#include "tools/options.h"
#include "tools/progress.h"
#include "tools/streams.h"

namespace whittle {
namespace {

constexpr const char* all_tokens = "all";

struct DriftOptions {
  std::vector<std::string> models, texts;
  std::string baseline, token_ids, protocol = "windows", save, top = all_tokens, resume, json;
  int64_t context = 0, stride = 0, characters = 0;
  std::optional<double> max_kl, max_perplexity_increase;
  KvFormat kv_cache = KvFormat::f16;
  int threads = 0;
  bool layers = false;
};

// A flag that would do nothing, or that another one needs.
void check_flags(const DriftOptions& options, const CLI::App& command, bool stored) {
  if (!options.token_ids.empty())
    refuse_void(command, {"--characters", "--context", "--protocol", "--stride"},
                "--token-ids gives the windows");
  if (!protocol_named(options.protocol).overlaps)
    refuse_void(command, {"--stride"},
                fmt::format("the windows of --protocol {} do not overlap", options.protocol));
  if (options.save.empty()) {
    refuse_void(command, {"--top"}, "it belongs to --save-baseline");
    if (options.models.empty()) throw CLI::RequiredError("MODEL");
  } else {
    if (!options.models.empty())
      throw CLI::ValidationError("MODEL", "has no effect: --save-baseline judges none");
    refuse_void(command,
                {"--max-kl", "--max-perplexity-increase", "--layers", "--kv-cache", "--json", "--resume"},
                "--save-baseline judges no model");
    if (stored) throw CLI::ValidationError("--baseline", "is stored already: expected a folder of weights");
  }
  if (stored)
    refuse_void(command, {"--token-ids", "--context", "--protocol", "--stride", "--layers"},
                "the baseline was stored with its windows");
  else if (options.texts.empty() && options.token_ids.empty())
    throw CLI::RequiredError("--text or --token-ids");
  if (options.layers && (options.models.size() > 1 || options.texts.size() > 1))
    throw CLI::ValidationError("--layers", "looks at one model and one text");
  if (std::ranges::count(options.texts, "-") > 1)
    throw CLI::ValidationError("--text", "standard input can be read once");
  if (!options.resume.empty() && !options.json.empty() && same_path(options.resume, options.json))
    throw CLI::ValidationError("--resume", "is the same as --json");
}

std::string text_of(const DriftOptions& options, const std::string& name) {
  const std::string text = read_text(name);
  return options.characters ? first_characters(text, options.characters) : text;
}

// The file's own name, its path where two are the same.
std::string shown_name(const std::string& text, const std::vector<std::string>& all = {}) {
  if (text == "-") return "standard input";
  const auto file_name = [](const std::string& path) { return std::filesystem::path(path).filename(); };
  const bool unique = std::ranges::count(all, file_name(text), file_name) <= 1;
  return unique ? file_name(text).string() : text;
}

// Those of the literature, where the model reaches as far.
int64_t context_of(const DriftOptions& options, const std::string& model) {
  if (options.context) return options.context;
  return std::min(protocol_named(options.protocol).default_context,
                  read_model_spec(ModelFile(model)).max_position_embeddings);
}

// tokenizer_model: whose ids a text becomes.
std::vector<DriftText> texts_of(const DriftOptions& options, const std::string& tokenizer_model,
                                std::optional<std::string>& tokenizer) {
  if (!options.token_ids.empty()) {
    constexpr int64_t most = int64_t{1} << 30;
    return {ids_to_score(shown_name(options.token_ids),
                         token_windows(read_json(options.token_ids, most), options.token_ids))};
  }
  const Tokenizer opened = Tokenizer::open(tokenizer_model);
  const int64_t context = context_of(options, tokenizer_model);
  std::vector<DriftText> texts;
  for (const std::string& name : options.texts)
    texts.push_back(text_to_score(shown_name(name, options.texts), text_of(options, name), opened, context,
                                  options.protocol, options.stride));
  if (!options.save.empty()) tokenizer = tokenizer_hash(opened);
  return texts;
}

void save(const DriftOptions& options) {
  check_baseline_path(options.save);
  BaselineOptions chosen = {.program = version_text()};
  const std::vector<DriftText> texts = texts_of(options, options.baseline, chosen.tokenizer);
  if (options.top != all_tokens) chosen.top = std::stoll(options.top);
  print_notes(options.baseline);
  note_context(options.baseline, texts.front().windows.context);
  const Team team(options.threads);
  ProgressLine progress("baseline");
  save_baseline(options.save, options.baseline, team, texts, chosen,
                [&](int64_t done, int64_t total) { progress.update(done, total, "windows"); });
  progress.finish();
  std::cout << fmt::format("{}: {}\n", printable(options.save),
                           format_bytes(static_cast<double>(std::filesystem::file_size(options.save))));
}

std::vector<Gate> gates_of(const DriftOptions& options, const DriftReport& report) {
  std::vector<Gate> gates;
  if (options.max_kl)
    gates.push_back({"max_kl", "mean KL divergence", *options.max_kl, report.kl_for_gate()});
  if (options.max_perplexity_increase)
    gates.push_back({"max_perplexity_increase", "perplexity increase in percent",
                     *options.max_perplexity_increase, report.perplexity_increase_percent()});
  return gates;
}

DriftSet set_of(const DriftOptions& options, bool stored) {
  DriftSet set{.models = {options.models.begin(), options.models.end()},
               .baseline = options.baseline,
               .kv_cache = options.kv_cache,
               .resume = options.resume,
               .program = version_text()};
  std::optional<std::string> tokenizer;
  if (!stored) {
    set.texts = texts_of(options, options.models.front(), tokenizer);
    return set;
  }
  set.stored = std::make_shared<BaselineFile>(options.baseline);
  set.texts.assign(set.stored->texts().begin(), set.stored->texts().end());
  if (!options.texts.empty() && options.texts.size() != set.texts.size())
    fail("--text: {} texts, {} has {}", options.texts.size(), options.baseline, set.texts.size());
  for (size_t i = 0; i < options.texts.size(); ++i)
    set.stored->check_text(i, shown_name(options.texts[i]), text_of(options, options.texts[i]));
  return set;
}

// Of the models only where a report is asked for: that reads them once.
Fingerprint fingerprint_of(const DriftOptions& options, const DriftSet& set, const Team& team) {
  Fingerprint fingerprint{.threads = team.size()};
  for (const DriftText& text : set.texts) fingerprint.texts.push_back({text.name, text.hash});
  if (options.json.empty()) return fingerprint;
  fingerprint.models = fingerprints_of(set.stored ? "" : options.baseline, options.models);
  if (set.stored) {
    const JsonFields stored(set.stored->baseline(), options.baseline);
    fingerprint.models.insert(
        fingerprint.models.begin(),
        {"baseline", stored.string("name", ""), stored.string("weights", ""), stored.string("config", "")});
  }
  return fingerprint;
}

void run(const DriftOptions& options, const CLI::App& command) {
  const bool stored = std::filesystem::is_regular_file(options.baseline);
  check_flags(options, command, stored);
  if (!options.json.empty()) check_report_path(options.json);
  if (!stored) check_baseline(options.baseline);
  if (!options.save.empty()) return save(options);
  const DriftSet set = set_of(options, stored);
  const int64_t context = set.texts.front().windows.context;
  if (!stored) note_context(options.baseline, context);
  for (const std::string& model : options.models) {
    print_notes(model);
    note_context(model, context);
  }
  const Team team(options.threads);
  const Fingerprint fingerprint = fingerprint_of(options, set, team);
  ProgressLine progress("drift");
  const bool several = set.models.size() > 1;
  const std::vector<ModelDrift> drifts =
      measure_drift_set(set, team, [&](int64_t done, int64_t total, const std::string& model) {
        progress.update(done, total, several ? model : "windows");
      });
  progress.finish();
  std::optional<LayerDriftReport> layers;
  if (options.layers) {
    ProgressLine layer_progress("layers");
    layers = measure_layer_drift(Model(options.baseline, team), Model(options.models.front(), team), team,
                                 set.texts[0].windows, options.kv_cache, [&](int64_t done, int64_t total) {
                                   layer_progress.update(done, total, "windows");
                                 });
    layer_progress.finish();
  }
  std::vector<std::vector<Gate>> gates;
  for (const ModelDrift& drift : drifts) gates.push_back(gates_of(options, drift.all));
  const auto for_each_gate = [&](const std::function<void(const Gate&, const std::string&)>& body) {
    for (size_t m = 0; m < drifts.size(); ++m)
      for (const Gate& gate : gates[m])
        body(gate,
             (several ? printable(drifts[m].name) + ": " : "") + gate_text(gate, drifts[m].all.windows));
  };
  if (options.json != "-") {
    std::cout << drift_set_text(set, drifts);
    for_each_gate([](const Gate&, const std::string& line) { std::cout << line << '\n'; });
    if (layers) std::cout << '\n' << layer_drift_text(*layers);
  }
  if (!options.json.empty()) {
    nlohmann::json json = drift_set_json(set, drifts, gates, fingerprint);
    if (layers) json["layers"] = layer_drift_json(*layers);
    write_json(options.json, json);
  }
  bool passes = true;
  for_each_gate([&](const Gate& gate, const std::string& line) {
    if (gate.verdict() != Verdict::kept) std::cerr << "whittle: " << line << '\n';
    passes = passes && gate.passes();
  });
  if (!passes) throw CLI::RuntimeError(exit_gate);
}

// "all", or how many.
CLI::Validator token_count() {
  return CLI::Validator(
      [](const std::string& text) {
        if (text == all_tokens) return std::string();
        return CLI::Range(int64_t{1}, int64_t{1} << 30)(text);
      },
      "");
}

}  // namespace

void add_drift(CLI::App& app) {
  CLI::App* command = app.add_subcommand("drift", "What models lost against their unquantized baseline");
  static DriftOptions options;
  command->add_option("MODEL", options.models, "Folders of the models to judge, one in memory at a time")
      ->check(not_empty());
  command
      ->add_option("--baseline", options.baseline,
                   "Folder of the original weights, or a file that --save-baseline has written")
      ->type_name("SRC")
      ->required()
      ->check(not_empty());
  CLI::Option_group* input = command->add_option_group("Input", "At most one of");
  input->add_option("--text", options.texts, "Text file to score; -: standard input; may be repeated")
      ->type_name("FILE")
      ->multi_option_policy(CLI::MultiOptionPolicy::TakeAll)
      ->allow_extra_args(false)
      ->check(not_empty());
  input
      ->add_option("--token-ids", options.token_ids,
                   "JSON array of windows of ids, BOS first; all others are scored; -: standard input")
      ->type_name("FILE")
      ->check(not_empty());
  input->require_option(0, 1);
  add_characters(*command, options.characters);
  std::vector<std::string> names;
  for (const Protocol& protocol : protocols()) names.emplace_back(protocol.name);
  command
      ->add_option("--context", options.context,
                   "Tokens of a window, BOS included (default: the protocol's, or all that the model has)")
      ->check(CLI::Range(int64_t{2}, int64_t{1} << 30).description(""));
  command->add_option("--protocol", options.protocol, "How the text is cut and scored")
      ->type_name(fmt::format("{}", fmt::join(names, "|")))
      ->capture_default_str()
      ->check(CLI::IsMember(names).description(""));
  command
      ->add_option("--stride", options.stride,
                   "Tokens from one window to the next, with --protocol strided (default: 512, at most half "
                   "the context)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 30).description(""));
  command
      ->add_option("--save-baseline", options.save,
                   "Judge no model: write what the baseline predicts to FILE, to judge models by later")
      ->type_name("FILE")
      ->check(not_empty());
  command
      ->add_option(
          "--top", options.top,
          "With --save-baseline: keep the N most likely tokens at each position, the rest as one mass")
      ->type_name("N|all")
      ->capture_default_str()
      ->check(token_count());
  command
      ->add_option("--resume", options.resume,
                   "Keep what is done in FILE, and go on from it after an interruption")
      ->type_name("FILE")
      ->check(not_empty());
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
  add_opening_flags(*command);
  add_threads(*command, options.threads);
  add_json(*command, options.json);
  command->footer(
      "Examples:\n"
      "  whittle drift model-int8 --baseline model --text story.txt\n"
      "  whittle drift model-int4 --baseline model --text story.txt --max-kl 0.03 --json drift.json\n"
      "  whittle drift model-int4 --baseline model --text story.txt --layers\n"
      "  whittle drift model-int4 --baseline model --text wiki.txt --text story.txt --protocol gptq\n"
      "  whittle drift --baseline model --text story.txt --save-baseline story.baseline\n"
      "  whittle drift model-int8 model-int4 --baseline story.baseline\n"
      "Exit code 3 says that a gate was exceeded, and standard error says which. A limit within the 95 %\n"
      "interval is undecided: the mean decides, and the report says so; more windows narrow the interval.");
  command->callback([command] { run(options, *command); });
}

}  // namespace whittle
