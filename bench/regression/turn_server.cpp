#include "bench/regression/turn_server.h"

#include <algorithm>
#include <ctime>
#include <functional>
#include <iostream>
#include <string>
#include <vector>

#include "bench/prompt.h"
#include "bench/regression/turns.h"
#include "bench/statistics.h"
#include "engine/clock.h"
#include "engine/files/json_file.h"
#include "engine/sampler.h"
#include "engine/session.h"

namespace whittle {
namespace {

constexpr int64_t timed_prompts = 6;  // in a turn

double cpu_seconds() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

struct Pieces {
  double seconds = 0;
  bool calm = false;
};

// What a piece of work takes, of several: those count for which all `threads` had CPUs, if they are enough,
// and of these a quick one. The threads of a team spin while they wait for each other, so that a piece that
// took less than all their time had lost a CPU to another process.
Pieces time_pieces(int64_t wanted, int threads, const std::function<void()>& piece) {
  constexpr double all_time = 0.97, patience_seconds = 0.2, quick = 0.2;
  constexpr int64_t enough = 4;
  std::vector<double> all, calm;
  const auto begin = Clock::now();
  while (std::ssize(calm) < wanted && (std::ssize(all) < wanted || seconds_since(begin) < patience_seconds)) {
    const double cpu_start = cpu_seconds();
    const auto start = Clock::now();
    piece();
    const double seconds = seconds_since(start), cpu = cpu_seconds() - cpu_start;
    all.push_back(seconds);
    if (cpu >= all_time * threads * seconds) calm.push_back(seconds);
  }
  const bool are_enough = std::ssize(calm) >= std::min(enough, wanted);
  return {quantile(are_enough ? calm : all, quick), are_enough};
}

}  // namespace

void serve_turns(const std::filesystem::path& folder, const Team& team, const TurnOptions& options) {
  const Model model(folder, team);
  const Prompt prompt = make_prompt(model.spec(), nullptr, options.prompt_tokens);
  Session session(model, team, {options.prompt_tokens + options.gen_tokens, options.kv_cache});
  Sampler sampler{SamplerOptions{}};  // greedy
  const auto take = [&] {
    // Another process has just had the caches and the CPUs: the first prompt is not timed. What is timed is
    // timed in pieces, the shorter the likelier to pass undisturbed.
    int32_t token = 0;
    const auto run_prompt = [&] {
      session.rewind(0);
      token = sampler.sample(session.forward(prompt.ids).row(0), prompt.ids);
    };
    run_prompt();
    const Pieces prompts = time_pieces(timed_prompts, team.size(), run_prompt);
    int64_t step = 0;
    const Pieces steps = time_pieces(options.gen_tokens, team.size(), [&] {
      if (step++ % options.gen_tokens == 0) session.rewind(options.prompt_tokens);
      token = sampler.sample(session.forward({&token, 1}).row(0), prompt.ids);
    });
    return Turn{prompts.seconds, steps.seconds, prompts.calm && steps.calm};
  };
  take();
  std::cout << "{\"ready\": true}" << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    const Turn turn = take();
    std::cout << nlohmann::json{{"prefill_seconds", turn.prefill_seconds},
                                {"decode_seconds", turn.decode_seconds},
                                {"calm", turn.calm}}
                     .dump()
              << std::endl;
  }
}

}  // namespace whittle
