#include "engine/sampler.h"

#include <map>

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
