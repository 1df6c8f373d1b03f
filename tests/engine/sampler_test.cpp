#include "engine/sampler.h"

#include <chrono>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <optional>

#include "kernels/error.h"
#include "tests/support/paths.h"

using namespace whittle;

namespace {

// ln of 0.5, 0.25, 0.15, 0.1
const std::vector<float> logits = {-0.693147f, -1.386294f, -1.897120f, -2.302585f};

std::map<int32_t, int> counts(SamplerOptions options, int draws = 20000) {
  Sampler sampler(options);
  std::map<int32_t, int> found;
  for (int i = 0; i < draws; ++i) ++found[sampler.sample(logits, {})];
  return found;
}

// The definition of sampling, which the product's selection must agree with: everything is sorted.
class SortingSampler {
 public:
  explicit SortingSampler(const SamplerOptions& options) : options_(options), random_(options.seed) {}

  int32_t sample(std::span<const float> given, std::span<const int32_t> seen) {
    std::vector<float> penalised(given.begin(), given.end());
    for (const int32_t id : seen) {
      const float logit = given[static_cast<size_t>(id)];
      penalised[static_cast<size_t>(id)] =
          logit > 0 ? logit / options_.repetition_penalty : logit * options_.repetition_penalty;
    }
    std::vector<int32_t> ids(given.size());
    std::iota(ids.begin(), ids.end(), 0);
    const auto logit = [&](int32_t id) { return penalised[static_cast<size_t>(id)]; };
    std::ranges::sort(
        ids, [&](int32_t a, int32_t b) { return logit(a) > logit(b) || (logit(a) == logit(b) && a < b); });
    if (options_.temperature == 0) return ids.front();
    if (options_.top_k && options_.top_k < std::ssize(ids)) ids.resize(static_cast<size_t>(options_.top_k));

    std::vector<double> weights;
    double total = 0;
    for (const int32_t id : ids) {
      const double relative = static_cast<double>(logit(id) - logit(ids.front())) / options_.temperature;
      weights.push_back(std::exp(relative));
      total += weights.back();
    }
    double held = 0, wanted = options_.top_p * total;
    size_t count = 0;
    while (count < weights.size() && held < wanted && weights[count] >= options_.min_p)
      held += weights[count++];
    double draw = static_cast<double>(random_() >> 11) * 0x1p-53 * held;
    for (size_t i = 0; i + 1 < count; ++i) {
      draw -= weights[i];
      if (draw < 0) return ids[i];
    }
    return ids[count ? count - 1 : 0];
  }

 private:
  SamplerOptions options_;
  std::mt19937_64 random_;
};

constexpr float infinity = std::numeric_limits<float>::infinity();

// As a language model's are: a few likely tokens, and many that lie far below.
std::vector<float> model_like_logits(size_t size, std::mt19937& random) {
  std::normal_distribution<float> bulk(0, 2.5f);
  std::exponential_distribution<float> likely(0.4f);
  std::vector<float> values(size);
  for (float& value : values) value = bulk(random);
  for (int i = 0; i < 300; ++i) values[random() % size] = 8 + likely(random);
  return values;
}

// Logits that are hard to select from, by name.
std::vector<std::pair<std::string, std::vector<float>>> hard_logits(size_t size, unsigned seed) {
  std::mt19937 random(seed);
  std::vector<std::pair<std::string, std::vector<float>>> cases;
  const auto add = [&](const std::string& name, auto value) {
    std::vector<float> values(size);
    for (size_t i = 0; i < size; ++i) values[i] = value(i);
    cases.emplace_back(name, std::move(values));
  };
  std::normal_distribution<float> normal(0, 1);
  cases.emplace_back("a model's", model_like_logits(size, random));
  add("normal", [&](size_t) { return normal(random); });
  add("nearly flat", [&](size_t) { return 1e-3f * normal(random); });
  add("all equal", [](size_t) { return 2.5f; });
  add("zeros of both signs", [](size_t i) { return i % 3 ? 0.0f : -0.0f; });
  add("few values, many ties", [&](size_t) { return static_cast<float>(random() % 4); });
  add("ties at the top", [&](size_t i) { return i % 7 ? normal(random) : 9.0f; });
  add("one spike", [&](size_t i) { return i == size / 2 ? 60.0f : normal(random); });
  add("two spikes, alike", [&](size_t i) { return i == 3 || i + 1 == size ? 60.0f : -60.0f; });
  add("one finite", [&](size_t i) { return i == size - 1 ? -3.0f : -infinity; });
  add("mostly masked", [&](size_t i) { return i % 97 ? -infinity : normal(random); });
  add("half masked", [&](size_t i) { return i < size / 2 ? -infinity : normal(random); });
  add("huge", [&](size_t) { return 5e37f * normal(random); });
  add("all hugely negative", [&](size_t i) { return i % 2 ? -2.5e38f : -2.4e38f; });
  add("denormal", [&](size_t) { return 1e-41f * normal(random); });
  add("falling", [&](size_t i) { return -static_cast<float>(i) * 0.01f; });
  add("rising", [&](size_t i) { return static_cast<float>(i) * 0.01f; });
  add("stairs", [&](size_t i) { return static_cast<float>((i * 7919 % size) / 50); });
  return cases;
}

}  // namespace

