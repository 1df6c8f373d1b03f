#pragma once
// One function a subcommand: it declares the flags and says what runs. Everything else lives in the
// libraries.

#include <CLI/CLI.hpp>

namespace whittle {

// What the program returns; other errors than these are Error, for which main() prints one line and
// returns 1.
enum ExitCode : int {
  exit_done = 0,
  exit_failed = 1,
  exit_usage = 2,
  exit_gate = 3,
  exit_inconclusive = 4,
  exit_incomparable = 5
};

// Each callback throws Error, or CLI::RuntimeError with an exit code when a gate was exceeded.
void add_quantize(CLI::App& app);
void add_prune(CLI::App& app);
void add_frontier(CLI::App& app);
void add_export(CLI::App& app);
void add_generate(CLI::App& app);
void add_bench(CLI::App& app);
void add_drift(CLI::App& app);
void add_gate(CLI::App& app);
void add_tasks(CLI::App& app);
void add_tokenize(CLI::App& app);
void add_inspect(CLI::App& app);
void add_machine(CLI::App& app);
void add_synthesize(CLI::App& app);
void add_estimate(CLI::App& app);
void add_soak(CLI::App& app);
void add_compare(CLI::App& app);
void add_report(CLI::App& app);
void add_completion(CLI::App& app);

}  // namespace whittle
