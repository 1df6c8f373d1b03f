#include "kernels/threads.h"

#include <omp.h>
#include <sched.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cassert>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/error.h"

namespace whittle {
namespace {

cpu_set_t mask_of(const std::vector<int>& cpus) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (int cpu : cpus) CPU_SET(cpu, &set);
  return set;
}

// Read before main, when no mask is our own pinning yet.
const std::vector<int> cpus_at_start = [] {
  std::vector<int> cpus;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0)
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
      if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  // More CPUs than a cpu_set_t has bits, or a sandbox that hides the call.
  if (cpus.empty())
    for (int cpu = 0; cpu < std::clamp<long>(sysconf(_SC_NPROCESSORS_ONLN), 1, CPU_SETSIZE); ++cpu) cpus.push_back(cpu);
  return cpus;
}();

// The usable CPUs, one of each physical core first.
struct Cpus {
  std::vector<int> order;
  int physical_cores = 0;
};

const Cpus& cpus() {
  static const Cpus found = [] {
    Cpus list;
    std::vector<int> siblings;
    std::set<std::string> cores;
    for (int cpu : cpus_at_start) {
      std::ifstream file(fmt::format("/sys/devices/system/cpu/cpu{}/topology/thread_siblings_list", cpu));
      std::string core;
      if (!std::getline(file, core)) core = std::to_string(cpu);
      (cores.insert(core).second ? list.order : siblings).push_back(cpu);
    }
    list.physical_cores = static_cast<int>(list.order.size());
    list.order.insert(list.order.end(), siblings.begin(), siblings.end());
    return list;
  }();
  return found;
}

bool pinning_wanted() {
  const char* value = std::getenv("WHITTLE_PIN");
  return !value || std::string_view(value) != "0";
}

}  // namespace

const std::vector<int>& usable_cpus() {
  return cpus_at_start;
}

int physical_cores() {
  return cpus().physical_cores;
}

void unpin_current_thread() {
  const cpu_set_t all = mask_of(cpus_at_start);
  sched_setaffinity(0, sizeof all, &all);
}

class Crew {
 public:
  explicit Crew(int size) : members_(static_cast<size_t>(size)), spins_(size <= static_cast<int>(cpus_at_start.size()) ? 4000 : 0) {}

  // Before and after a run, by the thread that calls it.
  void begin_run() {
    const int64_t now = steady_ns();
    ++run_;
    done_.store(0, std::memory_order_relaxed);
    for (Member& member : members_) {
      member.operation = 0;
      member.target = 0;
      member.left.store(0, std::memory_order_relaxed);
      member.rests = now < member.rest_end_ns;
    }
  }
  void end_run() {
    const Member* steadiest = nullptr;  // goes on whatever it lost
    for (const Member& member : members_)
      if (!member.rests && (!steadiest || member.lost_fraction() < steadiest->lost_fraction())) steadiest = &member;
    for (Member& member : members_) member.plan_rest(&member == steadiest);
  }

  // On every thread, around a run. A thread that rests sleeps until another is done, so that it meets the end of the run
  // with a claim to its CPU, not having spun its time away.
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

  // In a loop at first, then asleep.
  void wait_for_all(int thread) {
    Member& member = members_[static_cast<size_t>(thread)];
    for (int i = 0; i <= spins_; ++i) {
      if (done_.load(std::memory_order_acquire) >= member.target) return;
      pause();
    }
    const int64_t start = steady_ns();
    for (int64_t done; (done = done_.load(std::memory_order_acquire)) < member.target;) done_.wait(done);
    member.asleep_ns += steady_ns() - start;
  }

 private:
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
    return operation << (2 * bits) | static_cast<uint64_t>(rest.begin) << bits | static_cast<uint64_t>(rest.end);
  }
  static Range unpack(uint64_t word) {
    constexpr uint64_t mask = (uint64_t{1} << bits) - 1;
    return {static_cast<int64_t>(word >> bits & mask), static_cast<int64_t>(word & mask)};
  }

  struct alignas(64) Member {
    uint64_t operation = 0;  // how many this thread has begun in this run
    int64_t target = 0;      // items of all of them
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
      return wall_ns > 0 ? static_cast<double>(wall_ns - cpu_ns - asleep_ns) / static_cast<double>(wall_ns) : 0;
    }
    // Judged over some 20 ms at least, since a preemption lasts a few. With every rest in vain the next is longer.
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
  int spins_;  // some 100 us; none where threads outnumber CPUs, and a spinning one keeps another from its work
  uint32_t run_ = 0;
  std::atomic<uint32_t> run_over_ = 0;         // the last run that a thread has left
  alignas(64) std::atomic<int64_t> done_ = 0;  // items of all operations of this run
};

bool Worker::begin_operation(int64_t total) const {
  assert(total < int64_t{1} << 21);
  return crew->begin_operation(index, total);
}
Range Worker::claim(int owner, int64_t total) const { return crew->claim(index, owner, share_of(owner, total)); }
void Worker::finish(Range piece) const { crew->finish(index, piece.size()); }
void Worker::wait_for_all() const { crew->wait_for_all(index); }

void Worker::barrier() const {
  if (count > 1) {
#pragma omp barrier
  }
}

Team::Team(int threads) : size_(threads == 0 ? physical_cores() : threads) {
  constexpr int most = 1024;
  if (threads < 0 || threads > most)
    fail("--threads: expected 0 (one per physical core) to {}, found {}", most, threads);
  crew_ = std::make_unique<Crew>(size_);
  const std::vector<int>& order = cpus().order;
  const bool pin = pinning_wanted() && size_ <= static_cast<int>(order.size());
  run([&](const Worker& worker) {
    if (!pin) return unpin_current_thread();
    const cpu_set_t mask = mask_of({order[static_cast<size_t>(worker.index)]});
    sched_setaffinity(0, sizeof mask, &mask);
  });
}

Team::~Team() {
  unpin_current_thread();
}

void Team::run(const std::function<void(const Worker&)>& body) const {
  std::exception_ptr error;
  crew_->begin_run();
#pragma omp parallel num_threads(size_)
  {
    const int thread = omp_get_thread_num();
    crew_->enter(thread);
    try {
      if (omp_get_num_threads() != size_)
        fail("OpenMP gave {} threads where {} were asked for: is OMP_THREAD_LIMIT set?", omp_get_num_threads(), size_);
      body(Worker{thread, size_, crew_.get()});
    } catch (...) {
#pragma omp critical(whittle_team_error)
      if (!error) error = std::current_exception();
    }
    crew_->leave(thread);
  }
  crew_->end_run();
  if (error) std::rethrow_exception(error);
}

void Team::for_each(int64_t items, const std::function<void(int64_t)>& body) const {
  std::atomic<int64_t> next = 0;
  run([&](const Worker&) {
    for (int64_t i = next++; i < items; i = next++) body(i);
  });
}

}  // namespace whittle
