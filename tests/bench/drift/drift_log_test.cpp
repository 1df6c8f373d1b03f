#include "bench/drift/drift_log.h"

#include "bench/drift/drift_set.h"
#include "kernels/error.h"
#include "tests/support/two_models.h"

using namespace whittle;
using namespace whittle::test;
namespace fs = std::filesystem;

namespace {

const nlohmann::json identity = {{"program", "test"}, {"texts", {{{"hash", "abc"}}}}};

const std::vector<DriftPosition> some = {{1.0 / 3, 0.1, 1e-17, true, 0, 0},
                                         {2, 5e-324, 3, false, 0.25, 1e300}};

bool same(const DriftPosition& a, const DriftPosition& b) {
  return a.baseline_nll == b.baseline_nll && a.model_nll == b.model_nll && a.kl == b.kl &&
         a.same_top == b.same_top && a.kl_below == b.kl_below && a.kl_above == b.kl_above;
}

// A log of windows 0 to `windows` − 1 of the second text, as it is on disk.
std::string written(const fs::path& file, size_t windows) {
  {
    DriftLog log(file, identity);
    for (size_t w = 0; w < windows; ++w) log.save(0, 1, w, some);
  }
  return read_text(file);
}

// The line of a window with these positions.
std::string line(const std::string& positions, int window = 0) {
  return fmt::format("{{\"model\":0,\"text\":0,\"window\":{},\"positions\":[{}]}}\n", window, positions);
}

bool holds(const DriftLog& log, size_t window) {
  std::vector<DriftPosition> found(some.size());
  return log.load(0, 1, window, found) && std::ranges::equal(found, some, same);
}

}  // namespace

TEST_CASE("A drift log gives back what it was given, bit for bit, and goes when all is done") {
  const TemporaryFolder folder;
  const fs::path file = folder.path() / "log";
  {
    DriftLog log(file, identity);
    CHECK_FALSE(holds(log, 0));
    log.save(0, 1, 0, some);
    log.save(0, 1, 7, some);
    CHECK_THROWS_WITH(DriftLog(file, identity), Catch::Contains("another run"));
  }
  DriftLog log(file, identity);
  CHECK(holds(log, 0));
  CHECK(holds(log, 7));
  CHECK_FALSE(holds(log, 1));
  std::vector<DriftPosition> other(3);
  CHECK_FALSE(log.load(1, 1, 0, other));
  CHECK_THROWS_WITH(log.load(0, 1, 7, other), Catch::Contains("line 3"));
  log.finish();
  CHECK_FALSE(fs::exists(file));
  DriftLog(file, identity);  // without any window
  CHECK_FALSE(fs::exists(file));
}

TEST_CASE("A drift log that was cut anywhere gives all whole windows, and is gone on with") {
  const TemporaryFolder folder;
  const fs::path file = folder.path() / "log";
  const std::string all = written(file, 3);
  for (size_t size = 0; size <= all.size(); size += 3) {
    const std::string cut = all.substr(0, size);
    write_text(file, cut);
    const auto whole =
        static_cast<size_t>(std::max<int64_t>(std::count(cut.begin(), cut.end(), '\n') - 1, 0));
    {
      DriftLog log(file, identity);
      for (size_t w = 0; w < 3; ++w) CHECK(holds(log, w) == (w < whole));
      for (size_t w = whole; w < 3; ++w) log.save(0, 1, w, some);
    }
    CHECK(read_text(file) == all);
  }
}

TEST_CASE("A file that is not this run's log is refused, and left as it was") {
  const TemporaryFolder folder;
  const fs::path file = folder.path() / "log";
  const std::string good = written(file, 1), first = good.substr(0, good.find('\n') + 1);
  nlohmann::json other = identity;
  other["texts"][0]["hash"] = "def";
  CHECK_THROWS_WITH(DriftLog(file, other), Catch::Contains("log") && Catch::Contains("\"texts\""));
  for (const auto& [content, named] :
       std::vector<std::pair<std::string, std::string>>{{"precious", "line 1"},
                                                        {"precious\n", "line 1"},
                                                        {"{\"run\": {}}\n", "line 1"},
                                                        {first + "{}\n", "line 2"},
                                                        {first + "[]\n", "line 2"},
                                                        {first + "\xff\n", "line 2"},
                                                        {first + line("", -1), "\"window\""},
                                                        {first + line("[1]"), "index 0"},
                                                        {first + line("[1,2,null,true,4,5]"), "null"},
                                                        {first + line("[1,2,1e999,true,4,5]"), "line 2"},
                                                        {first + line("[1,2,3,4,5,6]"), "fourth"},
                                                        {good + good.substr(first.size()), "line 3"}}) {
    write_text(file, content);
    INFO(content);
    CHECK_THROWS_WITH(DriftLog(file, identity), Catch::Contains("log") && Catch::Contains(named));
    CHECK(read_text(file) == content);
  }
  CHECK_THROWS_AS(DriftLog(folder.path(), identity), Error);
  CHECK_THROWS_AS(DriftLog(folder.path() / "no" / "log", identity), Error);
}

TEST_CASE("A drift that was stopped anywhere goes on to the same figures, without measuring a window again") {
  const TwoModels models;
  const Team team(1);
  const Tokenizer tokenizer = Tokenizer::open(models.baseline);
  DriftSet set{.models = {models.model, models.baseline},
               .baseline = models.baseline,
               .texts = {text_to_score("one", letters(30), tokenizer, 8, "windows", 0),
                         text_to_score("two", letters(20), tokenizer, 8, "windows", 0)}};
  const std::string whole = [&] {
    const std::vector<ModelDrift> drifts = measure_drift_set(set, team, {});
    return drift_set_json(set, drifts, std::vector<std::vector<Gate>>(2), {}).dump();
  }();
  set.resume = models.folder.path() / "log";
  constexpr int64_t windows = 2 * (3 + 2);
  for (int64_t stop = 1; stop < windows; stop += 2) {  // each goes on where the one before stopped
    CHECK_THROWS_WITH(measure_drift_set(set, team,
                                        [&](int64_t done, int64_t total, const std::string&) {
                                          CHECK(total == windows);
                                          if (done == stop) throw Error("stopped");
                                        }),
                      "stopped");
    const std::string log = read_text(set.resume);
    CHECK(std::count(log.begin(), log.end(), '\n') == 1 + stop);
  }
  const std::vector<ModelDrift> drifts = measure_drift_set(set, team, {});
  CHECK(drift_set_json(set, drifts, std::vector<std::vector<Gate>>(2), {}).dump() == whole);
  CHECK_FALSE(fs::exists(set.resume));
}
