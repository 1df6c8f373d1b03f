#include "bench/drift/drift.h"

#include <cmath>
#include <limits>

#include "engine/files/json_file.h"
#include "tests/support/paths.h"
#include "tests/support/tiny_model.h"
#include "tests/support/tokenizer_files.h"

using namespace whittle;
using namespace whittle::test;

namespace {

// The first windows of a golden file, which were computed by an independent implementation.
void check_golden(const std::filesystem::path& model_folder, const std::filesystem::path& text_file,
                  const std::string& name) {
  const nlohmann::json golden = read_json_file(model_folder / "golden" / "perplexity.json", 1 << 24)[name];
  const Tokenizer tokenizer = Tokenizer::open(model_folder);
  const std::string text = first_characters(read_text(text_file), golden["characters"].get<int64_t>());
  Windows windows = text_windows(tokenizer, text, golden["context"].get<int64_t>(), "windows");
  CHECK(static_cast<int64_t>(windows.ids.size()) == golden["windows"].get<int64_t>());
  const auto first_ids = golden["first_ids"].get<std::vector<int32_t>>();
  CHECK(std::equal(first_ids.begin(), first_ids.end(), windows.ids[0].begin()));
  constexpr size_t checked = 6;
  windows.ids.resize(checked);
  const Team team(2);
  const Model model(model_folder, team);
  const DriftReport report = measure_drift(model, model, team, windows, KvFormat::f32, nullptr, {});
  for (size_t w = 0; w < checked; ++w) {
    const double expected = golden["window_nll"][w].get<double>();
    // 0.05 % of a perplexity is 0.0005 nats.
    CHECK(std::fabs(report.baseline_window_nll[w] - expected) < 5e-4);
  }
}

}  // namespace

TEST_CASE("Window by window, the baseline's likelihood is that of an independent implementation") {
  WHITTLE_NEEDS_SHARED(shared);
  const std::filesystem::path text = shared / "data" / "text";
  check_golden(reference_model(), text / "tinystories-valid.txt", "tinystories-valid");
  check_golden(reference_model(), text / "wikitext-2-valid.txt", "wikitext-2-valid");
  check_golden(shared / "data" / "models" / "tinystories-656k", text / "tinystories-valid.txt",
               "tinystories-valid");
}

TEST_CASE("Perplexity by every protocol is that of an independent implementation") {
  // llama.cpp: printed by its own program, commit c392e509, for the weights in F16. The others: a forward
  // pass in numpy, and each protocol's own code around it.
  struct Golden {
    std::string protocol;
    int64_t context, stride;
    double perplexity;
    int64_t windows, tokens;
  };
  const Golden goldens[] = {
      {"llama.cpp", 256, 0, 21.2020, 9, 1143},
      {"gptq", 128, 0, 22.058049762123915, 18, 18 * 127},
      {"strided", 512, 256, 20.356422222749753, 9, 2307},
  };
  const Team team(1);
  const Model model(reference_model(), team);
  const Tokenizer tokenizer = Tokenizer::open(reference_model());
  const std::string text = read_text(reference_model() / "texts" / "story.txt");
  const auto near = [](double nll, double perplexity) {
    return std::fabs(std::exp(nll) / perplexity - 1) < 5e-4;
  };
  for (const Golden& golden : goldens) {
    INFO(golden.protocol << ", context " << golden.context << ", stride " << golden.stride);
    const Windows windows = text_windows(tokenizer, text, golden.context, golden.protocol, golden.stride);
    const DriftReport report = measure_drift(model, model, team, windows, KvFormat::f32, nullptr, {});
    CHECK(report.windows == golden.windows);
    CHECK(report.tokens_scored == golden.tokens);
    CHECK(near(report.baseline_nll, golden.perplexity));
    if (golden.protocol != "strided" || golden.context != 512) continue;
    // As the page weighs it: what a window scores less one, but for the first, of whose tokens one is not
    // scored.
    double sum = 0, weights = 0;
    for (size_t w = 0; w < windows.ids.size(); ++w) {
      const auto weight = static_cast<double>(windows.scored(w) - (w > 0 ? 1 : 0));
      sum += weight * report.baseline_window_nll[w];
      weights += weight;
    }
    CHECK(near(sum / weights, 20.34178426218808));
  }
}

