// Counters of energy on made-up trees of /sys.

#include "bench/energy.h"

#include <unistd.h>

#include <catch2/catch.hpp>
#include <fstream>

#include "bench/reports/energy_report.h"
#include "tests/support/paths.h"

using namespace whittle;
namespace fs = std::filesystem;

namespace {

constexpr int64_t range = 262'143'328'850;

class PowerTree {
 public:
  fs::path root() const { return folder_.path(); }
  fs::path domain(const std::string& name) const { return root() / "sys/class/powercap" / name; }
  void write(const std::string& name, const std::string& file, const std::string& text) {
    fs::create_directories(domain(name));
    std::ofstream(domain(name) / file) << text;
  }
  void add(const std::string& name, const std::string& kind, int64_t microjoules) {
    write(name, "name", kind + "\n");
    write(name, "max_energy_range_uj", std::to_string(range) + "\n");
    set(name, microjoules);
  }
  void set(const std::string& name, int64_t microjoules) {
    write(name, "energy_uj", std::to_string(microjoules) + "\n");
  }

 private:
  test::TemporaryFolder folder_;
};

std::string missing(const PowerTree& tree) { return EnergyMeter(tree.root(), false).missing(); }

}  // namespace

TEST_CASE("energy is the sum of all packages, and of the memory where each of them counts it") {
  PowerTree tree;
  tree.add("intel-rapl:0", "package-0", 1'000'000);
  tree.add("intel-rapl:1", "package-1", 7'000'000);
  tree.add("intel-rapl:0:0", "core", 5);
  tree.add("intel-rapl:0:1", "dram", 100);
  tree.add("intel-rapl:1:1", "dram", 200);
  tree.add("intel-rapl:2", "psys", 3);            // the whole computer: packages again
  tree.add("intel-rapl-mmio:0", "package-0", 4);  // the same counter by another way
  EnergyMeter meter(tree.root(), false);
  REQUIRE(meter.available());
  const Energy before = meter.now();
  tree.set("intel-rapl:0", 3'500'000);
  tree.set("intel-rapl:1", 7'000'001);
  tree.set("intel-rapl:0:0", 9'000'000);
  tree.set("intel-rapl:0:1", 500'100);
  tree.set("intel-rapl:2", 9'000'000);
  tree.set("intel-rapl-mmio:0", 9'000'000);
  const Energy used = meter.now() - before;
  CHECK(used.package_joules == Approx(2.500001).epsilon(1e-12));
  REQUIRE(used.dram_joules);
  CHECK(*used.dram_joules == Approx(0.5).epsilon(1e-12));
  CHECK(used.joules() == Approx(3.000001).epsilon(1e-12));
  CHECK(used.seconds > 0);
}

TEST_CASE("a counter that starts again goes on from its range, as often as it does") {
  PowerTree tree;
  tree.add("intel-rapl:0", "package-0", range - 1'000'000);
  EnergyMeter meter(tree.root(), false);
  tree.set("intel-rapl:0", 2'000'000);
  CHECK(meter.now().package_joules == Approx(3.0).epsilon(1e-12));
  tree.set("intel-rapl:0", 2'000'000);  // nothing used since
  CHECK(meter.now().package_joules == Approx(3.0).epsilon(1e-12));
  tree.set("intel-rapl:0", 1'999'999);  // nearly all of its range
  CHECK(meter.now().package_joules == Approx(3.0 + 1e-6 * static_cast<double>(range - 1)).epsilon(1e-12));
}

TEST_CASE("without memory counters in each package, only the packages are known") {
  PowerTree tree;
  tree.add("intel-rapl:0", "package-0", 0);
  CHECK_FALSE(EnergyMeter(tree.root(), false).now().dram_joules);
  tree.add("intel-rapl:1", "package-1", 0);
  tree.add("intel-rapl:1:0", "dram", 0);
  EnergyMeter one(tree.root(), false);
  CHECK(one.available());
  CHECK_FALSE(one.now().dram_joules);
  tree.add("intel-rapl:0:0", "dram", 0);
  CHECK(EnergyMeter(tree.root(), false).now().dram_joules);
  tree.write("intel-rapl:0:0", "energy_uj", "much\n");
  CHECK(missing(tree).empty());
  CHECK_FALSE(EnergyMeter(tree.root(), false).now().dram_joules);
}

TEST_CASE("what cannot be read is not available, and the reason names the file") {
  PowerTree none;
  CHECK_THAT(missing(none), Catch::Contains("sys/class/powercap") && Catch::Contains("No such file"));
  CHECK_THAT(EnergyMeter(none.root(), true).missing(), Catch::Contains("virtual machine"));
  PowerTree other;
  other.add("dtpm", "dtpm", 0);
  other.add("intel-rapl:0", "psys", 0);
  CHECK_THAT(missing(other), Catch::Contains("no intel-rapl package"));

  for (const std::string file : {"energy_uj", "max_energy_range_uj"})
    for (const std::string garbage :
         {"", "\n", "many\n", "-1\n", "12 joules\n", "1e5\n", "99999999999999999999999\n", "\x1b[2J\n"}) {
      INFO(file << ": " << garbage);
      PowerTree tree;
      tree.add("intel-rapl:0", "package-0", 0);
      tree.write("intel-rapl:0", file, garbage);
      CHECK_THAT(missing(tree), Catch::Contains("intel-rapl:0/" + file));
      CHECK(missing(tree).find('\x1b') == std::string::npos);
    }
  PowerTree beyond;  // a counter above its range
  beyond.add("intel-rapl:0", "package-0", range + 1);
  CHECK_THAT(missing(beyond), Catch::Contains("energy_uj"));
  PowerTree rangeless;
  rangeless.add("intel-rapl:0", "package-0", 0);
  rangeless.write("intel-rapl:0", "max_energy_range_uj", "0\n");
  CHECK_THAT(missing(rangeless), Catch::Contains("max_energy_range_uj"));

  PowerTree folder;  // unreadable for root too
  folder.add("intel-rapl:0", "package-0", 0);
  fs::remove(folder.domain("intel-rapl:0") / "energy_uj");
  fs::create_directory(folder.domain("intel-rapl:0") / "energy_uj");
  CHECK_THAT(missing(folder), Catch::Contains("energy_uj") && Catch::Contains("directory"));
  if (geteuid() == 0) return;
  PowerTree locked;
  locked.add("intel-rapl:0", "package-0", 0);
  fs::permissions(locked.domain("intel-rapl:0") / "energy_uj", fs::perms::none);
  CHECK_THAT(missing(locked), Catch::Contains("Permission denied"));
}

TEST_CASE("a counter that fails while it is used makes the energy unknown") {
  PowerTree tree;
  tree.add("intel-rapl:0", "package-0", 0);
  EnergyMeter meter(tree.root(), false);
  REQUIRE(meter.available());
  tree.write("intel-rapl:0", "energy_uj", "gone\n");
  meter.now();
  CHECK_THAT(meter.missing(), Catch::Contains("energy_uj"));
}

TEST_CASE("energy in use adds up over several stretches, and nothing in between") {
  PowerTree tree;
  tree.add("intel-rapl:0", "package-0", 0);
  tree.add("intel-rapl:0:0", "dram", 0);
  EnergyMeter meter(tree.root(), false);
  Energy used;
  for (int stretch = 0; stretch < 3; ++stretch) {
    tree.set("intel-rapl:0", 1'000'000 * (10 * stretch + 5));
    const EnergyUse use(&meter, &used);
    tree.set("intel-rapl:0", 1'000'000 * (10 * stretch + 6));
    tree.set("intel-rapl:0:0", 1'000 * (stretch + 1));
  }
  CHECK(used.package_joules == Approx(3));
  REQUIRE(used.dram_joules);
  CHECK(*used.dram_joules == Approx(0.003));
  { const EnergyUse use(nullptr, &used); }
  { const EnergyUse use(&meter, nullptr); }
  CHECK(used.package_joules == Approx(3));
}

TEST_CASE("energy a token is that of its phase, whole and above what rest takes, and null where unknown") {
  SpeedReport report;
  report.options.sequences = 2;
  CHECK(energy_json(report).is_null());  // was not asked for
  report.energy_missing = "";
  for (const double scale : {1.0, 2.0, 3.0}) {
    SpeedRepeat& repeat = report.repeats.emplace_back();
    repeat.work = {.prompt_tokens = 10, .gen_tokens = 5};
    // Rest takes 20 W.
    repeat.energy = RepeatEnergy{{10, {}, 0.5}, {100 * scale, {}, 1}, {60 * scale, {}, 2}};
  }
  const nlohmann::json json = energy_json(report);
  CHECK(json["available"] == true);
  CHECK(json["reason"].is_null());
  CHECK(json["idle_watts"] == Approx(20));
  CHECK(json["prefill"]["joules_per_token"] == Approx(20));
  CHECK(json["prefill"]["above_idle_joules_per_token"] == Approx(18));
  CHECK(json["prefill"]["watts"] == Approx(200));
  CHECK(json["decode"]["joules_per_token"] == Approx(12));
  CHECK(json["decode"]["above_idle_joules_per_token"] == Approx(8));
  CHECK(json["decode"]["package_joules_per_token"] == Approx(12));
  CHECK(json["decode"]["dram_joules_per_token"].is_null());

  report.energy_missing = "no counters";
  report.repeats.back().energy.reset();
  const nlohmann::json unknown = energy_json(report);
  CHECK(unknown["available"] == false);
  CHECK(unknown["reason"] == "no counters");
  CHECK(unknown["idle_watts"].is_null());
  for (const char* phase : {"prefill", "decode"})
    for (const auto& [key, value] : unknown[phase].items()) CHECK(value.is_null());
}
