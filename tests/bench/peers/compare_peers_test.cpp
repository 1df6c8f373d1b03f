#include <algorithm>
#include <catch2/catch.hpp>

#include "bench/peers/comparison.h"
#include "bench/peers/comparison_report.h"
#include "kernels/error.h"
#include "tests/support/fake_peer.h"
#include "tests/support/reports.h"

using namespace whittle;
using namespace whittle::test;
using Catch::Contains;

namespace {

// The pairs' readings differ by `spreads` in turns, the last for all that follow.
Probe probe_with_spreads(std::vector<double> spreads) {
  return [spreads, reading = size_t{0}]() mutable {
    const size_t pair = std::min(reading / 3, spreads.size() - 1);
    const bool middle = reading++ % 3 == 1;
    return ProbeReading{10 * (middle ? spreads[pair] : 1), 100};
  };
}

MachineReport some_machine() {
  MachineReport machine;
  machine.machine.cpu = "some CPU";
  machine.isa_chosen = "scalar";
  machine.limits.threads = 1;
  return machine;
}

// A cell of pairs whose speeds are given: ours and the peer's, prefill ten times decode.
Comparison comparison_of(const std::vector<std::pair<double, double>>& speeds) {
  Comparison comparison;
  comparison.threads = 2;
  comparison.options.peers = {{"fake", "/bin/llama-batched-bench", {"-rtr"}, "abc123"}};
  comparison.options.pairs = 3;
  comparison.cells.push_back({"model-int8", "folder/model-q8_0.gguf", "fake", {}, 4});
  for (const auto& [ours, peer] : speeds)
    comparison.cells[0].kept.push_back({true, {}, {10 * ours, 0.5, 10 * peer}, {ours, 0.25, peer}});
  return comparison;
}

}  // namespace

TEST_CASE("a pair counts while neither probe's readings lie further apart than the tolerance") {
  const auto of = [](std::array<double, 3> read, std::array<double, 3> int8) {
    return std::array<ProbeReading, 3>{{{read[0], int8[0]}, {read[1], int8[1]}, {read[2], int8[2]}}};
  };
  CHECK(steady(of({10, 10, 10}, {7, 7, 7}), 1.0));
  CHECK(steady(of({10, 12.5, 11}, {400, 350, 380}), 1.25));
  CHECK_FALSE(steady(of({10, 12.6, 11}, {400, 400, 400}), 1.25));
  CHECK_FALSE(steady(of({12.6, 11, 10}, {400, 400, 400}), 1.25));
  CHECK_FALSE(steady(of({10, 10, 10}, {400, 400, 300}), 1.25));
}

TEST_CASE("pairs alternate, unsteady ones are tried again, and the rest is counted") {
  const FakePeer fake("llama-batched-bench", "echo \"$@\" >>calls\n" + print(batched_table));
  ComparisonOptions options = small_options(fake);
  options.models.push_back(options.models.front());
  std::vector<const ComparisonCell*> order;
  std::vector<bool> kept;
  // How often the peer had run at each reading.
  std::vector<size_t> runs;
  // Rounds of two cells: the first cell's first pair and the second cell's second are dropped.
  const Probe reading = probe_with_spreads({2, 1, 1, 2, 1});
  const Probe probe = [&] { return runs.push_back(fake.lines("calls").size()), reading(); };
  const Comparison comparison =
      compare_peers(options, Team(1), probe, [&](const ComparisonCell& cell, const Pair&, bool counts) {
        order.push_back(&cell);
        kept.push_back(counts);
      });
  // Whittle first in each cell until a pair counts, then the peer.
  CHECK(runs == std::vector<size_t>{0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 4, 4, 4, 5, 5, 5, 6, 6});
  REQUIRE(comparison.cells.size() == 2);
  const ComparisonCell* first = order[0];
  const ComparisonCell* second = order[1];
  CHECK(first != second);
  CHECK(order == std::vector{first, second, first, second, first, second});
  CHECK(kept == std::vector{false, true, true, false, true, true});
  CHECK(comparison.threads == 1);
  for (const ComparisonCell& cell : comparison.cells) {
    CHECK(cell.model == "reference_model");
    CHECK(cell.peer == "fake");
    CHECK(cell.dropped == 1);
    REQUIRE(cell.kept.size() == 2);
    CHECK(cell.kept[0].ours_first);
    CHECK_FALSE(cell.kept[1].ours_first);
    for (const Pair& pair : cell.kept) {
      CHECK(pair.prefill.peer == 160.5);
      CHECK(pair.decode.peer == 80.25);
      CHECK(pair.probes[1].int8_gops == 100);
      for (const double ours :
           {pair.prefill.ours, pair.prefill.ours_of_limit, pair.decode.ours, pair.decode.ours_of_limit})
        CHECK(ours > 0);
    }
  }
  const std::vector<std::string> calls = fake.lines("calls");
  CHECK(calls.size() == 6);
  CHECK_THAT(calls.at(0),
             Contains("-m " + fake.gguf()) && Contains("-npp 16 -ntg 4 -npl 1 -t 1 ") && Contains("-extra"));
}

TEST_CASE("a machine that is never steady ends the comparison, with null for what is not known") {
  const FakePeer fake("llama-batched-bench", "echo >>calls\n" + print(batched_table));
  const Comparison comparison =
      compare_peers(small_options(fake), Team(1), probe_with_spreads({1.2}), nullptr);
  CHECK(comparison.cells.at(0).kept.empty());
  CHECK(comparison.cells[0].dropped == 6);
  CHECK(fake.lines("calls").size() == 6);
  const nlohmann::json cell =
      nlohmann::json::parse(comparison_json(comparison, some_machine(), {}).dump())["cells"][0];
  CHECK(cell["kept"] == 0);
  CHECK(cell["dropped"] == 6);
  CHECK(cell["decode"]["ratio"]["median"].is_null());
  CHECK(cell["prefill"]["ours_tokens_per_s"]["max"].is_null());
  const std::string text = comparison_text(comparison, some_machine());
  CHECK_THAT(text, Contains("0/6") && Contains("1 of 1 comparisons") && !Contains("nan") && !Contains("%"));
}

