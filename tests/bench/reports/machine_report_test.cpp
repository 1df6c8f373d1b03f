#include "bench/reports/machine_report.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <set>

using namespace whittle;

TEST_CASE("the JSON of a machine has every documented key, and null for what is not there") {
  MachineReport report;
  report.machine.cpu = "A CPU";
  report.machine.caches = {{"l1d", 32768, 2}, {"l3", 1 << 25, 0}};
  report.limits.threads = 2;
  report.limits.read_gb_per_s = {30, 35};
  report.limits.int8_gops = {900, 935};
  report.isa_chosen = "avx2";
  const nlohmann::json json = machine_json(report);
  const std::set<std::string> documented = {"cpu",
                                            "vendor",
                                            "isa_found",
                                            "isa_chosen",
                                            "cpus_logical",
                                            "cores_physical",
                                            "cpu_quota",
                                            "caches",
                                            "memory_bytes",
                                            "memory_available_bytes",
                                            "kernel",
                                            "hypervisor",
                                            "huge_pages",
                                            "threads",
                                            "read_gb_per_s",
                                            "read_gb_per_s_best",
                                            "int8_gops",
                                            "int8_gops_best",
                                            "int8_instruction",
                                            "fp32_gflops",
                                            "fp32_gflops_best",
                                            "fp32_instruction",
                                            "bf16_gflops",
                                            "bf16_gflops_best"};
  std::set<std::string> keys;
  for (const auto& [key, value] : json.items()) keys.insert(key);
  CHECK(keys == documented);
  CHECK(json["cpu"] == "A CPU");
  CHECK(json["isa_chosen"] == "avx2");
  CHECK(json["isa_found"].is_array());
  CHECK(json["cpu_quota"].is_null());
  CHECK(json["bf16_gflops"].is_null());
  CHECK(json["read_gb_per_s"] == 30);
  CHECK(json["read_gb_per_s_best"] == 35);
  CHECK(json["caches"]["l1d"]["bytes"] == 32768);
  CHECK(json["caches"]["l1d"]["instances"] == 2);
  CHECK(json["caches"]["l3"]["instances"].is_null());

  report.limits.bf16_gflops = Rate{400, 467};
  report.machine.cpu_quota = 1.5;
  CHECK(machine_json(report)["bf16_gflops"] == 400);
  CHECK(machine_json(report)["cpu_quota"] == 1.5);
}

TEST_CASE("the text of a machine leaves out what is unknown") {
  MachineReport report;
  report.machine.cpu = "A CPU";
  const std::string text = machine_text(report);
  CHECK(text.find("A CPU") != text.npos);
  CHECK(text.find("kernel") == text.npos);
  CHECK(text.find("cache") == text.npos);
  CHECK(text.find("no instruction for it") != text.npos);
}

TEST_CASE("this machine can be reported") {
  const MachineReport report = report_machine(1, "any");
  const nlohmann::json json = machine_json(report);
  CHECK(json["threads"] == 1);
  for (const char* key : {"read_gb_per_s", "int8_gops", "fp32_gflops"}) {
    INFO(key);
    CHECK(json[key].get<double>() > 0);
    CHECK(std::isfinite(json[key].get<double>()));
    CHECK(json[std::string(key) + "_best"] >= json[key]);
  }
  const std::string instruction = json["int8_instruction"];
  CHECK((instruction.find("pmadd") != instruction.npos || instruction.find("vpdpbusd") != instruction.npos));
  const std::string text = machine_text(report);
  CHECK(text.find("GB/s") != text.npos);
  CHECK(text.find("any") != text.npos);
}
