#include "bench/regression/turns.h"

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <ctime>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "bench/child_process.h"
#include "bench/prompt.h"
#include "bench/statistics.h"
#include "engine/clock.h"
#include "engine/files/interrupts.h"
#include "engine/files/json_file.h"
#include "engine/sampler.h"
#include "engine/session.h"
#include "kernels/error.h"

namespace whittle {
namespace {

constexpr int64_t timed_prompts = 6;  // in a turn

double cpu_seconds() {
  timespec time{};
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// What a piece of work takes, of several: those count for which all `threads` had CPUs, if they are enough,
// and of these a quick one. The threads of a team spin while they wait for each other, so that a piece that
// took less than all their time had lost a CPU to another process.
struct Pieces {
  double seconds = 0;
  bool calm = false;
};
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

// A write to a process that has ended is an error of write(), not our end.
class NoPipeSignal {
 public:
  NoPipeSignal() : before_(std::signal(SIGPIPE, SIG_IGN)) {}
  ~NoPipeSignal() { std::signal(SIGPIPE, before_); }
  NoPipeSignal(const NoPipeSignal&) = delete;
  NoPipeSignal& operator=(const NoPipeSignal&) = delete;

 private:
  void (*before_)(int);
};

class KilledAtEnd {
 public:
  explicit KilledAtEnd(pid_t child) : child_(child) {}
  ~KilledAtEnd() {
    kill(child_, SIGKILL);
    waitpid(child_, nullptr, 0);
  }
  KilledAtEnd(const KilledAtEnd&) = delete;
  KilledAtEnd& operator=(const KilledAtEnd&) = delete;

 private:
  pid_t child_;
};

class TurnProcess {
 public:
  TurnProcess(const std::vector<std::string>& command, double patience_seconds)
      : name_(command.front()),
        patience_seconds_(patience_seconds),
        requests_(open_pipe(name_, Direction::to_child)),
        answers_(open_pipe(name_, Direction::from_child)),
        child_(start_child(command, requests_.childs.number(), answers_.childs.number(), -1)) {
    requests_.childs.close();
    answers_.childs.close();
    const nlohmann::json answer = read_answer();
    if (!JsonFields(answer, name_ + ": a turn").boolean("ready", false))
      fail("{}: does not take turns", name_);
  }
  Turn take() {
    {
      const NoPipeSignal no_signal;
      if (write(requests_.ours.number(), "\n", 1) != 1)
        fail("{}: cannot be asked for a turn: {}", name_, std::strerror(errno));
    }
    const nlohmann::json answer = read_answer();
    const JsonFields fields(answer, name_ + ": a turn");
    return {fields.positive("prefill_seconds"), fields.positive("decode_seconds"),
            fields.boolean("calm", true)};
  }

 private:
  nlohmann::json read_answer() {
    const auto start = Clock::now();
    while (buffer_.find('\n') == std::string::npos) {
      check_interrupted();
      if (answers_.ours.number() < 0) fail("{}: ended before it answered", name_);
      if (seconds_since(start) > patience_seconds_)
        fail("{}: no answer in {} seconds", name_, patience_seconds_);
      constexpr size_t most = 1 << 16;
      if (buffer_.size() > most) fail("{}: answers without an end", name_);
      pollfd waiting{answers_.ours.number(), POLLIN, 0};
      poll(&waiting, 1, 100);
      read_available(answers_.ours, buffer_);
    }
    const size_t end = buffer_.find('\n');
    const std::string line = buffer_.substr(0, end);
    buffer_.erase(0, end + 1);
    nlohmann::json answer = parse_json(line, name_ + ": a turn");
    if (!answer.is_object()) fail("{}: does not take turns", name_);
    return answer;
  }

  const HeldInterrupts held_;
  std::string name_;
  double patience_seconds_;
  Pipe requests_, answers_;
  std::string buffer_;
  const KilledAtEnd child_;  // also where the constructor throws
};

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

TakeTurn start_turns(const std::vector<std::string>& command, double patience_seconds) {
  return [process = std::make_shared<TurnProcess>(command, patience_seconds)] { return process->take(); };
}

}  // namespace whittle
