// Sweeps: every combination, measured in turns, and the tables of all cells.

#include "bench/sweep.h"

#include <catch2/catch.hpp>
#include <set>

#include "bench/reports/cells_report.h"
#include "bench/reports/speed_report.h"
#include "bench/reports/table.h"
#include "bench/summary.h"
#include "kernels/error.h"
#include "tests/support/lines.h"
#include "tests/support/paths.h"
#include "tests/support/reports.h"
#include "tests/support/tiny_model.h"
#include "tests/support/tokenizer_files.h"

using namespace whittle;
using test::reference_model;

namespace {

SpeedRepeat made_up_repeat(double seconds) {
  SpeedRepeat repeat;
  repeat.tokenization = 0.25 * seconds;
  repeat.prefill = seconds;
  repeat.first_sampling = 0.5 * seconds;
  repeat.latencies = {0.01 * seconds, 0.03 * seconds};
  repeat.steps = {0.008 * seconds, 0.02 * seconds};
  repeat.sampling = repeat.detokenization = 0.006 * seconds;
  repeat.arithmetic_gops = repeat.read_gb_per_s = 100;
  repeat.work = {.prompt_tokens = 100, .gen_tokens = 2, .prefill_operations = 2e9, .decode_bytes = 1e8};
  return repeat;
}

// Two models at the points of `lists`, the second model twice as fast.
BenchReport made_up_report(const SweepLists& lists, bool has_baseline) {
  BenchReport report;
  report.points = sweep_points(lists, {.repeat = 2});
  report.has_baseline = has_baseline;
  report.machine.limits.threads = 1;
  for (const double slow : {2.0, 1.0}) {
    ModelSummary& model = report.models.emplace_back();
    model.peak_rss_bytes = 1000;
    for (const SweepPoint& point : report.points) {
      SpeedReport& cell = model.cells.emplace_back();
      cell.name = slow > 1 ? "original" : "a|b,\"c\"";
      cell.size = {1000, 900, 450};
      cell.options = point.speed;
      cell.threads = point.threads;
      cell.repeats = {made_up_repeat(slow), made_up_repeat(slow)};
    }
  }
  return report;
}

// Fields of a line as RFC 4180 has them.
std::vector<std::string> csv_fields(const std::string& line) {
  std::vector<std::string> fields(1);
  bool quoted = false;
  for (size_t i = 0; i < line.size(); ++i) {
    const bool twice = quoted && line[i] == '"' && i + 1 < line.size() && line[i + 1] == '"';
    if (twice)
      fields.back() += line[i++];
    else if (line[i] == '"')
      quoted = !quoted;
    else if (line[i] == ',' && !quoted)
      fields.emplace_back();
    else
      fields.back() += line[i];
  }
  return fields;
}

}  // namespace

TEST_CASE("a sweep has every combination once, and refuses lists that make no sense") {
  const SweepLists lists = {.threads = {1, 2},
                            .kv_cache = {KvFormat::f16, KvFormat::int8},
                            .context = {0, 9},
                            .sequences = {1, 4, 16},
                            .prompt_tokens = {5},
                            .gen_tokens = {6, 7}};
  const std::vector<SweepPoint> points = sweep_points(lists, {.repeat = 3});
  CHECK(points.size() == 2 * 2 * 2 * 3 * 1 * 2);
  std::set<std::tuple<int, KvFormat, int64_t, int64_t, int64_t, int64_t>> seen;
  for (const auto& [threads, speed] : points) {
    CHECK(speed.repeat == 3);
    seen.insert(
        {threads, speed.kv_cache, speed.context, speed.sequences, speed.prompt_tokens, speed.gen_tokens});
  }
  CHECK(seen.size() == points.size());
  CHECK(points[0].speed.gen_tokens == 6);
  CHECK(points[1].speed.gen_tokens == 7);
  CHECK_THROWS_WITH(sweep_points({.sequences = {4, 1, 4}}, {}),
                    Catch::Contains("sequences") && Catch::Contains("twice"));
  CHECK_THROWS_WITH(sweep_points({.threads = {}}, {}), Catch::Contains("threads"));
  SweepLists many;
  many.prompt_tokens.clear();
  for (int64_t i = 1; i <= 501; ++i) many.prompt_tokens.push_back(i);
  many.context = {0, 1};
  CHECK_THROWS_WITH(sweep_points(many, {}), Catch::Contains("1002"));
}

