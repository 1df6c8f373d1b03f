#include <fmt/format.h>

#include <iostream>

#include "bench/reports/compare/comparison_report.h"
#include "bench/reports/json_report.h"
#include "tools/commands.h"
#include "tools/options.h"
#include "tools/report_files.h"

namespace whittle {
namespace {

struct CompareFlags {
  std::vector<std::string> files;
  std::string json, markdown;
};

void run(const CompareFlags& flags) {
  if (flags.files.size() < 2)
    throw CLI::ValidationError("FILE", "one report alone cannot be compared; give two or more");
  check_outputs({{"--json", flags.json}, {"--markdown", flags.markdown}});
  refuse_own_output(flags.files, {{"--json", flags.json}, {"--markdown", flags.markdown}});
  const std::vector<ReportFile> files = read_reports(flags.files);
  const std::vector<ReportGroup> groups = compare_reports(files);
  const ComparedReports compared{files, groups};
  if (flags.json != "-" && flags.markdown != "-") std::cout << compared_text(compared);
  if (!flags.json.empty()) write_json(flags.json, compared_json(compared));
  if (!flags.markdown.empty()) write_report(flags.markdown, compared_markdown(compared));
}

}  // namespace

void add_compare(CLI::App& app) {
  CLI::App* command =
      app.add_subcommand("compare", "Reports side by side: what is better, worse, or no more than chance");
  static CompareFlags flags;
  add_report_files(*command, flags.files, "the first is what the others are compared with");
  command->add_option("--markdown", flags.markdown, "Write the same table as Markdown")
      ->type_name("FILE")
      ->check(not_empty());
  add_json(*command, flags.json);
  command->footer(
      "Figures are matched by model and setting, reports of other kinds apart from each other. What the\n"
      "reports do not share (machine, threads, text, ...) is said first.\n"
      "Examples:\n"
      "  whittle compare before.json after.json\n"
      "  whittle compare int8.json int5.json int4.json --markdown summary.md\n"
      "  whittle compare monday-bench.json monday-drift.json today-bench.json today-drift.json --json -");
  command->callback([] { run(flags); });
}

}  // namespace whittle
