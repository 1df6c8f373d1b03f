// Reports fit into a terminal of 80 columns, whatever the models are called.

#include <catch2/catch.hpp>
#include <sstream>

#include "bench/reports/table.h"
#include "tests/support/commands.h"

using namespace whittle;
using namespace whittle::test;
namespace fs = std::filesystem;

TEST_CASE("Every report fits into 80 columns") {
  const TemporaryFolder folder;
  const std::string long_name = folder.path() / ("a-model-with-a-" + std::string(90, 'x') + "-name"),
                    other = folder.path() / "TinyLlama-1.1B-Chat-v1.0-int4-group-32";
  fs::copy(int8_model(), long_name, fs::copy_options::recursive);
  fs::copy(int8_model(), other, fs::copy_options::recursive);
  const std::vector<std::string> bench = {
      "bench",    long_name, int8_model(),      other, "--baseline",   reference_model(),
      "--text",   story(),   "--prompt-tokens", "16",  "--gen-tokens", "4",
      "--repeat", "2",       "--threads",       "2",   "--profile"};
  for (const auto& arguments : {std::vector<std::string>{"inspect", long_name},
                                {"machine"},
                                drift_arguments(),
                                with(drift_arguments(), {"--layers"}),
                                {"compare", two_reports()[0], two_reports()[1]},
                                bench}) {
    const Outcome outcome = run_whittle(arguments);
    INFO(outcome.out << outcome.err);
    CHECK(outcome.exit_code == 0);
    std::istringstream lines(outcome.out);
    for (std::string line; std::getline(lines, line);) {
      INFO(line);
      CHECK(display_width(line) <= 80);
    }
  }
}
