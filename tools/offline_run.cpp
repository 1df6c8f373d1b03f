#include "tools/offline_run.h"

#include "bench/reports/json_report.h"
#include "bench/version.h"
#include "engine/files/file_hash.h"
#include "engine/files/name_pattern.h"
#include "engine/files/open_options.h"
#include "kernels/error.h"
#include "quant/quantization_report.h"
#include "tools/options.h"
#include "tools/streams.h"

namespace whittle {
namespace {

// What `best` tunes on: more text still helps, and a small model takes minutes for it. More steps a layer do
// not: the text of calibration is all that they see.
constexpr int64_t best_tuning_tokens = 262144, best_block_steps = 50;

std::string wrong_regex(const std::string& pattern) {
  try {
    NamePattern("re:" + pattern, "expected a regular expression");
    return pattern.empty() ? "expected a regular expression, found \"\"" : "";
  } catch (const Error& error) {
    return error.what();
  }
}

}  // namespace

RunOptions OfflineRun::of_this_program() {
  RunOptions run;
  run.version = this_build().version;
  run.build = version_text();
  return run;
}

void add_offline_run(CLI::App& command, OfflineRun& options) {
  command.add_option("SRC", options.source, "Folder of the original model (F16, BF16 or F32)")
      ->required()
      ->check(not_empty());
  command.add_option("OUT", options.out, "Folder to write; must not exist")->required()->check(not_empty());
  add_memory(command, options.run.memory);
  command.add_flag("--resume", options.run.resume,
                   "Go on from what a run that was interrupted left; leave it when this one is");
  add_threads(command, options.threads);
  add_json(command, options.json);
}

void add_memory(CLI::App& command, int64_t& memory) {
  command
      .add_option("--memory", memory,
                  "What calibration may take beside a layer, such as 4G: text is then drawn from a rounded "
                  "model, and tokens wait in a file; best tunes end to end where 12 bytes a weight fit")
      ->type_name("SIZE")
      ->default_str("4G")
      ->transform(size_in_bytes(int64_t{1} << 20));
}

void add_exclude(CLI::App& command, std::vector<std::string>& exclude, const std::string& what) {
  command.add_option("--exclude", exclude, what)
      ->type_name("REGEX")
      ->check(CLI::Validator(wrong_regex, ""))
      ->allow_extra_args(false);
}

void add_calibration(CLI::App& command, CalibrationChoice& choice) {
  command
      .add_option(
          "--calibration", choice.source,
          "self: text that the model itself writes; or a text file, or a .json file of windows of ids")
      ->type_name("self|FILE")
      ->capture_default_str()
      ->check(not_empty());
  command
      .add_option("--calibration-tokens", choice.tokens,
                  "Tokens that a method looks at; unless --held-out names text for that, an eighth more is "
                  "held out to judge the result")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 24).description(""));
  command
      .add_option(
          "--held-out", choice.held_out,
          "Text to judge the result by, best of another kind: a text file, or a .json file of windows "
          "of ids; its first 16 windows count")
      ->type_name("FILE")
      ->check(not_empty());
}

void add_effort(CLI::App& command, std::string& effort) {
  command
      .add_option(
          "--effort", effort,
          "fast: the weights alone, seconds; good: for the inputs that linears read; best: and tuned by "
          "gradient, each layer, then end to end on more text")
      ->capture_default_str()
      ->check(CLI::IsMember({"fast", "good", "best"}));
}

void apply_effort(const std::string& effort, Recipe& recipe) {
  recipe.method = effort == "fast" ? MethodName::rtn : MethodName::gptq;
  if (effort != "best") return;
  recipe.block_steps = best_block_steps;
  recipe.tuning_tokens = best_tuning_tokens;
}

void check_offline_run(const OfflineRun& options, const CalibrationChoice& calibration) {
  if (!options.json.empty()) check_report_path(options.json);
  if (!options.json.empty() && same_path(options.json, options.out))
    throw CLI::ValidationError("--json", "is the same as OUT");
  if ((options.recipe == "-") + (calibration.source == "-") + (calibration.held_out == "-") > 1)
    throw CLI::ValidationError(options.recipe == "-" ? "--recipe" : "--held-out",
                               "standard input can be read only once");
}

Fingerprint fingerprint_of(const OfflineRun& options, const CalibrationChoice& calibration,
                           const Team& team) {
  Fingerprint fingerprint{.threads = team.size()};
  if (options.json.empty()) return fingerprint;
  fingerprint.models = {fingerprint_of("source", options.source)};
  for (const std::string& text : {calibration.source, calibration.held_out}) {
    if (text.empty() || text == "self") continue;
    // A pipe can be read only once.
    const bool file = text != "-" && std::filesystem::is_regular_file(text);
    fingerprint.texts.push_back({text == "-" ? "standard input" : std::filesystem::path(text).filename(),
                                 file ? hash_of_file(text) : ""});
  }
  return fingerprint;
}

void carry_out(const OfflineRun& options, const Recipe& recipe) {
  use_sparse(SparseUse::never);  // no run is so long that finding out what is faster would pay
  const Team team(options.threads);
  Fingerprint fingerprint = fingerprint_of(options, recipe.calibration, team);
  StageLines lines;
  const QuantizationReport report =
      quantize(options.source, options.out, recipe, team, options.run, lines.progress());
  lines.finish();
  for (const std::string& note : report.notes) fmt::print(stderr, "whittle: {}\n", note);
  if (options.json != "-")
    fmt::print("{}: {}\n{}", options.out, printable(report.recipe.text()), quantization_text(report));
  if (options.json.empty()) return;
  fingerprint.models.push_back(fingerprint_of("output", options.out));
  write_json(options.json, quantization_json(report, fingerprint));
}

}  // namespace whittle
