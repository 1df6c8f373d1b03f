#pragma once
// How the threads of a team share the work of one operation after the other: who takes which piece, when all
// is done, and who rests. Worker::hand_out (threads.h) is what others see of it.

#include <time.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

#include "kernels/threads.h"

namespace whittle {

// On which CPUs the threads of a team belong. Teams of one maker may take turns: OpenMP lends all the same
// threads, or new ones, and each run begins with those in their places.
struct Placement {
  uint64_t team = 0;  // a number that no other team has
  bool pins = false;  // each thread to a CPU of its own
  std::thread::id maker;
};

class Crew {
  struct Member;

 public:
  Placement placement;

  Crew(int size, int cpus) : members_(static_cast<size_t>(size)), spins_(size <= cpus ? 4000 : 0) {}

  // Before and after a run, by the thread that calls it.
  void begin_run() {
    const int64_t now = steady_ns();
    ++run_;
    done_.store(0, std::memory_order_relaxed);
    arrived_.store(0, std::memory_order_relaxed);
    for (Member& member : members_) {
      member.operation = 0;
      member.target = 0;
      member.barriers = 0;
      member.left.store(0, std::memory_order_relaxed);
      member.rests = now < member.rest_end_ns;
    }
  }
  void end_run() {
    const Member* steadiest = nullptr;  // goes on whatever it lost
    for (const Member& member : members_)
      if (!member.rests && (!steadiest || member.lost_fraction() < steadiest->lost_fraction()))
        steadiest = &member;
    for (Member& member : members_) member.plan_rest(&member == steadiest);
  }

  // On every thread, around a run. A thread that rests sleeps until another is done, so that it meets the end
  // of the run with a claim to its CPU, not having spun its time away.
  void enter(int thread) { members_[static_cast<size_t>(thread)].enter(); }
  void leave(int thread) {
    Member& member = members_[static_cast<size_t>(thread)];
    if (member.rests)
      for (uint32_t over; (over = run_over_.load(std::memory_order_acquire)) != run_;) run_over_.wait(over);
    else if (run_over_.exchange(run_, std::memory_order_release) != run_)
      run_over_.notify_all();
    member.leave();
  }

  bool begin_operation(int thread, int64_t total) {
    Member& member = members_[static_cast<size_t>(thread)];
    ++member.operation;
    member.target += total;
    return !member.rests;
  }

  // `whole` is the owner's share of the current operation of `thread`.
  Range claim(int thread, int owner, Range whole) {
    const uint64_t operation = members_[static_cast<size_t>(thread)].operation;
    std::atomic<uint64_t>& left = members_[static_cast<size_t>(owner)].left;
    const int64_t most = std::clamp<int64_t>(whole.size() / 8, 1, 16);
    uint64_t seen = left.load(std::memory_order_relaxed);
    while (true) {
      const uint64_t newest = seen >> (2 * bits);
      if (newest > operation) return {};  // all of this operation is done: somebody has gone on
      const Range rest = newest == operation ? unpack(seen) : whole;
      const int64_t size = std::min(most, (rest.size() + 1) / 2);
      if (size <= 0) return {};
      const bool own = thread == owner;
      const Range piece = own ? Range{rest.begin, rest.begin + size} : Range{rest.end - size, rest.end};
      const Range after = own ? Range{piece.end, rest.end} : Range{rest.begin, piece.begin};
      if (left.compare_exchange_weak(seen, pack(operation, after), std::memory_order_relaxed)) return piece;
    }
  }

  void finish(int thread, int64_t items) {
    const int64_t target = members_[static_cast<size_t>(thread)].target;
    if (done_.fetch_add(items, std::memory_order_acq_rel) + items == target) done_.notify_all();
  }

  void wait_for_all(int thread) {
    Member& member = members_[static_cast<size_t>(thread)];
    wait_for(done_, member.target, member);
  }

  // Counted apart from the items: a thread that rests comes here before they are done.
  void barrier(int thread) {
    Member& member = members_[static_cast<size_t>(thread)];
    const int64_t all = ++member.barriers * static_cast<int64_t>(members_.size());
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == all) arrived_.notify_all();
    wait_for(arrived_, all, member);
  }

