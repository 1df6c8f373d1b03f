#include "bench/child_process.h"

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <spawn.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "kernels/error.h"
#include "kernels/threads.h"

namespace whittle {
namespace {

// The calling thread may run on every CPU of the process while this lives: a child inherits what its starter
// may use, and a pinned thread would leave it a single CPU.
class AllCpus {
 public:
  AllCpus() {
    known_ = sched_getaffinity(0, sizeof before_, &before_) == 0;
    unpin_current_thread();
  }
  ~AllCpus() {
    if (known_) sched_setaffinity(0, sizeof before_, &before_);
  }
  AllCpus(const AllCpus&) = delete;
  AllCpus& operator=(const AllCpus&) = delete;

 private:
  cpu_set_t before_;
  bool known_;
};

}  // namespace

void Descriptor::close() {
  if (number_ >= 0) ::close(std::exchange(number_, -1));
}

Pipe open_pipe(const std::string& program, Direction direction) {
  std::array<int, 2> ends;
  if (pipe2(ends.data(), O_CLOEXEC) != 0) fail("{}: cannot make a pipe: {}", program, std::strerror(errno));
  if (direction == Direction::to_child) std::swap(ends[0], ends[1]);
  return {Descriptor(ends[0]), Descriptor(ends[1])};
}

void read_available(Descriptor& pipe, std::string& output) {
  pollfd waiting{pipe.number(), POLLIN, 0};
  if (poll(&waiting, 1, 0) <= 0) return;
  std::array<char, 65536> chunk;
  const ssize_t count = read(pipe.number(), chunk.data(), chunk.size());
  if (count > 0) output.append(chunk.data(), static_cast<size_t>(count));
  if (count == 0) pipe.close();
}

pid_t start_child(const std::vector<std::string>& argv, int input, int output, int errors) {
  std::vector<char*> arguments;
  for (const std::string& argument : argv) arguments.push_back(const_cast<char*>(argument.c_str()));
  arguments.push_back(nullptr);

  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  if (input >= 0)
    posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO);
  else
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
  posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
  if (errors >= 0) posix_spawn_file_actions_adddup2(&actions, errors, STDERR_FILENO);
  pid_t child = 0;
  int error = 0;
  {
    const AllCpus all;
    error = posix_spawnp(&child, arguments[0], &actions, nullptr, arguments.data(), environ);
  }
  posix_spawn_file_actions_destroy(&actions);
  if (error) fail("{}: cannot be started: {}", argv[0], std::strerror(error));
  return child;
}

}  // namespace whittle
