#pragma once
// A program of our choice as a child, and pipes to it: what run_child and TurnProcess share.

#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

namespace whittle {

// A file descriptor of ours, or −1.
class Descriptor {
 public:
  Descriptor() = default;
  explicit Descriptor(int number) : number_(number) {}
  ~Descriptor() { close(); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }
  int number() const { return number_; }
  void close();

 private:
  int number_ = -1;
};

// One end of a pipe is ours, the other the child's.
struct Pipe {
  Descriptor ours, childs;
};
enum class Direction { from_child, to_child };
// Throws Error that names the program.
Pipe open_pipe(const std::string& program, Direction direction);

// Appends what the pipe holds, if anything, waiting for nothing; closes it at the end of the stream.
void read_available(Descriptor& pipe, std::string& output);

// argv[0] is looked for in PATH. The child may run on all CPUs that this process was started on. input −1: an
// empty one; errors −1: ours. Throws Error when it cannot be started.
pid_t start_child(const std::vector<std::string>& argv, int input, int output, int errors);

}  // namespace whittle
