// Every family against values that Hugging Face's own code computed in float32.

#include <catch2/catch.hpp>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <numeric>

#include "engine/decoder.h"
#include "engine/session.h"
#include "kernels/error.h"
#include "tests/support/paths.h"

using namespace whittle;
using namespace whittle::test;

namespace {

constexpr const char* families[] = {"gpt2", "bloom", "qwen3"};

struct Golden {
  std::vector<int32_t> ids, greedy;
  std::vector<float> logits_first, logits_last;
  std::optional<double> nll;
};

std::vector<Golden> read_golden(const std::filesystem::path& folder) {
  std::ifstream file(folder / "golden.json");
  std::vector<Golden> prompts;
  const nlohmann::json golden_file = nlohmann::json::parse(file);
  REQUIRE_FALSE(golden_file.at("prompts").empty());
  for (const nlohmann::json& prompt : golden_file["prompts"]) {
    Golden& golden = prompts.emplace_back(
        Golden{prompt["ids"], prompt["greedy"], prompt["logits_first"], prompt["logits_last"], std::nullopt});
    if (!prompt["nll"].is_null()) golden.nll = prompt["nll"].get<double>();
  }
  return prompts;
}

double largest_difference(std::span<const float> ours, const std::vector<float>& theirs) {
  REQUIRE(ours.size() == theirs.size());
  double largest = 0;
  for (size_t i = 0; i < theirs.size(); ++i)
    largest = std::max(largest, std::abs(static_cast<double>(ours[i]) - static_cast<double>(theirs[i])));
  return largest;
}

double negative_log_likelihood(std::span<const float> logits, int32_t id) {
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit));
  return std::log(sum) - static_cast<double>(logits[static_cast<size_t>(id)]);
}

int32_t most_likely(std::span<const float> logits) {
  return static_cast<int32_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
}

}  // namespace

TEST_CASE("Logits, likelihoods and greedy ids are those of Hugging Face's code") {
  WHITTLE_NEEDS_SHARED(shared);
  const Team team(2);
  for (const char* family : families) {
    const auto folder = shared / "data" / "architectures" / family;
    const Model model(folder, team);
    for (const Golden& golden : read_golden(folder)) {
      CAPTURE(family, golden.ids.size());
      Session session(model, team, {.kv_cache = KvFormat::f32});
      double nll = 0;
      for (size_t i = 0; i < golden.ids.size(); ++i) {
        const Logits logits = session.forward({&golden.ids[i], 1});
        if (i == 0) CHECK(largest_difference(logits.row(0), golden.logits_first) < 1e-3);
        if (i + 1 == golden.ids.size())
          CHECK(largest_difference(logits.row(0), golden.logits_last) < 1e-3);
        else
          nll += negative_log_likelihood(logits.row(0), golden.ids[i + 1]);
      }
      if (golden.nll) CHECK(std::abs(nll / static_cast<double>(golden.ids.size() - 1) - *golden.nll) < 1e-5);
      session.rewind(0);
      int32_t next = most_likely(session.forward(golden.ids).row(0));
      std::vector<int32_t> greedy;
      while (greedy.size() < golden.greedy.size()) {
        greedy.push_back(next);
        if (greedy.size() < golden.greedy.size()) next = most_likely(session.forward({&next, 1}).row(0));
      }
      CHECK(greedy == golden.greedy);
    }
  }
}
