#include <iostream>

#include "bench/reports/json_report.h"
#include "quant/inspection.h"
#include "tools/commands.h"
#include "tools/model_options.h"
#include "tools/options.h"

namespace whittle {

void add_inspect(CLI::App& app) {
  CLI::App* command = app.add_subcommand(
      "inspect", "Every tensor of a model, its architecture, and the memory that it needs");
  static std::string model, json;
  static int64_t context = 0;
  static KvFormat kv_cache = KvFormat::f16;
  static int threads = 0;
  command->add_option("MODEL", model, "Folder of the model")->required()->check(not_empty());
  command->add_option("--context", context, "Positions to estimate memory for; 0: the model's own")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 30).description(""));
  add_kv_cache(*command, kv_cache);
  add_allow_field(*command);
  add_sparse(*command);
  add_threads(*command, threads);
  add_json(*command, json);
  command->footer(
      "Examples:\n  whittle inspect llama-int4\n  whittle inspect llama-int4 --context 4096 --json -");
  command->callback([] {
    if (!json.empty()) check_report_path(json);
    const Team team(threads);
    Fingerprint fingerprint{.threads = team.size()};
    if (!json.empty()) fingerprint.models = {fingerprint_of("model", model)};
    const Inspection inspection = inspect(model, context, kv_cache, team);
    if (json != "-") std::cout << inspection_text(inspection);
    if (!json.empty()) write_json(json, inspection_json(inspection, fingerprint));
  });
}

}  // namespace whittle
