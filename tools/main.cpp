#include <algorithm>
#include <exception>
#include <iostream>
#include <new>

#include "bench/version.h"
#include "engine/files/cut_file.h"
#include "engine/files/json_file.h"
#include "kernels/kernel_table.h"
#include "tools/commands.h"
#include "tools/options.h"
#include "tools/streams.h"

namespace whittle {
namespace {

// Runs `body`; what it throws becomes one line on standard error, and the exit code.
template <typename Body>
int guarded(const CLI::App& app, const Body& body) {
  try {
    body();
    return exit_done;
  } catch (const CLI::RuntimeError& error) {
    return error.get_exit_code();
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? exit_done : exit_usage;
  } catch (const OptionError& error) {
    std::cerr << "whittle: " << printable(flag_error(app, error)) << '\n';
  } catch (const std::bad_alloc&) {
    std::cerr << "whittle: out of memory\n";
  } catch (const std::exception& error) {
    std::cerr << "whittle: " << printable(error.what()) << '\n';
  }
  return exit_failed;
}

std::string instruction_set_names() {
  std::string names;
  for (const InstructionSet& set : instruction_sets())
    names += (names.empty() ? "" : "|") + std::string(set.table->name);
  return names;
}

}  // namespace
}  // namespace whittle

int main(int argc, char** argv) {
  using namespace whittle;
  open_missing_streams();
  CLI::App app("Whittle: quantize language models, run them on CPUs, and measure what was gained and lost.",
               "whittle");
  app.set_version_flag("--version", version_text());
  app.require_subcommand(1);
  app.option_defaults()->multi_option_policy(
      CLI::MultiOptionPolicy::TakeLast);  // a script's flags can be overridden
  app.get_formatter()->column_width(34);
  app.failure_message(
      [](const CLI::App* failed, const CLI::Error& error) { return usage_error(*failed, error); });
  app.footer(
      "Each command has --help with examples. Exit codes: 0 done, 1 failed, 2 wrong usage, 3 a gate was "
      "exceeded (gate also: 4 inconclusive, 5 not comparable).\n"
      "WHITTLE_ISA=" +
      instruction_set_names() + " forces an instruction set; WHITTLE_PIN=0 leaves threads unpinned.");
  add_quantize(app);
  add_prune(app);
  add_frontier(app);
  add_export(app);
  add_generate(app);
  add_bench(app);
  add_drift(app);
  add_gate(app);
  add_tasks(app);
  add_tokenize(app);
  add_inspect(app);
  add_machine(app);
  add_synthesize(app);
  add_estimate(app);
  add_soak(app);
  add_compare(app);
  add_report(app);
  add_completion(app);
  catch_cut_files();
  const int code = guarded(app, [&] { app.parse(argc, argv); });
  if (code == exit_failed) return code;
  return std::max(code, guarded(app, flush_output));
}