TEST_CASE("models and settings take turns, and every cell is measured at its own setting") {
  const test::TemporaryFolder folder;
  const std::vector<std::filesystem::path> folders = {folder.path() / "a", folder.path() / "b"};
  for (const auto& path : folders) {
    std::filesystem::create_directory(path);
    test::write_tiny_model(path);
  }
  const Team one(1), two(2);
  const SpeedOptions small = {.prompt_tokens = 5, .gen_tokens = 3, .repeat = 2};
  SpeedOptions large = small;
  large.context = 11;
  large.sequences = 3;
  large.kv_cache = KvFormat::int8;
  const std::vector<SpeedSetting> settings = {{&one, small}, {&two, large}};
  std::string order;
  int64_t last = 0, all = 0;
  const SpeedReports reports =
      measure_speed(folders, settings, [&](int64_t done, int64_t total, const std::string& name) {
        CHECK(done == ++last);
        all = total;
        order += name;
      });
  CHECK(last == all);
  CHECK(order ==
        "ababababab"
        "ab");
  CHECK(reports.alternated);
  REQUIRE(reports.models.size() == 4);
  const Model model(folders[0], one);
  for (size_t i = 0; i < 4; ++i) {
    const SpeedReport& cell = reports.models[i];
    const SpeedOptions& asked = settings[i % 2].options;
    CHECK(cell.name == (i < 2 ? "a" : "b"));
    CHECK(cell.threads == settings[i % 2].team->size());
    CHECK(cell.options.context == asked.context);
    CHECK(cell.options.sequences == asked.sequences);
    REQUIRE(cell.repeats.size() == 2);
    // The KV entries that each step looks back on, counted one by one.
    double kv = 0;
    for (int64_t step = 1; step <= 3; ++step)
      kv += static_cast<double>(asked.sequences *
                                KvCache::bytes(model.spec(), asked.kv_cache, asked.context + 5 + step));
    for (const SpeedRepeat& repeat : cell.repeats) {
      CHECK(repeat.latencies.size() == 3);
      CHECK(repeat.steps.size() == 3);
      for (size_t step = 0; step < 3; ++step) CHECK(repeat.steps[step] <= repeat.latencies[step]);
      CHECK(repeat.work.decode_bytes == Approx(static_cast<double>(model.decode_bytes()) + kv / 3));
    }
    CHECK(cell.kv_cache_bytes ==
          asked.sequences * KvCache::bytes(model.spec(), asked.kv_cache, asked.context + 8));
  }
  SpeedOptions beyond = small;
  beyond.context = model.spec().max_position_embeddings - 7;
  CHECK_THROWS_WITH(measure_speed(folders, one, beyond, nullptr),
                    Catch::Contains("context") && Catch::Contains("max_position_embeddings"));
}

TEST_CASE("what stands around the decoder is inside or outside the figures, as asked") {
  SpeedReport report;
  report.repeats = {made_up_repeat(1)};
  const auto figures = [&](Timing timing) {
    report.options.timing = timing;
    return std::vector{report.ttft_ms()[0], report.prefill_tokens_per_s()[0], report.decode_tokens_per_s()[0],
                       report.latencies_ms()[0], report.request_ms()[0]};
  };
  const double usual[] = {1750, 100, 50, 10, 1790};
  for (size_t i = 0; i < std::size(usual); ++i) CHECK(figures(Timing::usual)[i] == Approx(usual[i]));
  CHECK(figures(Timing::end_to_end)[1] == Approx(100 / 1.75));
  CHECK(figures(Timing::end_to_end)[0] == 1750);
  CHECK(figures(Timing::end_to_end)[3] == 10);
  CHECK(figures(Timing::model_only)[0] == 1000);
  CHECK(figures(Timing::model_only)[1] == 100);
  CHECK(figures(Timing::model_only)[2] == Approx(2 / 0.028));
  CHECK(figures(Timing::model_only)[3] == 8);
  // What is compared with the machine's peak is the decoder alone in any case.
  for (const Timing timing : {Timing::usual, Timing::end_to_end, Timing::model_only}) {
    report.options.timing = timing;
    CHECK(report.prefill_gops()[0] == 2);
  }
}

