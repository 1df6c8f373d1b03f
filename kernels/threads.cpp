#include "kernels/threads.h"

#include <omp.h>
#include <sched.h>

#include <algorithm>
#include <exception>

namespace whittle {

namespace {

const cpu_set_t cpus_at_start = [] {
  cpu_set_t set;
  CPU_ZERO(&set);
  sched_getaffinity(0, sizeof set, &set);
  return set;
}();

void pin(int index, int count) {
  if (CPU_COUNT(&cpus_at_start) < count) return;
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
    if (CPU_ISSET(cpu, &cpus_at_start) && index-- == 0) {
      cpu_set_t one;
      CPU_ZERO(&one);
      CPU_SET(cpu, &one);
      sched_setaffinity(0, sizeof one, &one);
    }
}

}  // namespace

void Worker::barrier() const {
#pragma omp barrier
}

Team::Team(int threads) : size_(threads > 0 ? threads : std::max(1, CPU_COUNT(&cpus_at_start))) {}

void Team::run(const std::function<void(const Worker&)>& body) const {
  std::exception_ptr error;
#pragma omp parallel num_threads(size_)
  {
    const Worker worker{omp_get_thread_num(), omp_get_num_threads()};
    pin(worker.index, worker.count);
    try {
      body(worker);
    } catch (...) {
#pragma omp critical
      error = std::current_exception();
    }
  }
  if (error) std::rethrow_exception(error);
}

void Team::for_each(int64_t items, const std::function<void(int64_t)>& body) const {
  run([&](const Worker& worker) {
    const Range range = worker.share(items);
    for (int64_t i = range.begin; i < range.end; ++i) body(i);
  });
}

}  // namespace whittle
