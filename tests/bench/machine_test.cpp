#include "bench/machine.h"

#include <fmt/format.h>

#include <algorithm>
#include <catch2/catch.hpp>
#include <fstream>

#include "bench/cpu_features.h"
#include "kernels/threads.h"
#include "tests/support/paths.h"

using namespace whittle;
namespace fs = std::filesystem;

namespace {

void write(const fs::path& path, const std::string& text) {
  fs::create_directories(path.parent_path());
  std::ofstream(path) << text;
}

bool found(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

}  // namespace

TEST_CASE("the facts of this machine agree with each other") {
  const Machine machine = read_machine();
  CHECK(!machine.cpu.empty());
  CHECK(!machine.vendor.empty());
  CHECK(machine.cores_physical >= 1);
  CHECK(machine.cpus_logical >= machine.cores_physical);
  CHECK(machine.cpus_logical == static_cast<int>(usable_cpus().size()));
  CHECK(machine.memory_bytes > 0);
  CHECK(machine.memory_available_bytes <= machine.memory_bytes);
  CHECK(machine.kernel.find("Linux") == 0);
  for (const Cache& cache : machine.caches) CHECK(cache.bytes > 0);
}

TEST_CASE("the extensions found are those that the compiler's own check finds") {
  const std::vector<std::string> names = cpu_extensions();
  CHECK(found(names, "avx2") == static_cast<bool>(__builtin_cpu_supports("avx2")));
  CHECK(found(names, "fma") == static_cast<bool>(__builtin_cpu_supports("fma")));
  CHECK(found(names, "avx512f") == static_cast<bool>(__builtin_cpu_supports("avx512f")));
  CHECK(found(names, "avx512bw") == static_cast<bool>(__builtin_cpu_supports("avx512bw")));
  CHECK(found(names, "avx512_vnni") == static_cast<bool>(__builtin_cpu_supports("avx512vnni")));
  CHECK(found(names, "avx512_vbmi2") == static_cast<bool>(__builtin_cpu_supports("avx512vbmi2")));
  for (const auto& name : names) CHECK(cpu_has(name));
  CHECK(!cpu_has("avx9"));
}

TEST_CASE("hyperthreads share a core; caches are counted once for those who share them") {
  test::TemporaryFolder root;
  const size_t cpus = usable_cpus().size();
  std::string all;
  for (size_t i = 0; i < cpus; ++i) {
    const fs::path cpu = root.path() / fmt::format("sys/devices/system/cpu/cpu{}", usable_cpus()[i]);
    write(cpu / "topology/thread_siblings_list", fmt::format("pair {}\n", i / 2));
    write(cpu / "cache/index0/level", "1\n");
    write(cpu / "cache/index0/type", "Data\n");
    write(cpu / "cache/index0/size", "48K\n");
    write(cpu / "cache/index0/shared_cpu_list", fmt::format("pair {}\n", i / 2));
    write(cpu / "cache/index3/level", "3\n");
    write(cpu / "cache/index3/type", "Unified\n");
    write(cpu / "cache/index3/size", "32M\n");
    write(cpu / "cache/index3/shared_cpu_list", "everyone\n");
  }
  const Machine machine = read_machine(root.path());
  const int pairs = static_cast<int>((cpus + 1) / 2);
  CHECK(machine.cores_physical == pairs);
  REQUIRE(machine.caches.size() == 2);
  CHECK(machine.caches[0].name == "l1d");
  CHECK(machine.caches[0].bytes == 48 << 10);
  CHECK(machine.caches[0].instances == pairs);
  CHECK(machine.caches[1].name == "l3");
  CHECK(machine.caches[1].instances == 1);
  CHECK(machine.last_level_cache_bytes() == 32 << 20);
}

TEST_CASE("the tightest control group above the process limits CPUs and memory: version 2") {
  test::TemporaryFolder root;
  write(root.path() / "proc/self/cgroup", "0::/outer/inner\n");
  write(root.path() / "proc/meminfo", "MemTotal:       4000 kB\nMemAvailable:   3000 kB\n");
  write(root.path() / "sys/fs/cgroup/outer/inner/cpu.max", "max 100000\n");
  CHECK(!read_machine(root.path()).cpu_quota);
  CHECK(read_machine(root.path()).memory_available_bytes == 3000 * 1024);
  write(root.path() / "sys/fs/cgroup/outer/cpu.max", "150000 100000\n");
  write(root.path() / "sys/fs/cgroup/outer/inner/memory.max", "1048576\n");
  const Machine machine = read_machine(root.path());
  CHECK(machine.cpu_quota == 1.5);
  CHECK(machine.memory_available_bytes == 1 << 20);
  CHECK(machine.memory_bytes == 4000 * 1024);
}

TEST_CASE("the tightest control group above the process limits CPUs and memory: version 1") {
  test::TemporaryFolder root;
  write(root.path() / "proc/self/cgroup", "5:memory:/box\n4:cpu,cpuacct:/box\n");
  write(root.path() / "sys/fs/cgroup/cpu/box/cpu.cfs_quota_us", "-1\n");
  write(root.path() / "sys/fs/cgroup/cpu/box/cpu.cfs_period_us", "100000\n");
  CHECK(!read_machine(root.path()).cpu_quota);
  write(root.path() / "sys/fs/cgroup/cpu/box/cpu.cfs_quota_us", "50000\n");
  CHECK(read_machine(root.path()).cpu_quota == 0.5);
}

TEST_CASE("a machine that tells nothing, or nonsense, is still described") {
  test::TemporaryFolder root;
  const Machine silent = read_machine(root.path());
  CHECK(silent.cpus_logical >= 1);
  CHECK(silent.cores_physical == silent.cpus_logical);
  CHECK(silent.memory_bytes == 0);
  CHECK(silent.huge_pages.empty());
  write(root.path() / "proc/cpuinfo", "model name\t: \nno colon\n: no name\n");
  write(root.path() / "proc/meminfo", "MemTotal: 99999999999999999999999 kB\nMemAvailable:\n");
  write(root.path() / "proc/self/cgroup", "::::\n0\n:\n");
  write(root.path() / "sys/fs/cgroup/cpu.max", "100000\n");
  write(root.path() / "sys/kernel/mm/transparent_hugepage/enabled", "always [madvise] never\n");
  const Machine confused = read_machine(root.path());
  CHECK(confused.memory_bytes == 0);
  CHECK(!confused.cpu_quota);
  CHECK(confused.huge_pages == "madvise");
}
