#include <fmt/format.h>

#include <iostream>

#include "bench/reports/json_report.h"
#include "bench/reports/pages/report_page.h"
#include "bench/reports/table.h"
#include "engine/files/json_file.h"
#include "tools/commands.h"
#include "tools/options.h"
#include "tools/report_files.h"

namespace whittle {
namespace {

struct ReportFlags {
  std::vector<std::string> files;
  std::string html, title;
};

void run(const ReportFlags& flags) {
  check_outputs({{"--html", flags.html}});
  refuse_own_output(flags.files, {{"--html", flags.html}});
  const std::vector<ReportFile> files = read_reports(flags.files);
  const std::string page = report_page(files, flags.title);
  write_report(flags.html, page);
  if (flags.html != "-")
    std::cout << fmt::format("{}: {} in {}\n", printable(flags.html),
                             files.size() == 1 ? "1 report" : fmt::format("{} reports", files.size()),
                             format_bytes(static_cast<double>(page.size())));
}

}  // namespace

void add_report(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("report", "Reports as one page with pictures, which needs no network and no script");
  static ReportFlags flags;
  flags.title = "Whittle report";
  add_report_files(*command, flags.files, "those of one kind stand side by side");
  command->add_option("--html", flags.html, "Page to write; - is standard output")
      ->required()
      ->type_name("FILE")
      ->check(not_empty());
  command->add_option("--title", flags.title, "Heading of the page")
      ->type_name("TEXT")
      ->capture_default_str()
      ->check(not_empty());
  command->footer(
      "Shown is what the reports hold: latencies, throughput, rooflines of bench --profile, drift by layer\n"
      "and window, answers, gates, memory over time, the frontier, and every figure as text.\n"
      "Examples:\n"
      "  whittle report bench.json drift.json tasks.json --html model.html\n"
      "  whittle report before.json after.json --html change.html --title 'New kernels'");
  command->callback([] { run(flags); });
}

}  // namespace whittle
