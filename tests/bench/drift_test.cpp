#include "bench/drift.h"

#include <cmath>
#include <limits>

#include "engine/files/json_file.h"
#include "tests/support/paths.h"
#include "tests/support/tiny_model.h"

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

TEST_CASE("Both protocols cut the text as they say") {
  const Tokenizer tokenizer = Tokenizer::open(reference_model());
  const std::string text = read_text(reference_model() / "texts" / "story.txt");
  const std::vector<int32_t> ids = tokenizer.encode(text, false);
  const Windows windows = text_windows(tokenizer, text, 64, "windows");
  REQUIRE(windows.ids.size() == ids.size() / 63);
  CHECK(windows.first_scored == 1);
  for (size_t w = 0; w < windows.ids.size(); ++w) {
    CHECK(windows.ids[w][0] == 0);
    CHECK(std::equal(windows.ids[w].begin() + 1, windows.ids[w].end(),
                     ids.begin() + static_cast<int64_t>(w) * 63));
  }
  const Windows chunks = text_windows(tokenizer, text, 64, "llama.cpp");
  REQUIRE(chunks.ids.size() == (ids.size() + 1) / 64);
  CHECK(chunks.first_scored == 33);
  CHECK(std::equal(chunks.ids[1].begin() + 1, chunks.ids[1].end(), ids.begin() + 64));
  CHECK(chunks.ids[1][0] == 0);
}

TEST_CASE("Windows that cannot be scored are refused") {
  const Tokenizer tokenizer = Tokenizer::open(reference_model());
  CHECK_THROWS_AS(text_windows(tokenizer, "short", 64, "windows"), Error);
  CHECK_THROWS_AS(text_windows(tokenizer, "short", 1, "windows"), Error);
  CHECK_THROWS_AS(text_windows(tokenizer, "short", 64, "sideways"), Error);
  for (const char* bad : {"{}", "[]", "[[]]", "[[1]]", "[1, 2]", "[[1, -2]]", "[[1, 2.5]]",
                          "[[1, 99999999999]]", "[[1, \"2\"]]"})
    CHECK_THROWS_AS(token_windows(parse_json(bad, "ids.json"), "ids.json"), Error);
  const Team team(1);
  const Model model(reference_model(), team);
  const Windows outside = token_windows(parse_json("[[0, 1, 4096, 2]]", "ids.json"), "ids.json");
  CHECK_THROWS_AS(measure_drift(model, model, team, outside, KvFormat::f16, nullptr, {}), Error);
}
