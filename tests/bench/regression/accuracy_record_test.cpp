// What a gate keeps of a model's answers, and what it takes for the same.

#include "bench/regression/accuracy_record.h"

#include "bench/regression/regression_gate.h"
#include "kernels/error.h"
#include "tests/support/two_models.h"

using namespace whittle;
using namespace whittle::test;

namespace {

struct Recorded : TwoModels {
  Team team{1};
  Model original{baseline, team}, other{model, team};
  Windows windows = text_windows(Tokenizer::open(baseline), letters(50), 8, "windows");
  DriftProgress ignore = [](int64_t, int64_t) {};
  AccuracyRecord record = record_accuracy(original, other, team, windows, KvFormat::f16, ignore);

  // Whether it says what is stored, and windows that were run to the end for that.
  std::pair<bool, int64_t> same(const Model& judged, const AccuracyRecord& stored) const {
    int64_t windows_run = 0;
    const bool found = same_bits(judged, team, windows, KvFormat::f16, stored,
                                 [&](int64_t done, int64_t) { windows_run = done; });
    return {found, windows_run};
  }
};

}  // namespace

TEST_CASE("A record has what drift and the logits themselves say of each window") {
  const Recorded recorded;
  const AccuracyRecord& record = recorded.record;
  const Windows& windows = recorded.windows;
  const DriftReport drift =
      measure_drift(recorded.original, recorded.other, recorded.team, windows, KvFormat::f16, nullptr, {});
  CHECK(record.window_kl == drift.window_kl);
  CHECK(record.window_kl_p99 == drift.window_kl_p99);
  CHECK(record.kl_max == drift.kl_max);
  REQUIRE(record.window_nll.size() == windows.ids.size());
  Session session(recorded.other, recorded.team, {windows.context, KvFormat::f16, 8});
  for (size_t w = 0; w < windows.ids.size(); ++w) {
    CHECK(record.window_nll[w] == Approx(drift.model_window_nll[w]).epsilon(1e-12));
    session.rewind(0);
    const Logits logits = session.forward_all(std::span(windows.ids[w]).first(windows.ids[w].size() - 1));
    REQUIRE(std::ssize(record.top[w]) == logits.rows);
    for (int64_t row = 0; row < logits.rows; ++row) {
      const auto values = logits.row(row);
      CHECK(record.top[w][static_cast<size_t>(row)] == std::ranges::max_element(values) - values.begin());
    }
  }
}

TEST_CASE("The same bits are found; others end the run behind the window in which they show") {
  const Recorded recorded;
  const auto all = std::ssize(recorded.windows.ids);
  REQUIRE(all > 2);
  CHECK(recorded.same(recorded.other, recorded.record) == std::pair(true, all));
  CHECK(recorded.same(recorded.original, recorded.record) == std::pair(false, int64_t{0}));
  AccuracyRecord stored = recorded.record;
  stored.window_nll[2] = std::nextafter(stored.window_nll[2], 0.0);
  CHECK(recorded.same(recorded.other, stored) == std::pair(false, int64_t{2}));
  stored = recorded.record;
  ++stored.top[1][0];
  CHECK(recorded.same(recorded.other, stored) == std::pair(false, int64_t{1}));
  stored = recorded.record;
  stored.bits.back() = stored.bits.back() == '0' ? '1' : '0';  // logits of other tokens, no more
  CHECK(recorded.same(recorded.other, stored) == std::pair(false, all));
}

TEST_CASE("Speed in turns is refused where three processes do not fit, and says what they need") {
  const TwoModels models;
  const auto size = static_cast<int64_t>(std::filesystem::file_size(models.model / "model.safetensors") * 2 +
                                         std::filesystem::file_size(models.baseline / "model.safetensors"));
  Machine machine;
  CHECK_NOTHROW(check_turns_memory(models.model, models.baseline, machine));  // not known
  machine.memory_available_bytes = size;
  CHECK_NOTHROW(check_turns_memory(models.model, models.baseline, machine));
  machine.memory_available_bytes = size - 1;
  CHECK_THROWS_WITH(check_turns_memory(models.model, models.baseline, machine),
                    Catch::Contains("three processes") && Catch::Contains("kB"));
  CHECK_THROWS_AS(check_turns_memory(models.model / "absent", models.baseline, machine), Error);
}
