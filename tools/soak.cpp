#include <fmt/format.h>

#include <iostream>
#include <optional>

#include "bench/reports/json_report.h"
#include "bench/reports/soak_report.h"
#include "bench/speed.h"
#include "engine/files/interrupts.h"
#include "tools/commands.h"
#include "tools/model_options.h"
#include "tools/options.h"
#include "tools/progress.h"

namespace whittle {
namespace {

struct SoakFlags {
  std::string model, json;
  SoakOptions options;
  int threads = 0;
};

void run(const SoakFlags& flags) {
  if (!flags.json.empty()) check_report_path(flags.json);
  const Team team(flags.threads);
  const Model model(flags.model, team);
  const std::optional<Tokenizer> tokenizer = Tokenizer::open_if_any(flags.model);
  Fingerprint fingerprint{.threads = team.size()};
  if (!flags.json.empty()) fingerprint.models = {fingerprint_of("model", flags.model)};
  print_notes(flags.model);

  // A signal ends the run, and then, when all has been said, the program.
  const HeldInterrupts held;
  ProgressLine line("soak");
  const SoakReport report =
      soak(model, tokenizer ? &*tokenizer : nullptr, team, flags.options,
           [&](double seconds, double total, const std::string& what) {
             line.update(static_cast<int64_t>(seconds * 10), static_cast<int64_t>(total * 10), what);
           });
  line.finish();
  const std::string name = folder_name(flags.model);
  if (flags.json != "-") std::cout << soak_text(name, report);
  if (!flags.json.empty()) write_json(flags.json, soak_json(name, report, fingerprint));
  std::cout.flush();  // before the signal, if one came
  if (report.passes()) return;
  fmt::print(stderr, "whittle: {}: {}\n", printable(name), printable(soak_failure(report)));
  throw CLI::RuntimeError(exit_gate);
}

}  // namespace

void add_soak(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("soak", "Run a model for an hour: whether it stays right, small and fast");
  static SoakFlags flags;
  SoakOptions& options = flags.options;
  command->add_option("MODEL", flags.model, "Folder of the model, original or quantized")
      ->required()
      ->check(not_empty());
  command->add_option("--minutes", options.minutes, "How long; a round that has begun is finished")
      ->capture_default_str()
      ->check(number(0, 1e6, "0 to 1000000"));
  command->add_option("--sequences", options.sequences, "Conversations at a time, decoded together")
      ->capture_default_str()
      ->check(CLI::Range(int64_t{1}, int64_t{1024}).description(""));
  command
      ->add_option("--max-growth", options.max_growth_bytes,
                   "Growth of anonymous memory, from beginning to end, that may be, such as 1M")
      ->type_name("SIZE")
      ->default_str("1M")
      ->transform(size_in_bytes(0));
  command
      ->add_option("--max-slowdown", options.max_slowdown_percent,
                   "By how much longer a token may take at the end than at the beginning")
      ->type_name("PERCENT")
      ->capture_default_str()
      ->check(number(0, 1e6, "0 or more"));
  add_kv_cache(*command, options.kv_cache);
  add_opening_flags(*command);
  add_threads(*command, flags.threads);
  add_json(*command, flags.json);
  command->footer(
      "Examples:\n"
      "  whittle soak model-int8\n"
      "  whittle soak model-int4 --minutes 5 --sequences 8 --json soak.json\n"
      "Exit code 3: an answer changed, memory grew, or tokens became slower. Ctrl-C ends it early, with a "
      "report.");
  command->callback([] { run(flags); });
}

}  // namespace whittle