TEST_CASE("what no run could do is refused before any") {
  const FakePeer fake("llama-bench", "echo >>calls\n" + print(bench_rows));
  ComparisonOptions options = small_options(fake);
  int probes = 0;
  const Probe probe = [&] { return ++probes, ProbeReading{1, 1}; };
  options.speed.sequences = 4;
  CHECK_THROWS_WITH(compare_peers(options, Team(1), probe, nullptr), Contains("--sequences 4"));
  options.speed.sequences = 1;
  options.speed.prompt_tokens = 1000;
  CHECK_THROWS_WITH(compare_peers(options, Team(1), probe, nullptr), Contains("max_position_embeddings"));
  CHECK(probes == 0);
  CHECK(fake.lines("calls").empty());
}

TEST_CASE("a comparison reports the median of the pairs' ratios, not the ratio of medians") {
  // Ratios 2, 1/2 and 4; medians 20 and 10.
  const Comparison comparison = comparison_of({{20, 10}, {10, 20}, {32, 8}});
  const nlohmann::json json = comparison_json(comparison, some_machine(), {});
  test::check_schema(json);
  const nlohmann::json& cell = json["cells"][0];
  CHECK(cell["model"] == "model-int8");
  CHECK(cell["peer_model"] == "folder/model-q8_0.gguf");
  CHECK(cell["peer"] == "fake");
  CHECK(cell["kept"] == 3);
  CHECK(cell["dropped"] == 4);
  CHECK(cell["decode"]["ours_tokens_per_s"] ==
        nlohmann::json{{"median", 20.0}, {"min", 10.0}, {"max", 32.0}, {"mad", 10.0}});
  CHECK(cell["decode"]["peer_tokens_per_s"] ==
        nlohmann::json{{"median", 10.0}, {"min", 8.0}, {"max", 20.0}, {"mad", 2.0}});
  CHECK(cell["decode"]["ratio"] == nlohmann::json{{"median", 2.0}, {"min", 0.5}, {"max", 4.0}, {"mad", 1.5}});
  CHECK(cell["decode"]["of_limit"]["median"] == 0.25);
  CHECK(cell["prefill"]["ours_tokens_per_s"]["median"] == 200.0);
  CHECK(cell["prefill"]["of_limit"]["median"] == 0.5);
  REQUIRE(cell["pairs"].size() == 3);
  CHECK(cell["pairs"][2]["decode"]["peer_tokens_per_s"] == 8.0);
  CHECK(cell["pairs"][2]["ours_first"] == true);
  CHECK(cell["pairs"][0]["read_gb_per_s"].size() == 3);
  CHECK(cell["pairs"][0]["int8_gops"].size() == 3);
  const nlohmann::json& protocol = json["protocol"];
  CHECK(protocol["threads"] == 2);
  CHECK(protocol["kv_cache"] == "f16");
  CHECK(protocol["pairs"] == 3);
  CHECK(protocol["peers"][0]["name"] == "fake");
  CHECK(protocol["peers"][0]["commit"] == "abc123");
  CHECK(protocol["peers"][0]["command"].back() == "-rtr");
  CHECK(json["machine"]["cpu"] == "some CPU");

  const std::string text = comparison_text(comparison, some_machine());
  CHECK_THAT(text, Contains("model-q8_0.gguf") && Contains("2.00 (0.50–4.00)") && Contains("3/4") &&
                       Contains("fake, commit abc123: /bin/llama-batched-bench") && Contains("-rtr") &&
                       !Contains("comparisons have fewer"));
}

TEST_CASE("a peer that tells no prefill of one sequence has a row without its figures") {
  Comparison comparison = comparison_of({{20, 10}});
  comparison.cells[0].kept[0].prefill.peer.reset();
  const std::string text = comparison_text(comparison, some_machine());
  CHECK_THAT(text, Contains("prefill") && Contains("200") && !Contains("nan"));
  const nlohmann::json json = comparison_json(comparison, some_machine());
  CHECK(json["cells"][0]["prefill"]["peer_tokens_per_s"]["median"].is_null());
  CHECK(json["cells"][0]["decode"]["ratio"]["median"] == 2.0);
}

TEST_CASE("a peer's prefill that is of several prompts has no row and no ratio") {
  Comparison comparison = comparison_of({{20, 10}, {10, 20}});
  CHECK_THAT(comparison_text(comparison, some_machine()), Contains("prefill  "));
  comparison.options.speed.sequences = 4;
  for (Pair& pair : comparison.cells[0].kept) pair.prefill.peer.reset();
  const nlohmann::json json = nlohmann::json::parse(comparison_json(comparison, some_machine(), {}).dump());
  test::check_schema(json);
  CHECK(json["cells"][0]["prefill"]["ratio"]["median"].is_null());
  CHECK(json["cells"][0]["prefill"]["ours_tokens_per_s"]["median"] == 150.0);
  CHECK(json["cells"][0]["pairs"][0]["prefill"]["peer_tokens_per_s"].is_null());
  const std::string text = comparison_text(comparison, some_machine());
  CHECK_THAT(text, !Contains("prefill  ") && Contains("decode  ") && Contains("1 of 1 comparisons"));
}
