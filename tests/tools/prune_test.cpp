// `whittle prune`, and `quantize --sparsity`, from outside.

#include <catch2/catch.hpp>
#include <chrono>
#include <csignal>
#include <thread>

#include "tests/support/commands.h"
#include "tests/support/reports.h"
#include "tests/support/tiny_model.h"

using namespace whittle::test;
using nlohmann::json;
namespace fs = std::filesystem;

TEST_CASE("Flags about weights that become zero go together or are refused") {
  const std::vector<std::vector<std::string>> wrong = {
      {"prune", "--sparsity", "0"},
      {"prune", "--sparsity", "1.5"},
      {"prune", "--sparsity", "nan"},
      {"prune", "--pattern", "4:2"},
      {"prune", "--pattern", "2:17"},
      {"prune", "--sparsity", "0.5", "--pattern", "2:4"},
      {"prune", "--sparsity", "0.5", "--mlp-width", "0.5"},
      {"prune", "--sparsity", "0.5", "--alike"},
      {"prune", "--sparsity", "0.5", "--effort", "fast", "--method", "wanda"},
      {"prune", "--sparsity", "0.5", "--method", "magnitude", "--resume"},
      {"prune", "--sparsity", "0.5", "--method", "magnitude", "--allocate", "kl"},
      {"prune", "--pattern", "2:4", "--allocate", "kl"},
      {"prune", "--mlp-width", "0.5", "--method", "alps"},
      {"quantize", "--prune-method", "alps"},
      {"quantize", "--allocate", "kl"},
      {"quantize", "--sparsity", "0.5", "--effort", "fast", "--prune-method", "alps"},
      {"quantize", "--sparsity", "0.5", "--target-bits", "5"},
      {"quantize", "--sparsity", "0.5", "--recipe", "a.json"}};
  for (const std::vector<std::string>& flags : wrong) {
    INFO(json(flags).dump());
    std::vector<std::string> arguments = flags;
    arguments.insert(arguments.begin() + 1, {reference_model(), "out"});
    const Outcome outcome = run_whittle(arguments);
    CHECK(outcome.exit_code == 2);
    CHECK(outcome.out.empty());
    CHECK_FALSE(outcome.err.empty());
  }
}

TEST_CASE("The smallest weights go in seconds, and recipes say it again") {
  const TemporaryFolder folder;
  const std::string out = folder.path() / "out", again = folder.path() / "again",
                    codes = folder.path() / "codes";
  const Outcome made =
      succeed({"prune", reference_model(), out, "--sparsity", "0.5", "--effort", "fast", "--json", "-"});
  CHECK(parse_report(made.out).at("zeros").get<double>() == Approx(0.5).margin(1e-6));
  succeed({"prune", reference_model(), again, "--recipe", out + "/recipe.json"});
  CHECK(read_text(out + "/model.safetensors") == read_text(again + "/model.safetensors"));
  const Outcome quantized =
      succeed({"quantize", reference_model(), codes, "--pattern", "2:4", "--effort", "fast"});
  CHECK(has(quantized.out, "of the weights of pruned modules are zero"));
  // A recipe of codes is no work for prune.
  CHECK(run_whittle({"prune", reference_model(), folder.path() / "no", "--recipe", codes + "/recipe.json"})
            .exit_code == 2);
  CHECK(has(succeed({"inspect", codes}).out, "2:4"));
}

TEST_CASE("A search for blocks that is interrupted is gone on with") {
  using namespace std::chrono_literals;
  const TemporaryFolder folder;
  const fs::path out = folder.path() / "out", work = folder.path() / ".out.whittle-work";
  const std::vector<std::string> command = {"prune", reference_model(), out,     "--drop-blocks",
                                            "1",     "--calibration",   story(), "--calibration-tokens",
                                            "600",   "--threads",       "1",     "--resume"};
  Child child(whittle_command(command));
  while (!fs::exists(work / "measured.safetensors") && !child.ended()) std::this_thread::sleep_for(1ms);
  child.send(SIGINT);
  CHECK(child.wait().signal == SIGINT);
  CHECK_FALSE(fs::exists(out));
  REQUIRE(fs::exists(work));
  succeed(command);
  CHECK_FALSE(fs::exists(work));
  // A recipe says what stays, and nothing is searched.
  const std::string recipe = out / "recipe.json", again = folder.path() / "again";
  CHECK(run_whittle({"prune", reference_model(), again, "--recipe", recipe, "--resume"}).exit_code == 2);
  succeed({"prune", reference_model(), again, "--recipe", recipe});
  CHECK(read_text(out / "model.safetensors") == read_text(fs::path(again) / "model.safetensors"));
}
