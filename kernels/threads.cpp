#include "kernels/threads.h"

#include <omp.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <set>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "kernels/crew.h"
#include "kernels/option_error.h"

namespace whittle {
namespace {

cpu_set_t mask_of(const std::vector<int>& cpus) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (int cpu : cpus) CPU_SET(cpu, &set);
  return set;
}

// Read before main, when no mask is our own pinning yet. OpenMP, though, pins the main thread before that
// where OMP_PROC_BIND says so: then the places that it chose from tell.
const std::vector<int> cpus_at_start = [] {
  std::vector<int> cpus;
  for (int place = 0; place < omp_get_num_places(); ++place) {
    std::vector<int> ids(static_cast<size_t>(omp_get_place_num_procs(place)));
    omp_get_place_proc_ids(place, ids.data());
    cpus.insert(cpus.end(), ids.begin(), ids.end());
  }
  std::ranges::sort(cpus);
  cpus.erase(std::unique(cpus.begin(), cpus.end()), cpus.end());
  if (!cpus.empty()) return cpus;
  cpu_set_t set;
  CPU_ZERO(&set);
  if (sched_getaffinity(0, sizeof set, &set) == 0)
    for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
      if (CPU_ISSET(cpu, &set)) cpus.push_back(cpu);
  // More CPUs than a cpu_set_t has bits, or a sandbox that hides the call.
  if (cpus.empty())
    for (int cpu = 0; cpu < std::clamp<long>(sysconf(_SC_NPROCESSORS_ONLN), 1, CPU_SETSIZE); ++cpu)
      cpus.push_back(cpu);
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

// The team that the calling thread's CPUs were set for; 0: none. By number: a team that is gone may leave its
// address to the next.
thread_local uint64_t placed_for = 0;

// The calling thread, where a team wants its `thread`.
void place(const Placement& placement, int thread) {
  if (std::exchange(placed_for, placement.team) == placement.team) return;
  if (!placement.pins) return unpin_current_thread();
  const cpu_set_t mask = mask_of({cpus().order[static_cast<size_t>(thread)]});
  sched_setaffinity(0, sizeof mask, &mask);
}

uint64_t next_team_number() {
  static std::atomic<uint64_t> last = 0;
  return ++last;
}

}  // namespace

const std::vector<int>& usable_cpus() { return cpus_at_start; }

int physical_cores() { return cpus().physical_cores; }

void unpin_current_thread() {
  const cpu_set_t all = mask_of(cpus_at_start);
  sched_setaffinity(0, sizeof all, &all);
}

bool Worker::begin_operation(int64_t total) const {
  if (total > most_items) fail("{} pieces of work: expected at most {}", total, most_items);
  return crew->begin_operation(index, total);
}
Range Worker::claim(int owner, int64_t total) const {
  return crew->claim(index, owner, share_of(owner, total));
}
void Worker::finish(Range piece) const { crew->finish(index, piece.size()); }
void Worker::wait_for_all() const { crew->wait_for_all(index); }

void Worker::barrier() const {
  if (count > 1) crew->barrier(index);
}

Team::Team(int threads) : size_(threads == 0 ? physical_cores() : threads) {
  constexpr int most = 1024;
  if (threads < 0 || threads > most)
    fail_option("threads", "expected 0 (one per physical core) to {}, found {}", most, threads);
  crew_ = std::make_unique<Crew>(size_, static_cast<int>(cpus_at_start.size()));
  const bool enough = size_ <= static_cast<int>(cpus().order.size());
  crew_->placement = {next_team_number(), pinning_wanted() && enough, std::this_thread::get_id()};
  run([](const Worker&) {});
}

Team::~Team() {
  if (std::this_thread::get_id() != crew_->placement.maker) return;
  unpin_current_thread();
  placed_for = 0;
}

void Team::run(const std::function<void(const Worker&)>& body) const {
  thread_local const Team* inside = nullptr;  // the team that this thread works for
  if (inside == this) fail("a team of {} threads was asked by one of them to run something else", size_);
  const std::lock_guard turn(running_);
  std::exception_ptr error;
  const Placement& placement = crew_->placement;
  const bool made_here = std::this_thread::get_id() == placement.maker;
  crew_->begin_run();
#pragma omp parallel num_threads(size_)
  {
    const int thread = omp_get_thread_num();
    const Team* const outside = std::exchange(inside, this);
    if (made_here) place(placement, thread);
    crew_->enter(thread);
    try {
      if (omp_get_num_threads() != size_)
        fail("OpenMP gave {} threads where {} were asked for: is OMP_THREAD_LIMIT set?",
             omp_get_num_threads(), size_);
      body(Worker{thread, size_, crew_.get()});
    } catch (const Crew::Aborted&) {  // another thread's exception is the one to tell
    } catch (...) {
#pragma omp critical(whittle_team_error)
      if (!error) error = std::current_exception();
      crew_->abort();
    }
    crew_->leave(thread);
    inside = outside;
  }
  crew_->end_run();
  if (error) std::rethrow_exception(error);
}

void Team::for_each(int64_t items, const std::function<void(int64_t)>& body) const {
  std::atomic<int64_t> next = 0;
  run([&](const Worker&) {
    try {
      for (int64_t i = next++; i < items; i = next++) body(i);
    } catch (...) {
      next = items;
      throw;
    }
  });
}

}  // namespace whittle