TEST_CASE("one setting keeps its keys, several stand in cells alone") {
  const nlohmann::json one = bench_json(made_up_report({.threads = {1}}, true), {});
  test::check_schema(one);
  CHECK(one["schema"] == "whittle.bench");
  CHECK(one["version"] == 1);
  CHECK(one["protocol"]["threads"] == 1);
  CHECK(one["protocol"]["prompt_tokens"] == 512);
  CHECK(one["protocol"]["timing"] == "usual");
  CHECK(one["goal"].is_null());
  REQUIRE(one["cells"].size() == 2);
  for (size_t i = 0; i < 2; ++i)
    for (const char* key : {"ttft_ms", "decode_tokens_per_s", "itl_ms", "kv_cache_bytes", "spread"})
      CHECK(one["cells"][i][key] == one["models"][i][key]);
  CHECK(one["models"][1]["against_baseline"]["decode_speedup"] == Approx(2));

  const nlohmann::json several = bench_json(made_up_report({.threads = {1, 2}, .context = {0, 7}}, true), {});
  test::check_schema(several);
  REQUIRE(several["cells"].size() == 8);
  CHECK(several["protocol"]["threads"].is_null());
  CHECK(several["protocol"]["context"].is_null());
  CHECK(several["protocol"]["prompt_tokens"] == 512);
  CHECK(several["models"][0]["bits_per_weight"] == one["models"][0]["bits_per_weight"]);
  for (const auto& [key, value] : one["models"][1].items()) {
    INFO(key);
    CHECK(several["models"][1].contains(key));
  }
  CHECK(several["models"][1]["decode_tokens_per_s"].is_null());
  CHECK(several["models"][1]["against_baseline"]["decode_speedup"].is_null());
  const nlohmann::json& last = several["cells"][7];
  CHECK(last["threads"] == 2);
  CHECK(last["context"] == 7);
  CHECK(last["is_baseline"] == false);
  CHECK(last["against_baseline"]["decode_speedup"] == Approx(2));
  CHECK(several["cells"][0]["against_baseline"].is_null());
}

TEST_CASE("the table of cells has a row for each, the settings that differ, and fits the terminal") {
  const BenchReport narrow = made_up_report({.sequences = {1, 4}}, true);
  const std::string text = cells_text(narrow);
  CHECK_THAT(text, Catch::Contains("seq") && Catch::Contains("original") && Catch::Contains("×"));
  CHECK_THAT(text, !Catch::Contains("gen  ") && Catch::Contains("gen 128"));
  const BenchReport wide = made_up_report({.threads = {1, 2},
                                           .kv_cache = {KvFormat::f16, KvFormat::int8},
                                           .context = {0, 4096},
                                           .sequences = {1, 16},
                                           .prompt_tokens = {128, 512},
                                           .gen_tokens = {32, 64}},
                                          true);
  for (const BenchReport* report : {&narrow, &wide})
    for (const std::string& line : test::lines_of(cells_text(*report)))
      CHECK(display_width(line) <= report_width);
  CHECK(test::lines_of(cells_text(wide)).size() > 128);
}

TEST_CASE("cells as CSV come back field by field, and as Markdown keep their columns") {
  const BenchReport report = made_up_report({.sequences = {1, 4}}, true);
  const std::string csv = cells_csv(report);
  std::vector<std::string> lines = test::lines_of(csv);
  REQUIRE(lines.size() == 5);
  for (std::string& line : lines) {
    REQUIRE(line.ends_with('\r'));
    line.pop_back();
  }
  const std::vector<std::string> header = csv_fields(lines[0]);
  const nlohmann::json cells = cells_json(report);
  for (size_t row = 0; row < 4; ++row) {
    const std::vector<std::string> fields = csv_fields(lines[row + 1]);
    REQUIRE(fields.size() == header.size());
    const auto field = [&](const std::string& name) {
      return fields[static_cast<size_t>(std::ranges::find(header, name) - header.begin())];
    };
    CHECK(field("model") == cells[row]["model"]);
    CHECK(std::stoll(field("sequences")) == cells[row]["sequences"]);
    CHECK(std::stod(field("ttft_ms")) == cells[row]["ttft_ms"]);
    CHECK(std::stod(field("itl_ms_p95")) == cells[row]["itl_ms"]["p95"]);
    CHECK(field("energy_decode_joules_per_token").empty());
    CHECK(field("against_baseline_decode_speedup").empty() == cells[row]["is_baseline"]);
  }

  const auto columns = [](const std::string& line) {
    size_t count = 0;
    for (size_t i = 0; i < line.size(); ++i) count += line[i] == '|' && (i == 0 || line[i - 1] != '\\');
    return count;
  };
  const std::vector<std::string> rows = test::lines_of(cells_markdown(report));
  REQUIRE(rows.size() > 6);
  for (size_t i = 1; i < 6; ++i) CHECK(columns(rows[i]) == columns(rows[0]));
  CHECK_THAT(rows[5], Catch::Contains("a\\|b"));
}

