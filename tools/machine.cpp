#include <iostream>

#include "bench/reports/json_report.h"
#include "bench/reports/machine_report.h"
#include "kernels/kernel_table.h"
#include "tools/commands.h"
#include "tools/options.h"

namespace whittle {

void add_machine(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("machine", "This machine: CPU, instruction sets, caches, and measured limits");
  static int threads = 0;
  static std::string json;
  add_threads(*command, threads);
  add_json(*command, json);
  command->footer("Examples:\n  whittle machine\n  whittle machine --threads 1 --json machine.json");
  command->callback([] {
    if (!json.empty()) check_report_path(json);
    const MachineReport report = report_machine(threads, kernels().name);
    if (json != "-") std::cout << machine_text(report);
    if (!json.empty()) {
      nlohmann::json whole = report_header("machine", {.threads = report.limits.threads});
      whole["machine"] = machine_json(report);
      write_json(json, whole);
    }
  });
}

}  // namespace whittle
