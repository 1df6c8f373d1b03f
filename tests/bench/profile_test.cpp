// Profiles: sums over invented events, and the trace against the Trace Event Format.

#include <catch2/catch.hpp>
#include <map>

#include "bench/reports/profile_report.h"
#include "bench/reports/trace.h"
#include "engine/session.h"
#include "tests/support/paths.h"

using namespace whittle;

namespace {

constexpr ProfileLimits limits = {.read_gb_per_s = 10, .int8_gops = 100, .fp32_gflops = 50};

const OperationTime& time_of(const std::vector<OperationTime>& times, Operation operation) {
  for (const OperationTime& time : times)
    if (time.operation == operation) return time;
  FAIL("no " << name(operation));
  return times.front();
}

// What importers of the format ask of every event; returns how many operations there are.
int64_t check_trace(const nlohmann::json& trace, size_t processes, int threads) {
  REQUIRE(trace.at("traceEvents").is_array());
  std::map<std::pair<size_t, int>, double> ends;  // of the last event of each thread
  std::map<std::pair<size_t, int>, bool> named;
  int64_t count = 0;
  for (const nlohmann::json& event : trace["traceEvents"]) {
    const auto process = event.at("pid").get<size_t>();
    const int thread = event.at("tid");
    CHECK(process < processes);
    CHECK(thread < threads);
    REQUIRE(event.at("name").is_string());
    REQUIRE(event.at("args").is_object());
    if (event.at("ph") == "M") {
      CHECK(event["args"].at("name").is_string());
      if (event["name"] == "thread_name") named[{process, thread}] = true;
      continue;
    }
    REQUIRE(event["ph"] == "X");
    CHECK(event.at("cat").is_string());
    CHECK(named[{process, thread}]);
    // A thread does one thing at a time.
    const double begin = event.at("ts"), duration = event.at("dur");
    CHECK(duration >= 0);
    CHECK(begin >= ends[{process, thread}] - 1e-3);
    ends[{process, thread}] = begin + duration;
    ++count;
  }
  CHECK(ends.size() == processes * static_cast<size_t>(threads));
  return count;
}

}  // namespace

TEST_CASE("An operation's time is the mean of the threads', its limit that of all their work") {
  Profile profile(2);
  profile.record(0, {Operation::qkv, 0, 0, 400, {1000, 8000, 0}});
  profile.record(1, {Operation::qkv, 0, 0, 200, {1000, 8000, 0}});
  profile.record(1, {Operation::wait, 0, 200, 400, {}});
  profile.record(0, {Operation::down, 1, 400, 800, {1000, 0, 30000}});
  profile.record(1, {Operation::down, 1, 400, 800, {1000, 0, 0}});
  const std::vector<OperationTime> times = operation_times(profile, limits);
  REQUIRE(times.size() == 3);
  CHECK(times[0].operation == Operation::down);  // slowest first
  const OperationTime& qkv = time_of(times, Operation::qkv);
  CHECK(qkv.calls == 1);
  CHECK(qkv.seconds == Approx(300e-9));
  CHECK(qkv.share == Approx(300.0 / 800));
  CHECK(qkv.limit_fraction == Approx(200.0 / 300));  // 2000 bytes at 10 a ns; computing takes only 160 ns
  CHECK(time_of(times, Operation::down).limit_fraction == Approx(600.0 / 400));
  CHECK(time_of(times, Operation::wait).limit_fraction == 0);
  CHECK(time_of(times, Operation::wait).seconds == Approx(100e-9));
}

TEST_CASE("A trace holds every operation of every thread, in time order, as importers want it") {
  const Team team(2);
  const Model model(test::reference_model(), team);
  Session session(model, team, {32});
  Profile prefill(2), decode(2);
  const std::vector<int32_t> ids = {0, 535, 471, 259};
  session.decoder()->watch(&prefill);
  session.forward(ids);
  session.decoder()->watch(&decode);
  session.forward(std::span(ids).first(1));
  session.decoder()->watch(nullptr);
  session.forward(std::span(ids).first(1));
  const nlohmann::json trace = trace_json({{"prefill", &prefill}, {"decode", &decode}});
  const auto events = static_cast<int64_t>(prefill.events(0).size() + prefill.events(1).size() +
                                           decode.events(0).size() + decode.events(1).size());
  CHECK(check_trace(trace, 2, 2) == events);

  // One pass reads every weight of a layer once, whoever reads it, and the shares make a whole.
  const std::vector<OperationTime> times = operation_times(decode, limits);
  int64_t bytes = 0;
  double share = 0;
  for (const OperationTime& time : times) {
    if (time.operation != Operation::attention) bytes += time.work.bytes;
    share += time.share;
  }
  CHECK(bytes == model.decode_bytes());
  CHECK(share == Approx(1.0));
  CHECK(time_of(times, Operation::qkv).calls == model.spec().num_hidden_layers);
}
