// A model that answers as it did, takes no more memory and no more time passes; what is planted is found.
// Clock and memory are the test's own, so that nothing depends on the machine.

#include "bench/soak/soak.h"

#include <algorithm>
#include <catch2/catch.hpp>
#include <cmath>
#include <fstream>

#include "bench/reports/soak_report.h"
#include "tests/support/paths.h"
#include "tests/support/reports.h"
#include "tests/support/tiny_model.h"

using namespace whittle;
using test::TemporaryFolder;

namespace {

struct Subject {
  TemporaryFolder folder;
  Team team{1};
  std::optional<Model> model;

  explicit Subject(int64_t positions = test::TinyModel{}.max_position_embeddings) {
    test::write_tiny_model(folder.path(), {.vocab_size = 61, .max_position_embeddings = positions});
    model.emplace(folder.path(), team);
  }
};

// Every look at the clock takes a millisecond, or more as the run goes on.
struct World {
  double now = 0, slower = 0, leak_per_second = 0;
  std::function<void(int64_t, const Conversation&, Answer&)> tamper;

  SoakWorld world(const std::filesystem::path& root) {
    return {root, [this] { return now += 1e-3 * (1 + slower * now); },
            [this] { return 1e9 + leak_per_second * now; }, tamper};
  }
};

SoakReport run(Subject& subject, World& world, SoakOptions options = {}) {
  options.minutes = 0.1;
  options.sequences = options.sequences == 4 ? 3 : options.sequences;
  return soak(*subject.model, nullptr, subject.team, options, {},
              world.world(subject.folder.path() / "nowhere"));
}

}  // namespace

TEST_CASE("A model that stays as it is passes, whatever conversations stand beside each other") {
  Subject subject;
  for (const int64_t sequences : {1, 3, 9}) {
    CAPTURE(sequences);
    World world;
    SoakOptions options;
    options.sequences = sequences;
    const SoakReport report = run(subject, world, options);
    CHECK(report.rounds > 20);
    CHECK(report.answers >= 6 * report.rounds);
    CHECK(report.changed_count == 0);
    CHECK(report.memory.verdict == Verdict::kept);
    CHECK(report.memory.mean == 1e9);
    CHECK(report.passes());
    CHECK_FALSE(report.interrupted);
    CHECK(std::isnan(report.clock.mean));
    CHECK(soak_failure(report).empty());
  }
}

TEST_CASE("The first wrong answer is found, be it a token or only what it was drawn from") {
  Subject subject;
  World world;
  world.tamper = [](int64_t round, const Conversation& conversation, Answer& answer) {
    if (round == 5 && conversation.sampler.seed == 1) ++answer.ids.back();
    if (round == 6 && conversation.sampler.seed == 2) answer.logits_hash ^= 1;
  };
  const SoakReport report = run(subject, world);
  CHECK(report.changed_count == 2);
  REQUIRE(report.changed.size() == 2);
  CHECK(report.changed[0].round == 5);
  CHECK(report.changed[0].what.find("token") == 0);
  CHECK(report.changed[1].round == 6);
  CHECK(report.changed[1].what == "the same tokens from other logits");
  CHECK_FALSE(report.passes());
  CHECK(soak_failure(report).find("round 5") != std::string::npos);
}

TEST_CASE("Different logits, or the same in another order, have another hash") {
  const std::vector<float> a = {1, 2, 3}, b = {2, 1, 3}, c = {1, 2, std::nextafter(3.0f, 4.0f)},
                           zero = {0.0f}, minus = {-0.0f};
  const auto hash = [](const std::vector<float>& logits) { return hash_logits(logits, hash_of_no_logits); };
  CHECK(hash(a) == hash(a));
  CHECK(hash(a) != hash(b));
  CHECK(hash(a) != hash(c));
  CHECK(hash(zero) != hash(minus));
}

TEST_CASE("Memory that grows and tokens that take longer are found, unless they are within the limits") {
  Subject subject;
  SoakOptions wide;
  wide.max_growth_bytes = 1e9;
  wide.max_slowdown_percent = 1e4;
  {
    World leak{.leak_per_second = 1e6};  // 6 MB in the run's 6 seconds
    const SoakReport report = run(subject, leak);
    CHECK(report.memory.verdict == Verdict::exceeded);
    CHECK(report.memory.growth.mean ==
          Approx(1e6 * (report.points.back().seconds - report.points.front().seconds)));
    CHECK(report.decode.verdict == Verdict::kept);
    CHECK_FALSE(report.passes());
    CHECK(soak_failure(report).find("memory") != std::string::npos);
    World again{.leak_per_second = 1e6};
    CHECK(run(subject, again, wide).passes());
  }
  {
    World tired{.slower = 0.2};
    const SoakReport report = run(subject, tired);
    CHECK(report.decode.verdict == Verdict::exceeded);
    CHECK(report.memory.verdict == Verdict::kept);
    CHECK(soak_failure(report).find("longer") != std::string::npos);
    World again{.slower = 0.2};
    CHECK(run(subject, again, wide).passes());
  }
}

TEST_CASE("Memory that grows until each session has met every kind is no leak") {
  Subject subject;
  constexpr int64_t kinds = 6;  // as many answers a round, and rounds before the first that counts
  for (const int64_t growing_rounds : {kinds + 1, kinds + 2}) {
    World world;
    int64_t answers = 0;
    world.tamper = [&](int64_t, const Conversation&, Answer&) { ++answers; };
    SoakWorld grows = world.world("/nowhere");
    grows.anonymous_bytes = [&] {
      return 1e9 + 1e7 * static_cast<double>(std::min(answers, growing_rounds * kinds));
    };
    SoakOptions options;
    options.minutes = 0.1;
    const SoakReport report = soak(*subject.model, nullptr, subject.team, options, {}, grows);
    CAPTURE(growing_rounds);
    CHECK((report.memory.growth.mean == 0) == (growing_rounds == kinds + 1));
    CHECK((report.memory.verdict == Verdict::kept) == (growing_rounds == kinds + 1));
  }
}

TEST_CASE("A run too short to tell is inconclusive, passes, and says so") {
  Subject subject;
  World world;
  SoakOptions options;
  options.minutes = 0;
  const SoakReport report = soak(*subject.model, nullptr, subject.team, options, {}, world.world("/nowhere"));
  CHECK(report.rounds == 1);
  CHECK(report.points.empty());
  CHECK(report.memory.verdict == Verdict::undecided);
  CHECK(report.passes());
  CHECK(soak_text("tiny", report).find("inconclusive") != std::string::npos);
  const nlohmann::json json = soak_json("tiny", report, {});
  test::check_schema(json);
  CHECK(json["schema"] == "whittle.soak");
  CHECK(json["anonymous_bytes"]["change"].is_null());
  CHECK(json["anonymous_bytes"]["verdict"] == "undecided");
}

TEST_CASE("A round has every conversation, also where a context has room for a token or two") {
  for (const int64_t positions : {1, 2, 7}) {
    CAPTURE(positions);
    Subject subject(positions);
    World world;
    SoakOptions options;
    options.minutes = 0;
    options.sequences = 4;
    const SoakReport report =
        soak(*subject.model, nullptr, subject.team, options, {}, world.world("/nowhere"));
    CHECK(report.rounds == 1);
    CHECK(report.answers == 6);
    CHECK(report.passes());
  }
}
