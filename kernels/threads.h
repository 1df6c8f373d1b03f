#pragma once
// A team of pinned threads that walks through a step together.
//
// One parallel region holds a whole decoder step: every thread runs the same code, takes its part of each
// operation, and meets the others at a barrier. An output element is computed by one thread in one order, so
// neither the number of threads nor who took what changes a bit of the result.

#include <cstdint>
#include <functional>
#include <memory>
#include <mutex>
#include <vector>

namespace whittle {

// The CPUs that the process was started on: a team pins its threads, the main one included, and what those
// may use says nothing of the process any more.
const std::vector<int>& usable_cpus();
// Physical cores among them.
int physical_cores();
// Lets the calling thread run on every CPU that the process started with: before a child process is started.
void unpin_current_thread();

struct Range {
  int64_t begin = 0, end = 0;
  int64_t size() const { return end - begin; }
};

// What the threads of a team share while they run.
class Crew;

// The most pieces that one operation may be handed out in: they are counted in so many bits.
inline constexpr int64_t most_items = (int64_t{1} << 21) - 1;

// One thread's place in a running team.
struct Worker {
  int index = 0;
  int count = 1;
  Crew* crew = nullptr;

  // This thread's share of [0, total): shares differ by at most one.
  Range share(int64_t total) const { return share_of(index, total); }
  // Calls body(piece) for pieces of [0, total), total at most most_items: from this thread's share, front to
  // back, then from the ends of the shares of others that are behind. Returns when the team has done all
  // pieces. Nobody waits for a thread that holds none: one that lost its CPU finds its part done. Every
  // thread of the team must make the same calls in the same order. When a thread leaves the run by an
  // exception, the others are not kept waiting: this call and barrier() throw, and what they throw is for
  // Team::run alone to catch.
  template <class Body>
  void hand_out(int64_t total, Body body) const {
    if (!begin_operation(total)) return;
    for (int turn = 0; turn < count; ++turn)
      for (Range piece = claim((index + turn) % count, total); piece.size() > 0;
           piece = claim((index + turn) % count, total)) {
        body(piece);
        finish(piece);
      }
    wait_for_all();
  }
  // Waits for every thread of the team.
  void barrier() const;

 private:
  Range share_of(int thread, int64_t total) const {
    return {total * thread / count, total * (thread + 1) / count};
  }
  bool begin_operation(int64_t total) const;  // false: this thread rests
  // A piece of what is left of a thread's share; empty when nothing is.
  Range claim(int owner, int64_t total) const;
  void finish(Range piece) const;
  void wait_for_all() const;
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
  // Runs body once on every thread. A thread that has lately lost much of its CPU to other processes takes
  // nothing of what is handed out for a while: it would only keep the others waiting. After an exception on
  // any thread the others leave at their next wait; the first one is rethrown here when all have left, and
  // the team is as good as new. Callers on different threads take turns (the team is pinned for the one that
  // made it); a body that runs its own team again gets an Error.
  void run(const std::function<void(const Worker&)>& body) const;
  // Items handed out one at a time, for work outside of a run. After an exception no more are.
  void for_each(int64_t items, const std::function<void(int64_t)>& body) const;

 private:
  int size_;
  mutable std::mutex running_;
  std::unique_ptr<Crew> crew_;
};

// With the threads of `team`; on this one where there is none.
inline void for_each(const Team* team, int64_t items, const std::function<void(int64_t)>& body) {
  if (team) return team->for_each(items, body);
  for (int64_t i = 0; i < items; ++i) body(i);
}

}  // namespace whittle
