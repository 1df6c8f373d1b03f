#include "kernels/threads.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <catch2/catch.hpp>
#include <chrono>
#include <new>
#include <string>
#include <thread>
#include <vector>

#include "kernels/error.h"

using namespace whittle;

TEST_CASE("shares cover the whole once, in order, and differ by at most one") {
  for (int count : {1, 2, 3, 7, 16})
    for (int64_t total : {0, 1, 2, 6, 7, 8, 1000}) {
      int64_t end = 0;
      for (int index = 0; index < count; ++index) {
        const Range share = Worker{index, count}.share(total);
        CHECK(share.begin == end);
        CHECK(share.size() >= total / count);
        CHECK(share.size() <= total / count + 1);
        end = share.end;
      }
      CHECK(end == total);
    }
}

TEST_CASE("a team runs its body once on every thread") {
  for (int threads : {1, 2, 3, 5}) {
    const Team team(threads);
    REQUIRE(team.size() == threads);
    std::vector<std::atomic<int>> runs(static_cast<size_t>(threads));
    std::atomic<int> wrong_count = 0;
    team.run([&](const Worker& worker) {
      ++runs[static_cast<size_t>(worker.index)];
      wrong_count += worker.count != threads;
    });
    for (const auto& times : runs) CHECK(times == 1);
    CHECK(wrong_count == 0);
  }
  CHECK(Team().size() == physical_cores());
}

TEST_CASE("what a thread wrote before a barrier is seen by all after it") {
  const Team team(3);
  std::vector<int> values(3, 0);
  std::atomic<int> wrong = 0;
  team.run([&](const Worker& worker) {
    for (int round = 1; round <= 200; ++round) {
      values[static_cast<size_t>(worker.index)] = round;
      worker.barrier();
      for (int value : values) wrong += value != round;
      worker.barrier();
    }
  });
  CHECK(wrong == 0);
}

TEST_CASE("what is handed out is done once, and seen by all, before anyone goes on") {
  for (int threads : {1, 2, 3, 8}) {
    const Team team(threads);
    for (int64_t total : {0, 1, 2, 5, 40, 1000}) {
      std::vector<int> visits(static_cast<size_t>(total), 0);
      std::atomic<int> wrong = 0;
      team.run([&](const Worker& worker) {
        for (int round = 1; round <= 50; ++round) {
          worker.hand_out(total, [&](Range piece) {
            if (piece.size() <= 0) ++wrong;
            for (int64_t i = piece.begin; i < piece.end; ++i) ++visits[static_cast<size_t>(i)];
          });
          // Of the items that follow, each looks at all of those before.
          worker.hand_out(total, [&](Range) {
            for (int times : visits) wrong += times != round;
          });
        }
      });
      CHECK(wrong == 0);
      CHECK(visits == std::vector<int>(static_cast<size_t>(total), 50));
    }
  }
}

TEST_CASE("a piece that takes long does not keep others from the rest") {
  const Team team(2);
  std::atomic<int64_t> done = 0, done_beside = 0, beside = -1;
  team.run([&](const Worker& worker) {
    worker.hand_out(100, [&](Range piece) {
      if (piece.begin ==
          0) {  // holds on until all else is done: the other thread's share, and what is left of its own
        beside = 100 - piece.size();
        const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(10);
        while (done < beside && std::chrono::steady_clock::now() < end) sched_yield();
        done_beside = done.load();
      }
      done += piece.size();
    });
  });
  CHECK(done == 100);
  CHECK(done_beside == beside);
}

// Far more threads than CPUs lose much of their time to each other: most of them rest, in turns.
TEST_CASE("threads that rest leave nothing undone") {
  const Team team(4 * static_cast<int>(usable_cpus().size()));
  int64_t runs = 0, total = 0;
  std::atomic<int64_t> done = 0;
  for (const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(400);
       std::chrono::steady_clock::now() < end; ++runs) {
    team.run([&](const Worker& worker) {
      for (int round = 0; round < 20; ++round)
        worker.hand_out(64, [&](Range piece) {
          const auto piece_end =
              std::chrono::steady_clock::now() + std::chrono::microseconds(2 * piece.size());
          while (std::chrono::steady_clock::now() < piece_end) {
          }
          done += piece.size();
        });
    });
    total += 20 * 64;
  }
  CHECK(done == total);
}

TEST_CASE("an exception on any thread reaches the caller, and the team works on") {
  const Team team(3);
  for (int thrower : {0, 2}) {
    const auto body = [&](const Worker& worker) {
      if (worker.index == thrower) fail("thread {}", worker.index);
    };
    CHECK_THROWS_AS(team.run(body), Error);
  }
  CHECK_THROWS_AS(team.for_each(10,
                                [](int64_t i) {
                                  if (i == 7) fail("item");
                                }),
                  Error);
  std::atomic<int> runs = 0;
  team.run([&](const Worker&) { ++runs; });
  CHECK(runs == 3);
}

TEST_CASE("for_each visits every item once") {
  const Team team(3);
  for (int64_t items : {0, 1, 2, 1000}) {
    std::vector<std::atomic<int>> visits(static_cast<size_t>(items));
    team.for_each(items, [&](int64_t i) { ++visits[static_cast<size_t>(i)]; });
    for (const auto& times : visits)
      if (times != 1) FAIL("an item was visited " << times << " times");
  }
}

TEST_CASE("a team size that no machine has is refused") {
  CHECK_THROWS_AS(Team(-1), Error);
  CHECK_THROWS_AS(Team(100000), Error);
}

TEST_CASE("the calling thread has its CPUs back when its team is gone") {
  cpu_set_t before, after;
  REQUIRE(sched_getaffinity(0, sizeof before, &before) == 0);
  { const Team team(1); }
  REQUIRE(sched_getaffinity(0, sizeof after, &after) == 0);
  CHECK(CPU_EQUAL(&before, &after));
}