TEST_CASE("prompts of a file are measured one by one, as long as each says") {
  const std::vector<PromptLine> prompts =
      parse_prompts("{\"prompt\": \"Once upon a time\"}\n{\"prompt\": \"The\", \"max_tokens\": 2}\n", "p");
  const std::vector<std::filesystem::path> folders = {reference_model()};
  SpeedOptions options = {.gen_tokens = 5, .repeat = 2};
  options.prompts = prompts;
  const Team team(1);
  const SpeedReport report = measure_speed(folders, team, options, nullptr).models[0];
  const Tokenizer tokenizer = Tokenizer::open(reference_model());
  REQUIRE(report.repeats.size() == 4);
  for (size_t i = 0; i < 4; ++i) {
    const Workload& work = report.repeats[i].work;
    CHECK(work.line == static_cast<int64_t>(i % 2 + 1));
    CHECK(work.prompt_tokens == std::ssize(tokenizer.encode(prompts[i % 2].text)));
    CHECK(report.repeats[i].latencies.size() == (i % 2 ? 2 : 5));
  }
  const nlohmann::json requests = setting_json(report)["requests"];
  REQUIRE(requests.size() == 2);
  CHECK(requests[1]["line"] == 2);
  CHECK(requests[1]["gen_tokens"] == 2);
  CHECK(requests[0]["request_ms"] > requests[0]["ttft_ms"]);

  options.gen_tokens = 512;
  CHECK_THROWS_WITH(measure_speed(folders, team, options, nullptr),
                    Catch::Contains("p, line 1") && Catch::Contains("max_position_embeddings"));
  const test::TemporaryFolder folder;
  test::write_tiny_model(folder.path());
  const std::vector<std::filesystem::path> without = {folder.path()};
  CHECK_THROWS_WITH(measure_speed(without, team, options, nullptr), Catch::Contains("no tokenizer"));
}

TEST_CASE("a goal of throughput tries numbers of sequences, and says which kept the limit") {
  BenchOptions options;
  options.models = {reference_model()};
  options.points = {{1, {.prompt_tokens = 4, .gen_tokens = 2, .repeat = 1}}};
  options.goal = Goal::throughput;
  options.throughput = {.max_itl_ms = 1e6, .max_sequences = 3};
  options.memory_child = [](const std::filesystem::path&, const SweepPoint&) {
    return std::vector<std::string>{"echo", "{\"peak_rss_bytes\": 7}"};
  };
  const BenchReport kept = measure_models(options, nullptr);
  const nlohmann::json json = bench_json(kept, {});
  test::check_schema(json);
  CHECK(json["goal"]["name"] == "throughput");
  CHECK(json["goal"]["max_itl_ms"] == 1e6);
  const nlohmann::json& search = json["goal"]["searches"][0];
  CHECK(search["ended_by"] == "max_sequences");
  CHECK(search["tried"].size() == 3);  // 1, 2, 3
  REQUIRE(json["cells"].size() == 3);
  for (size_t i = 0; i < 3; ++i) {
    CHECK(json["cells"][i]["sequences"] == i + 1);
    CHECK(json["cells"][i]["within_goal"] == true);
    CHECK(json["cells"][i]["kv_cache_bytes"] == (i + 1) * 6 * 8 * 2 * 4 * 32 * 2);
  }
  CHECK(json["models"][0]["decode_tokens_per_s"].is_null());
  CHECK(json["models"][0]["peak_rss_bytes"] == 7);
  CHECK_THAT(bench_text(kept), Catch::Contains("best") && Catch::Contains("no more than 3 sequences"));

  options.throughput.max_itl_ms = 1e-6;
  const nlohmann::json none = bench_json(measure_models(options, nullptr), {});
  test::check_schema(none);
  CHECK(none["goal"]["searches"][0]["sequences"].is_null());
  CHECK(none["goal"]["searches"][0]["ended_by"] == "latency");
  CHECK(none["cells"][0]["within_goal"] == false);
}

TEST_CASE("what watching costs is measured beside the profile, with its interval") {
  const std::vector<std::filesystem::path> folders = {reference_model()};
  const SpeedOptions options = {.prompt_tokens = 8, .gen_tokens = 4, .repeat = 1, .profile = true};
  const SpeedReport report = measure_speed(folders, Team(1), options, nullptr).models[0];
  const nlohmann::json watching = profiles_json(report)["watching"];
  for (const char* phase : {"prefill", "decode"}) {
    INFO(phase);
    CHECK(watching[phase]["pairs"] >= 6);
    CHECK(watching[phase]["ratio"] > 0);
    CHECK(watching[phase]["ratio_ci95"][0] <= watching[phase]["ratio"]);
    CHECK(watching[phase]["ratio_ci95"][1] >= watching[phase]["ratio"]);
  }
  CHECK_THAT(watching_text(report.profiles[1]), Catch::Contains("decode") && Catch::Contains("pairs"));
}
