#pragma once
// A team of pinned threads that walks through a step together.
//
// One parallel region holds a whole decoder step: every thread runs the same code, takes its static share of
// each operation, and meets the others at a barrier. Shares are contiguous ranges in thread order and an
// output element is computed by one thread in one order, so the number of threads never changes a bit of the
// result.

#include <cstdint>
#include <functional>
#include <vector>

namespace whittle {

// The CPUs that the process was started on: a team pins its threads, the main one included, and what those may use says
// nothing of the process any more.
const std::vector<int>& usable_cpus();
// Physical cores among them.
int physical_cores();
// Lets the calling thread run on every CPU that the process started with: before a child process is started.
void unpin_current_thread();

struct Range {
  int64_t begin = 0, end = 0;
  int64_t size() const { return end - begin; }
};

// One thread's place in a running team.
struct Worker {
  int index = 0;
  int count = 1;

  // This thread's share of [0, total): shares differ by at most one.
  Range share(int64_t total) const { return {total * index / count, total * (index + 1) / count}; }
  // Waits for every thread of the team.
  void barrier() const;
};

class Team {
 public:
  // threads = 0: one per physical core this process may use. Each thread is pinned to a CPU of its own as
  // long as there are enough of them; WHITTLE_PIN=0 leaves placement to the system.
  explicit Team(int threads = 0);
  ~Team();  // gives the calling thread all its CPUs back
  Team(const Team&) = delete;
  Team& operator=(const Team&) = delete;
  int size() const { return size_; }
  // Runs body once on every thread. An exception on any thread is rethrown here after all have left, so a
  // body that may throw must not use barriers after the point where it may.
  void run(const std::function<void(const Worker&)>& body) const;
  // Items handed out one at a time: for work of uneven size where order does not matter.
  void for_each(int64_t items, const std::function<void(int64_t)>& body) const;

 private:
  int size_;
};

}  // namespace whittle
