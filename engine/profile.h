#pragma once
// Where a step's time goes: what each thread did, operation by operation.

#include <chrono>
#include <cstdint>
#include <string_view>
#include <vector>

namespace whittle {

enum class Operation : uint8_t {
  embed,
  norm,
  quantize,
  qkv,
  rope,
  attention,
  o_proj,
  gate_up,
  down,
  head,
  wait
};
inline constexpr int operation_count = 11;
// As reports show it: "qkv projection", …
std::string_view name(Operation operation);

// What an operation must do whoever does it: bytes of weights, keys and values to read, multiplies and adds
// on int8 codes and on floats. Zero for what only walks over activations.
struct Work {
  int64_t bytes = 0, int8_operations = 0, float_operations = 0;
  Work& operator+=(const Work& more);
};

struct Event {
  Operation operation = Operation::wait;
  int32_t layer = -1;                // −1: before or after the layers
  int64_t begin_ns = 0, end_ns = 0;  // since the profile was made
  Work work;                         // this thread's share
};

// Each thread of a team writes its own list. Times are wall-clock: a thread that lost its CPU seems to work
// on.
class Profile {
 public:
  explicit Profile(int threads) : logs_(static_cast<size_t>(threads)) {}

  int threads() const { return static_cast<int>(logs_.size()); }
  const std::vector<Event>& events(int thread) const { return logs_[static_cast<size_t>(thread)].events; }
  void record(int thread, const Event& event) { logs_[static_cast<size_t>(thread)].events.push_back(event); }
  int64_t now_ns() const {
    return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - start_).count();
  }

 private:
  using Clock = std::chrono::steady_clock;
  struct alignas(64) Log {
    std::vector<Event> events;
  };
  Clock::time_point start_ = Clock::now();
  std::vector<Log> logs_;
};

}  // namespace whittle
