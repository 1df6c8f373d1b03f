#include "bench/speed.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <set>

#include "bench/peak_memory.h"
#include "bench/prompt.h"
#include "bench/reports/speed_report.h"
#include "bench/reports/table.h"
#include "bench/statistics.h"
#include "bench/summary.h"
#include "engine/kv_cache.h"
#include "kernels/error.h"
#include "tests/support/lines.h"
#include "tests/support/paths.h"
#include "tests/support/tiny_model.h"
#include "tests/support/tokenizer_files.h"

using namespace whittle;
using test::reference_model;

namespace {

constexpr SpeedOptions small = {.prompt_tokens = 20, .gen_tokens = 6, .repeat = 3};

// This very program, running the hidden case below with its own output switched off.
std::vector<std::string> memory_child(const std::filesystem::path&, const SweepPoint& = {}) {
  return {"/proc/self/exe", "child: reports its peak memory", "-o", "/dev/null"};
}

void check_positive(const nlohmann::json& json, const std::vector<std::string>& paths) {
  for (const std::string& path : paths) {
    INFO(path);
    const nlohmann::json::json_pointer pointer("/" + path);
    REQUIRE(json.contains(pointer));
    REQUIRE(json[pointer].is_number());
    CHECK(std::isfinite(json[pointer].get<double>()));
    CHECK(json[pointer].get<double>() > 0);
  }
}

// A folder with a random model of 32 tokens and a tokenizer of the characters `first` to z, without BOS.
void write_model_without_bos(const std::filesystem::path& folder, char first) {
  std::filesystem::create_directory(folder);
  std::vector<std::string> tokens;
  for (char c = first; c <= 'z'; ++c) tokens.emplace_back(1, c);
  test::write_tiny_model(folder, {.vocab_size = 32});
  test::write_text(folder / "tokenizer.json", test::bpe_tokenizer(tokens).dump());
}

}  // namespace

TEST_CASE("bench judges drift without BOS, and refuses ids that a model does not have before it measures") {
  const test::TemporaryFolder folder;
  const auto path = [&](const char* name) { return folder.path() / name; };
  write_model_without_bos(path("a"), 'a');
  write_model_without_bos(path("b"), 'a');
  bool measured = false;
  BenchOptions options;
  options.models = {path("b")};
  options.baseline = path("a");
  options.text = std::string(200, 'e');
  options.points = {{1, {.prompt_tokens = 20, .gen_tokens = 2, .repeat = 1}}};
  options.memory_child = [&](const std::filesystem::path& model, const SweepPoint&) {
    measured = true;
    return memory_child(model);
  };
  const BenchReport report = measure_models(options, nullptr);
  CHECK(report.windows.protocol == "windows without BOS");
  CHECK(report.windows.ids.size() == 200 / 64);
  CHECK(report.models[1].drift->tokens_scored == 3 * 63);
  CHECK(bench_text(report).find("windows without BOS") != std::string::npos);

  measured = false;
  write_model_without_bos(path("c"), 'A');  // its 'e' is token 36
  options.baseline = path("c");
  CHECK_THROWS_WITH(measure_models(options, nullptr), Catch::Contains("vocab_size 32"));
  CHECK_FALSE(measured);
}

TEST_CASE("child: reports its peak memory", "[.]") {
  report_own_peak_memory(reference_model(), Team(1), small);
}