  // Thrown by the waits of a run that cannot end, because a thread has left it by an exception.
  struct Aborted {};
  void abort() {
    for (std::atomic<int64_t>* count : {&done_, &arrived_}) {
      count->fetch_or(aborted, std::memory_order_release);
      count->notify_all();
    }
  }

 private:
  static constexpr int64_t aborted = int64_t{1} << 62;  // beyond any count: whoever waits is released

  // In a loop at first, then asleep.
  void wait_for(const std::atomic<int64_t>& count, int64_t target, Member& member) const {
    int64_t seen = count.load(std::memory_order_acquire);
    for (int i = 0; i < spins_ && seen < target; ++i) {
      pause();
      seen = count.load(std::memory_order_acquire);
    }
    if (seen < target) {
      const int64_t start = steady_ns();
      for (; seen < target; seen = count.load(std::memory_order_acquire)) count.wait(seen);
      member.asleep_ns += steady_ns() - start;
    }
    if (seen >= aborted) throw Aborted{};
  }

  static int64_t clock_ns(clockid_t clock) {
    timespec time{};
    clock_gettime(clock, &time);
    return time.tv_sec * int64_t{1'000'000'000} + time.tv_nsec;
  }
  static int64_t steady_ns() { return clock_ns(CLOCK_MONOTONIC); }
  static void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }

  // What is left of a thread's share, and of which operation: one word, so that owner and helpers agree.
  static constexpr int bits = 21;
  static uint64_t pack(uint64_t operation, Range rest) {
    return operation << (2 * bits) | static_cast<uint64_t>(rest.begin) << bits |
           static_cast<uint64_t>(rest.end);
  }
  static Range unpack(uint64_t word) {
    constexpr uint64_t mask = (uint64_t{1} << bits) - 1;
    return {static_cast<int64_t>(word >> bits & mask), static_cast<int64_t>(word & mask)};
  }

  struct alignas(64) Member {
    uint64_t operation = 0;  // how many this thread has begun in this run
    int64_t target = 0;      // items of all of them
    int64_t barriers = 0;    // that this thread has come to
    std::atomic<uint64_t> left = 0;

    // How much of the time in which it wanted to run a thread has lately had no CPU.
    bool rests = false;
    int64_t wall_ns = 0, cpu_ns = 0, asleep_ns = 0;
    int64_t rest_end_ns = 0, rest_ns = 0;

    void enter() {
      wall_ns -= steady_ns();
      cpu_ns -= clock_ns(CLOCK_THREAD_CPUTIME_ID);
    }
    void leave() {
      wall_ns += steady_ns();
      cpu_ns += clock_ns(CLOCK_THREAD_CPUTIME_ID);
    }
    double lost_fraction() const {
      return wall_ns > 0 ? static_cast<double>(wall_ns - cpu_ns - asleep_ns) / static_cast<double>(wall_ns)
                         : 0;
    }
    // Judged over some 20 ms at least, since a preemption lasts a few. With every rest in vain the next is
    // longer.
    void plan_rest(bool indispensable) {
      constexpr int64_t window = 20'000'000, shortest = 100'000'000, longest = 3'200'000'000;
      const bool worked = !rests && operation > 0;
      if (worked && wall_ns < window) return;
      if (worked && lost_fraction() > 0.25 && !indispensable) {
        rest_ns = std::clamp(2 * rest_ns, shortest, longest);
        rest_end_ns = steady_ns() + rest_ns;
      } else if (worked) {
        rest_ns = 0;
      }
      wall_ns = cpu_ns = asleep_ns = 0;
    }
  };
  std::vector<Member> members_;
  int spins_;  // some 100 us; none where threads outnumber CPUs, and a spinning one keeps another from its
               // work
  uint32_t run_ = 0;
  std::atomic<uint32_t> run_over_ = 0;         // the last run that a thread has left
  alignas(64) std::atomic<int64_t> done_ = 0;  // items of all operations of this run
  std::atomic<int64_t> arrived_ = 0;           // threads at all barriers of this run
};

}  // namespace whittle