TEST_CASE("A model does not drift from itself") {
  const Team team(2);
  const Model model(reference_model(), team);
  const Tokenizer tokenizer = Tokenizer::open(reference_model());
  const std::string text = read_text(reference_model() / "texts" / "story.txt");
  const Windows windows = text_windows(tokenizer, text, 128, "windows");
  const DriftReport report = measure_drift(model, model, team, windows, KvFormat::f32, &tokenizer, {});
  CHECK(report.kl_max == 0);
  CHECK(report.same_top == 1);
  CHECK(report.rms_probability_difference == 0);
  CHECK(report.perplexity_increase_percent().mean == 0);
  CHECK(report.tokens_scored == report.windows * 127);
  int64_t bytes = 0;
  for (const auto& window : windows.ids)
    bytes += static_cast<int64_t>(tokenizer.decode(std::span(window).subspan(1)).size());
  CHECK(report.bytes_scored == bytes);
}

TEST_CASE("Two models are compared only on ids that both have, targets included") {
  const Team team(1);
  const Model model(reference_model(), team);
  const auto refused = [&](const char* ids, const std::string& what) {
    const Windows windows = token_windows(parse_json(ids, "ids.json"), "ids.json");
    int64_t progress = 0;
    CHECK_THROWS_WITH(measure_drift(model, model, team, windows, KvFormat::f16, nullptr,
                                    [&](int64_t done, int64_t) { progress = done; }),
                      Catch::Contains(what) && Catch::Contains("vocab_size 4096"));
    CHECK(progress == 0);  // all windows are checked before the first is run
  };
  refused("[[0, 1, 4096, 2]]", "window 0: position 2: token id 4096");
  refused("[[0, 5, 4096]]", "window 0: position 2: token id 4096");  // the last is only predicted
  refused("[[0, 5, 2000000000]]", "token id 2000000000");
  refused("[[0, 5, 7], [0, 2], [0, 4099]]", "window 2: position 1: token id 4099");
  refused("[[4096, 5]]", "window 0: position 0: token id 4096");
}

TEST_CASE("A text in a tokenizer that is larger than the model's vocabulary is refused, not scored") {
  const Team team(1);
  const TemporaryFolder folder;
  write_tiny_model(folder.path(), {.vocab_size = 32});
  const Model model(folder.path(), team);
  std::vector<std::string> tokens;
  for (int i = 0; i < 64; ++i) tokens.push_back(std::string(1, static_cast<char>('0' + i)));
  const Tokenizer tokenizer = open_tokenizer(bpe_tokenizer(tokens));
  const Windows windows = text_windows(tokenizer, "012345678o", 10, "windows");  // 'o' is token 63
  CHECK_THROWS_WITH(measure_drift(model, model, team, windows, KvFormat::f16, nullptr, {}),
                    Catch::Contains("window 0: position 9: token id 63"));
  CHECK(measure_drift(model, model, team, text_windows(tokenizer, "0123456789", 10, "windows"), KvFormat::f16,
                      nullptr, {})
            .tokens_scored == 9);
}

TEST_CASE("Windows of which nothing is scored are refused, and no figure is made of them") {
  const Team team(1);
  const Model model(reference_model(), team);
  for (const Windows& windows :
       {Windows{}, Windows{.ids = {{0, 1, 2}, {0}}, .context = 3}, Windows{.ids = {{}}, .context = 3},
        Windows{.ids = {{0, 1, 2}}, .first_scored = 3, .context = 3}})
    CHECK_THROWS_AS(measure_drift(model, model, team, windows, KvFormat::f16, nullptr, {}), Error);
}

TEST_CASE("A report of a single window, or of figures beyond all numbers, says so in text and JSON") {
  DriftReport report;
  report.windows = 1;
  report.tokens_scored = 3;
  report.baseline_window_nll = report.model_window_nll = {2.0};
  report.nll_difference = mean_interval_95(std::vector<double>{0.5});
  report.kl = mean_interval_95(std::vector<double>{0.25});
  const std::string single = drift_text(report, {.protocol = "windows"});
  CHECK(single.find("unknown") != std::string::npos);
  CHECK(single.find("∞") == std::string::npos);
  CHECK(single.find("a single window") != std::string::npos);
  report.model_nll = 4e6;  // whose perplexity is beyond all numbers
  report.kl_max = std::numeric_limits<double>::quiet_NaN();
  for (const std::string& text :
       {single, drift_text(report, {.protocol = "windows"}), drift_json(report, {}, {}).dump()}) {
    INFO(text);
    CHECK(text.find("inf") == std::string::npos);
    CHECK(text.find("nan") == std::string::npos);
  }
  const nlohmann::json json = drift_json(report, {}, {});
  CHECK(json["perplexity"]["model"].is_null());
  CHECK(json["perplexity"]["increase_percent_ci95"] == nlohmann::json::array({nullptr, nullptr}));
  CHECK(json["kl"]["max"].is_null());
  CHECK(json["kl"]["mean_ci95"][0].is_null());
  CHECK(json["kl"]["mean"] == 0.25);
  CHECK(json["gates"].empty());
}