TEST_CASE("Temperature 0 takes the most likely token, the first among equals") {
  Sampler sampler({});
  CHECK(sampler.sample(logits, {}) == 0);
  CHECK(sampler.sample(std::vector<float>{1, 3, 3, 2}, {}) == 1);
}

TEST_CASE("Tokens come as often as they are likely") {
  // Four standard deviations of a binomial count.
  const auto found = counts({.temperature = 1, .seed = 11});
  const double expected[] = {0.5, 0.25, 0.15, 0.1};
  for (int32_t id = 0; id < 4; ++id) {
    const double p = expected[id];
    CHECK(std::fabs(found.at(id) - 20000 * p) < 4 * std::sqrt(20000 * p * (1 - p)));
  }
}

TEST_CASE("top-k, top-p and min-p leave out what they say, and only that") {
  CHECK(counts({.temperature = 1, .top_k = 2}).size() == 2);
  CHECK(counts({.temperature = 1, .top_p = 0.7f}).size() == 2);  // 0.5 + 0.25 holds 0.7
  CHECK(counts({.temperature = 1, .top_p = 0.76f}).size() == 3);
  CHECK(counts({.temperature = 1, .min_p = 0.25f}).size() == 3);  // 0.1 is below 0.25 · 0.5
  CHECK(counts({.temperature = 1, .top_k = 1}).size() == 1);
  CHECK(counts({.temperature = 1}).size() == 4);
}

TEST_CASE("A repeated token becomes less likely, once however often it was seen") {
  Sampler sampler({.repetition_penalty = 3});
  const std::vector<int32_t> seen = {0, 0, 0};
  CHECK(sampler.sample(logits, seen) == 1);  // −0.69 · 3 is below −1.39 but above −2.30
  const std::vector<int32_t> all = {0, 1, 2, 3};
  CHECK(sampler.sample(logits, all) == 0);
}

TEST_CASE("Selection takes the tokens that sorting the whole vocabulary would") {
  std::mt19937 random(3);
  int compared = 0;
  for (const size_t size : {1, 2, 63, 64, 65, 1000, 20000, 40001})
    for (const auto& [name, values] : hard_logits(size, static_cast<unsigned>(size)))
      for (const float temperature : {1e-44f, 1e-20f, 0.1f, 0.8f, 1.0f, 3.0f, 1e30f}) {
        SamplerOptions options = {.temperature = temperature, .seed = random()};
        const int64_t top_ks[] = {0, 0, 0, 1, 40, 300, 5000, 100000};
        const float top_ps[] = {1, 1, 0.9f, 0.95f, 0.5f, 0.999f, 0.99999994f, 1e-6f};
        const float min_ps[] = {0, 0, 0, 0.05f, 1e-4f, 1e-12f, 1};
        options.top_k = top_ks[random() % std::size(top_ks)];
        options.top_p = top_ps[random() % std::size(top_ps)];
        options.min_p = min_ps[random() % std::size(min_ps)];
        std::vector<int32_t> seen;
        if (random() % 3 == 0) {
          options.repetition_penalty = 1.3f;
          for (int i = 0; i < 20; ++i) seen.push_back(static_cast<int32_t>(random() % size));
        }
        Sampler sampler(options);
        SortingSampler reference(options);
        for (int i = 0; i < (size > 10000 ? 3 : 12); ++i, ++compared) {
          const int32_t expected = reference.sample(values, seen), found = sampler.sample(values, seen);
          if (found == expected) continue;
          CAPTURE(name, size, temperature, options.top_k, options.top_p, options.min_p, seen.size(), i);
          CHECK(found == expected);
        }
      }
  CHECK(compared > 8000);
}