TEST_CASE("teams of several sizes take turns, each on its own CPUs every time") {
  const size_t cpus = usable_cpus().size();
  const auto cpus_of_threads = [](const Team& team) {
    std::vector<std::vector<int>> found(static_cast<size_t>(team.size()));
    team.run([&](const Worker& worker) {
      cpu_set_t set;
      CPU_ZERO(&set);
      sched_getaffinity(0, sizeof set, &set);
      for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu)
        if (CPU_ISSET(cpu, &set)) found[static_cast<size_t>(worker.index)].push_back(cpu);
    });
    return found;
  };
  const Team whole(static_cast<int>(cpus)), one(1), crowd(static_cast<int>(cpus) + 1);
  const auto alone = cpus_of_threads(one), all = cpus_of_threads(whole);
  std::vector<int> seen;
  for (const std::vector<int>& thread : all) {
    REQUIRE(thread.size() == 1);
    seen.push_back(thread.front());
  }
  std::ranges::sort(seen);
  CHECK(seen == usable_cpus());
  CHECK(alone.front().size() == 1);
  for (int round = 0; round < 3; ++round) {
    CHECK(cpus_of_threads(crowd) == std::vector(cpus + 1, usable_cpus()));  // too many to be pinned
    CHECK(cpus_of_threads(whole) == all);
    { const Team gone(1); }
    CHECK(cpus_of_threads(whole) == all);
    CHECK(cpus_of_threads(one) == alone);
  }
}

// In each of them some thread leaves while the others wait for it, or are about to.
TEST_CASE("after an exception in a step of many operations all threads leave, and the team works on") {
  constexpr int operations = 40;
  constexpr int64_t items = 30;
  for (int threads : {1, 2, 3, 4}) {
    const Team team(threads);
    for (int failing : {0, operations / 2, operations - 1}) {
      INFO(threads << " threads, operation " << failing);
      for (int64_t item : {int64_t{0}, items / 2, items - 1})  // of the first thread's share, or another's
        CHECK_THROWS_WITH(team.run([&](const Worker& worker) {
          for (int operation = 0; operation < operations; ++operation)
            worker.hand_out(items, [&](Range piece) {
              if (operation == failing && piece.begin <= item && item < piece.end) fail("item {}", item);
            });
        }),
                          "item " + std::to_string(item));
      for (int thrower = 0; thrower < threads; ++thrower)
        for (bool at_barriers : {false, true})
          CHECK_THROWS_WITH(team.run([&](const Worker& worker) {
            for (int operation = 0; operation < operations; ++operation) {
              if (operation == failing && worker.index == thrower) fail("thread {}", thrower);
              if (at_barriers) worker.barrier();
              worker.hand_out(items, [&](Range) {});
            }
          }),
                            "thread " + std::to_string(thrower));
      CHECK_THROWS_AS(team.run([&](const Worker& worker) {
        worker.hand_out(threads, [](Range) { throw std::bad_alloc(); });  // several at once
      }),
                      std::bad_alloc);
      std::atomic<int64_t> done = 0;
      team.run([&](const Worker& worker) {
        for (int operation = 0; operation < operations; ++operation)
          worker.hand_out(items, [&](Range piece) { done += piece.size(); });
        worker.barrier();
      });
      CHECK(done == operations * items);
    }
  }
}

TEST_CASE("callers on several threads take turns") {
  const Team team(2);
  constexpr int callers = 3, runs = 50, operations = 5;
  std::atomic<int> inside = 0, together = 0, lost = 0;
  std::vector<std::thread> threads;
  for (int caller = 0; caller < callers; ++caller)
    threads.emplace_back([&] {
      for (int run = 0; run < runs; ++run) {
        std::atomic<int64_t> done = 0;
        try {
          team.run([&](const Worker& worker) {
            if (worker.index == 0 && ++inside != 1) ++together;
            for (int operation = 0; operation < operations; ++operation)
              worker.hand_out(20, [&](Range piece) { done += piece.size(); });
            if (worker.index == 0) --inside;
            worker.barrier();
            if (run % 10 == 9) fail("now and then");
          });
        } catch (const Error&) {
          lost += run % 10 != 9;
        }
        lost += done != operations * 20;
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(together == 0);
  CHECK(lost == 0);
}

TEST_CASE("a team that is asked by one of its own threads says so") {
  for (int threads : {1, 2}) {
    const Team team(threads);
    CHECK_THROWS_AS(team.run([&](const Worker& worker) {
      if (worker.index == threads - 1) team.run([](const Worker&) {});
    }),
                    Error);
    const Team other(1);
    int runs = 0;
    team.run([&](const Worker& worker) {
      if (worker.index == 0) other.run([&](const Worker&) { ++runs; });
    });
    CHECK(runs == 1);
  }
}

TEST_CASE("for_each hands out no more after an exception") {
  const Team team(2);
  std::atomic<int64_t> visited = 0;
  CHECK_THROWS_AS(team.for_each(int64_t{1} << 40,
                                [&](int64_t i) {
                                  ++visited;
                                  if (i == 1000) fail("item");
                                }),
                  Error);
  CHECK(visited < 10'000'000);
}

TEST_CASE("more pieces than can be counted are one error, and the team works on") {
  const Team team(2);
  CHECK_THROWS_WITH(team.run([](const Worker& worker) { worker.hand_out(most_items + 1, [](Range) {}); }),
                    Catch::Contains("pieces of work"));
  std::atomic<int64_t> done = 0;
  team.run([&](const Worker& worker) { worker.hand_out(100, [&](Range piece) { done += piece.size(); }); });
  CHECK(done == 100);
}
