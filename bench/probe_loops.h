#pragma once
// The loops whose speed is a limit of the machine: reading memory, and multiplying and adding in registers.
//
// They are written in assembly so that every compiler and every build type times the very same instructions.
// Each runs on the calling thread.

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <vector>

namespace whittle {

enum class Arithmetic : uint8_t { int8, fp32, bf16 };

// Independent chains of one multiply-accumulate sequence, on registers only: nothing waits for another,
// nothing for memory.
struct ComputeLoop {
  Arithmetic arithmetic;
  int generation;              // of two loops that a CPU supports, the newer generation's is never the slower
  std::string_view extension;  // that the CPU must have; empty: any x86-64
  std::string_view instructions;  // of one multiply-accumulate
  int64_t operations;             // multiplies and adds in one iteration
  void (*run)(int64_t iterations);
};

// Those of the newest generation that this CPU supports; none for bf16 without an instruction for it.
std::vector<ComputeLoop> compute_loops(Arithmetic arithmetic);

// A plain read, once and in order, with the widest loads that this CPU has. `bytes` is a multiple of 512.
void read_memory(const std::byte* data, int64_t bytes);

}  // namespace whittle