TEST_CASE("Every draw takes the token that sorting would, also at the borders of top-p") {
  std::mt19937 random(8);
  for (const auto& [size, draws] : {std::pair{5000, 150}, std::pair{140000, 6}}) {
    const std::vector<float> values = model_like_logits(static_cast<size_t>(size), random);
    for (const float top_p : {1.0f, 0.95f, 0.8f})
      for (const float temperature : {0.7f, 1.0f, 1.5f, 2.0f}) {
        const SamplerOptions options = {.temperature = temperature, .top_p = top_p, .seed = 21};
        Sampler sampler(options);
        SortingSampler reference(options);
        int different = 0;
        for (int i = 0; i < draws; ++i)
          different += sampler.sample(values, {}) != reference.sample(values, {});
        CHECK(different == 0);
      }
  }
  // A top-p that lies just at, below and above the share of the likeliest tokens.
  std::vector<float> eight(3000, -20.0f);
  std::fill_n(eight.begin(), 8, 0.0f);
  const double rest = 2992 * std::exp(-20.0);
  for (int count = 1; count <= 8; ++count)
    for (const double off : {-1e-7, 0.0, 1e-7, 1e-6}) {
      const auto top_p = static_cast<float>(count / (8 + rest) + off);
      const SamplerOptions options = {.temperature = 1, .top_p = std::min(top_p, 1.0f), .seed = 5};
      Sampler sampler(options);
      SortingSampler reference(options);
      for (int i = 0; i < 20; ++i) CHECK(sampler.sample(eight, {}) == reference.sample(eight, {}));
    }
}

TEST_CASE("Sampling from a large vocabulary takes a fraction of the time that sorting it does") {
  std::mt19937 random(4);
  const std::vector<float> values = model_like_logits(151936, random);
  for (const SamplerOptions& options :
       {SamplerOptions{.temperature = 0.8f}, SamplerOptions{.temperature = 0.8f, .top_p = 0.95f},
        SamplerOptions{.temperature = 1}, SamplerOptions{.temperature = 1, .top_k = 40},
        SamplerOptions{.temperature = 1, .min_p = 0.05f}}) {
    Sampler sampler(options);
    SortingSampler reference(options);
    const auto best_ms = [&](auto& measured, std::vector<int32_t>& ids) {
      double best = infinity;
      for (int i = 0; i < 8; ++i) {
        const auto start = std::chrono::steady_clock::now();
        ids.push_back(measured.sample(values, {}));
        const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - start;
        best = std::min(best, took.count());
      }
      return best;
    };
    std::vector<int32_t> ids, expected;
    const double selecting = best_ms(sampler, ids), sorting = best_ms(reference, expected);
    CHECK(ids == expected);
    CAPTURE(options.top_k, options.top_p, options.min_p, selecting, sorting);
    CHECK(selecting < sorting / 4);
  }
}

TEST_CASE("Logits that are no numbers are an error that names the token, whatever the options") {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (const float temperature : {0.0f, 1.0f}) {
    Sampler sampler({.temperature = temperature});
    for (const float bad : {nan, -nan, infinity}) {
      std::vector<float> values(300, 1.0f);
      values[137] = bad;
      CHECK_THROWS_WITH(sampler.sample(values, {}), Catch::Contains("token 137"));
      CHECK_THROWS_AS(sampler.sample(std::vector<float>(300, bad), {}), Error);
    }
    CHECK_THROWS_AS(sampler.sample(std::vector<float>(300, -infinity), {}), Error);
    CHECK_THROWS_AS(sampler.sample({}, {}), Error);
    CHECK(sampler.sample(std::vector<float>{-infinity, 2, -infinity}, {}) == 1);
  }
}

TEST_CASE("A token of the past that has no logit is refused") {
  Sampler sampler({.repetition_penalty = 2});
  for (const int32_t bad : {-1, 4, 2000000000}) {
    const std::vector<int32_t> seen = {0, bad};
    CHECK_THROWS_AS(sampler.sample(logits, seen), Error);
  }
}

TEST_CASE("The same seed gives the same tokens, another seed others") {
  const auto draw = [](uint64_t seed) {
    Sampler sampler({.temperature = 1, .seed = seed});
    std::vector<int32_t> ids;
    for (int i = 0; i < 64; ++i) ids.push_back(sampler.sample(logits, {}));
    return ids;
  };
  CHECK(draw(5) == draw(5));
  CHECK(draw(5) != draw(6));
}

TEST_CASE("Options out of range are refused") {
  for (const SamplerOptions& bad :
       {SamplerOptions{.temperature = -1}, SamplerOptions{.top_k = -1}, SamplerOptions{.top_p = 0},
        SamplerOptions{.top_p = 1.1f}, SamplerOptions{.min_p = 2}, SamplerOptions{.repetition_penalty = 0}})
    CHECK_THROWS_AS(Sampler(bad), Error);
}