TEST_CASE("an unquantized F16 model has 16 bits per weight, and every tensor counts") {
  const ModelFile file(reference_model());
  const ModelSize size = model_size(file, read_model_spec(file));
  CHECK(size.bits_per_weight() == 16.0);
  CHECK(size.tensor_bytes == 2 * size.weights);
  CHECK(size.disk_bytes > size.tensor_bytes);
  CHECK(size.disk_bytes < size.tensor_bytes + 100'000);
  // Embedding once, 7 linears and 2 norms in each of 8 layers, the last norm.
  const int64_t layer = 2 * 256 * 256 + 2 * 128 * 256 + 3 * 768 * 256 + 2 * 256;
  CHECK(size.weights == 4096 * 256 + 8 * layer + 256);
}

TEST_CASE("the prompt is always the same, as long as asked, and the beginning of its text") {
  const Tokenizer tokenizer = Tokenizer::open(reference_model());
  const ModelSpec spec = read_model_spec(ModelFile(reference_model()));
  for (const int64_t tokens : {1, 2, 33, 500}) {
    const Prompt prompt = make_prompt(spec, &tokenizer, tokens);
    REQUIRE(static_cast<int64_t>(prompt.ids.size()) == tokens);
    const std::vector<int32_t> ids = tokenizer.encode(prompt.text);
    CHECK(std::equal(prompt.ids.begin(), prompt.ids.end(), ids.begin()));
    CHECK(static_cast<int64_t>(ids.size()) < tokens + 12);
    CHECK(prompt.ids == make_prompt(spec, &tokenizer, tokens).ids);
  }
  const Prompt drawn = make_prompt(spec, nullptr, 1000);
  REQUIRE(drawn.ids.size() == 1000);
  CHECK(std::ranges::all_of(drawn.ids, [&](int32_t id) { return id >= 0 && id < spec.vocab_size; }));
  CHECK(std::set(drawn.ids.begin(), drawn.ids.end()).size() > 500);
}

TEST_CASE("a model's speed has every documented key, and they agree with one another") {
  const Team team(1);
  const std::vector<std::filesystem::path> folders = {reference_model()};
  int64_t last = 0, all = 0;
  const SpeedReports reports =
      measure_speed(folders, team, small, [&](int64_t done, int64_t total, const std::string&) {
        CHECK(done == last + 1);
        last = done;
        all = total;
      });
  CHECK(last == all);
  REQUIRE(reports.models.size() == 1);
  const SpeedReport& report = reports.models[0];
  REQUIRE(report.repeats.size() == 3);
  for (const SpeedRepeat& repeat : report.repeats) {
    CHECK(repeat.latencies.size() == 6);
    CHECK(repeat.sampling + repeat.detokenization < repeat.decode());
  }
  const nlohmann::json json = speed_json(report);
  CHECK(json["packings"] == nlohmann::json::array());  // no weight is mostly zeros
  check_positive(json, {"bits_per_weight",
                        "weights",
                        "disk_bytes",
                        "weights_bytes",
                        "kv_cache_bytes",
                        "load_seconds",
                        "ttft_ms",
                        "prefill_tokens_per_s",
                        "prefill_gops",
                        "prefill_fp32_fraction",
                        "decode_tokens_per_s",
                        "decode_gb_per_s",
                        "decode_bandwidth_fraction",
                        "decode_bytes_per_token",
                        "itl_ms/p50",
                        "itl_ms/p95",
                        "itl_ms/p99",
                        "shares/ttft_tokenization",
                        "shares/ttft_sampling",
                        "shares/itl_sampling",
                        "shares/itl_detokenization",
                        "adjacent_read_gb_per_s",
                        "adjacent_arithmetic_gops",
                        "spread/ttft_ms/median",
                        "spread/decode_bandwidth_fraction/max",
                        "spread/prefill_fp32_fraction/min"});
  CHECK(json["name"] == "reference_model");
  CHECK(json["prefill_int8_fraction"].is_null());  // float weights multiply floats
  CHECK(json["itl_ms"]["p50"] <= json["itl_ms"]["p95"]);
  CHECK(json["itl_ms"]["p95"] <= json["itl_ms"]["p99"]);
  CHECK(json["kv_cache_bytes"] ==
        26 * 8 * 2 * 4 * 32 * 2);  // positions, layers, K and V, heads, head_dim, f16
  CHECK(json["weights_bytes"].get<double>() == Approx(json["disk_bytes"].get<double>()).epsilon(0.05));
  // Every weight once, and KV entries of the positions so far: 21 to 26, of which the mean is 23.5.
  const Model model(reference_model(), team);
  CHECK(json["decode_bytes_per_token"].get<double>() ==
        Approx(static_cast<double>(model.decode_bytes()) + 23.5 * 8 * 2 * 4 * 32 * 2));
  CHECK(median(report.decode_gb_per_s()) ==
        Approx(median(report.decode_tokens_per_s()) * median(report.decode_bytes()) / 1e9));
}

TEST_CASE("several models take turns, and without a tokenizer its shares are null") {
  const test::TemporaryFolder folder;
  const std::filesystem::path one = folder.path() / "one" / "model", two = folder.path() / "two" / "model";
  for (const auto& path : {one, two}) {
    std::filesystem::create_directories(path);
    test::write_tiny_model(path);
  }
  std::vector<std::string> order;
  const std::vector<std::filesystem::path> folders = {one, two};
  const SpeedOptions options = {.prompt_tokens = 5, .gen_tokens = 2, .repeat = 2, .kv_cache = KvFormat::f32};
  const SpeedReports reports = measure_speed(
      folders, Team(2), options, [&](int64_t, int64_t, const std::string& name) { order.push_back(name); });
  CHECK(reports.alternated);
  // Named by their paths, since the folders' own names are the same; a warm-up and two repeats each.
  const std::string a = one.string(), b = two.string();
  CHECK(order == std::vector{a, b, a, b, a, b});
  const nlohmann::json json = speed_json(reports.models[0]);
  CHECK(json["shares"]["ttft_tokenization"].is_null());
  CHECK(json["shares"]["itl_detokenization"].is_null());
  check_positive(json, {"ttft_ms", "shares/itl_sampling"});
}

TEST_CASE("a prompt and a continuation that do not fit into the context are refused before anything runs") {
  const std::vector<std::filesystem::path> folders = {reference_model()};
  SpeedOptions options = small;
  options.prompt_tokens = 500;
  options.gen_tokens = 13;
  CHECK_THROWS_WITH(
      measure_speed(folders, Team(1), options, nullptr),
      Catch::Contains("max_position_embeddings") && Catch::Contains("500") && Catch::Contains("512"));
}

TEST_CASE("a process of its own reports its peak memory, and one that fails is an error") {
  const int64_t peak = measure_peak_memory(memory_child(reference_model()));
  CHECK(peak > 14'000'000);  // the weights
  CHECK_THROWS_AS(measure_peak_memory({"false"}), Error);
  CHECK_THROWS_WITH(measure_peak_memory({"echo", "{}"}), Catch::Contains("peak_rss_bytes"));
  CHECK_THROWS_AS(measure_peak_memory({"sh", "-c", "kill -9 $$"}), Error);
}

TEST_CASE("speed, memory and drift of several models join in one report") {
  BenchOptions options;
  options.baseline = reference_model();
  options.models = {reference_model()};
  options.text = test::read_text(reference_model() / "texts" / "story.txt");
  options.points = {{1, small}};
  options.memory_child = memory_child;
  std::set<std::string> phases;
  const BenchReport report = measure_models(
      options, [&](const std::string& phase, int64_t, int64_t, const std::string&) { phases.insert(phase); });
  CHECK(phases == std::set<std::string>{"peak memory", "speed", "drift"});

  const nlohmann::json json = bench_json(report, {});
  check_positive(json,
                 {"machine/threads", "protocol/threads", "protocol/prompt_tokens", "protocol/gen_tokens",
                  "protocol/repeat", "models/0/peak_rss_bytes", "models/1/peak_rss_bytes",
                  "models/1/against_baseline/ttft_speedup", "models/1/against_baseline/prefill_speedup",
                  "models/1/against_baseline/decode_speedup", "models/1/against_baseline/peak_rss_ratio",
                  "models/1/drift/perplexity/baseline", "models/1/drift/tokens_scored"});
  CHECK(json["protocol"]["kv_cache"] == "f16");
  CHECK(json["protocol"]["alternated"] == true);
  CHECK(json["protocol"]["isa"].is_string());
  const nlohmann::json& baseline = json["models"][0];
  const nlohmann::json& model = json["models"][1];
  CHECK(baseline["is_baseline"] == true);
  CHECK(baseline["drift"].is_null());
  CHECK(baseline["against_baseline"].is_null());
  CHECK(model["is_baseline"] == false);
  CHECK(model["against_baseline"]["disk_ratio"] == 1.0);
  CHECK(model["against_baseline"]["weights_ratio"] == 1.0);
  // The same weights; only its KV cache is f16 and the baseline's f32.
  CHECK(model["drift"]["kl"]["mean"] < 1e-4);
  CHECK(model["drift"]["same_top_percent"] > 99);

  const std::string text = bench_text(report);
  for (const char* row : {"bits per weight", "size on disk", "peak memory", "time to first token", "prefill",
                          "of the read bandwidth", "perplexity", "KL divergence", "same top token"})
    CHECK_THAT(text, Catch::Contains(row));
}

TEST_CASE("a table of many models is cut into tables of readable width") {
  BenchReport report;
  SpeedReport speed;
  speed.size = {1000, 900, 450};
  speed.repeats = {{.prefill = 1, .first_sampling = 1, .latencies = {1.0}, .steps = {1.0}, .work = {1, 1}}};
  report.points.resize(1);
  for (int i = 0; i < 9; ++i) {
    speed.name = "a-model-with-a-long-name-" + std::to_string(i);
    report.models.push_back({{speed}, 1000, std::nullopt, {}});
  }
  const std::string text = bench_text(report);
  for (const ModelSummary& model : report.models) CHECK_THAT(text, Catch::Contains(model.speed().name));
  for (const std::string& line : test::lines_of(text.substr(0, text.rfind("latency p95"))))
    CHECK(display_width(line) <= 80);
}
