#include "bench/regression/turns.h"

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "bench/child_process.h"
#include "bench/prompt.h"
#include "bench/statistics.h"
#include "engine/files/interrupts.h"
#include "engine/files/json_file.h"
#include "engine/sampler.h"
#include "engine/session.h"
#include "kernels/error.h"

namespace whittle {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t timed_prompts = 6;  // in a turn; the quickest counts
constexpr double quick_step = 0.2;    // the quantile of a turn's steps that counts

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
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
    if (!read_answer().value("ready", false)) fail("{}: does not take turns", name_);
  }
  Turn take() {
    {
      const NoPipeSignal no_signal;
      if (write(requests_.ours.number(), "\n", 1) != 1)
        fail("{}: cannot be asked for a turn: {}", name_, std::strerror(errno));
    }
    const nlohmann::json answer = read_answer();
    const JsonFields fields(answer, name_ + ": a turn");
    return {fields.positive("prefill_seconds"), fields.positive("decode_seconds")};
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
    std::vector<double> prompts, steps;
    int32_t token = 0;
    for (int64_t i = 0; i <= timed_prompts; ++i) {
      session.rewind(0);
      const auto start = Clock::now();
      token = sampler.sample(session.forward(prompt.ids).row(0), prompt.ids);
      if (i) prompts.push_back(seconds_since(start));
    }
    for (int64_t i = 0; i < options.gen_tokens; ++i) {
      const auto start = Clock::now();
      token = sampler.sample(session.forward({&token, 1}).row(0), prompt.ids);
      steps.push_back(seconds_since(start));
    }
    return Turn{quantile(prompts, 0), quantile(steps, quick_step)};
  };
  take();
  std::cout << "{\"ready\": true}" << std::endl;
  for (std::string line; std::getline(std::cin, line);) {
    const Turn turn = take();
    std::cout << nlohmann::json{{"prefill_seconds", turn.prefill_seconds},
                                {"decode_seconds", turn.decode_seconds}}
                     .dump()
              << std::endl;
  }
}

TakeTurn start_turns(const std::vector<std::string>& command, double patience_seconds) {
  return [process = std::make_shared<TurnProcess>(command, patience_seconds)] { return process->take(); };
}

}  // namespace whittle
