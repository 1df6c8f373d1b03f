#pragma once
// The built program, or any other, run as a child: exit status, what it printed, and signals sent on the way.

#include <fcntl.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "tests/support/paths.h"

namespace whittle::test {

struct Outcome {
  int exit_code = -1;  // -1: ended by a signal
  int signal = 0;      // that ended it, or 0
  std::string out, err;
};

// Files in the place of a child's standard streams; no output: a file that its outcome is read from.
struct Streams {
  std::string in = "/dev/null", out = {};
};

class Child {
 public:
  // The first word is the program, looked up in PATH unless it has a slash. Signals have their default
  // action.
  explicit Child(std::vector<std::string> command, const Streams& streams = {}) {
    std::vector<char*> words;
    for (std::string& word : command) words.push_back(word.data());
    words.push_back(nullptr);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    constexpr int flags = O_WRONLY | O_CREAT | O_TRUNC;
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, streams.in.c_str(), O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO,
                                     (streams.out.empty() ? out_file() : streams.out).c_str(), flags, 0600);
    posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, err_file().c_str(), flags, 0600);
    posix_spawnattr_t attributes;
    posix_spawnattr_init(&attributes);
    sigset_t ending;
    sigemptyset(&ending);
    for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGPIPE}) sigaddset(&ending, signal);
    posix_spawnattr_setsigdefault(&attributes, &ending);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGDEF);
    const int error = posix_spawnp(&pid_, words[0], &actions, &attributes, words.data(), environ);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    INFO("starting " << command[0]);
    REQUIRE(error == 0);
  }
  ~Child() {
    if (ended_) return;
    ::kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
  }
  Child(const Child&) = delete;
  Child& operator=(const Child&) = delete;

  void send(int signal) const { ::kill(pid_, signal); }
  bool ended() {
    if (!ended_) ended_ = waitpid(pid_, &status_, WNOHANG) == pid_;
    return ended_;
  }
  Outcome wait() {
    if (!ended_) ended_ = waitpid(pid_, &status_, 0) == pid_;
    return {WIFEXITED(status_) ? WEXITSTATUS(status_) : -1, WIFSIGNALED(status_) ? WTERMSIG(status_) : 0,
            read(out_file()), read(err_file())};
  }

 private:
  std::string out_file() const { return folder_.path() / "out"; }
  std::string err_file() const { return folder_.path() / "err"; }
  static std::string read(const std::string& path) {
    std::ifstream file(path, std::ios::binary);
    return {std::istreambuf_iterator<char>(file), {}};
  }

  TemporaryFolder folder_;
  pid_t pid_ = -1;
  int status_ = 0;
  bool ended_ = false;
};

inline Outcome run(std::vector<std::string> command, const Streams& streams = {}) {
  return Child(std::move(command), streams).wait();
}

#ifdef WHITTLE_PROGRAM
inline std::vector<std::string> whittle_command(const std::vector<std::string>& arguments) {
  std::vector<std::string> command = {WHITTLE_PROGRAM};
  command.insert(command.end(), arguments.begin(), arguments.end());
  return command;
}
inline Outcome run_whittle(const std::vector<std::string>& arguments, const Streams& streams = {}) {
  return run(whittle_command(arguments), streams);
}
#endif

}  // namespace whittle::test
