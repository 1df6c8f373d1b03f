#include "bench/regression/turns.h"

#include <poll.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <memory>
#include <string>
#include <vector>

#include "bench/child_process.h"
#include "engine/clock.h"
#include "engine/files/interrupts.h"
#include "engine/files/json_file.h"
#include "kernels/error.h"

namespace whittle {
namespace {

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

TakeTurn start_turns(const std::vector<std::string>& command, double patience_seconds) {
  return [process = std::make_shared<TurnProcess>(command, patience_seconds)] { return process->take(); };
}

}  // namespace whittle
