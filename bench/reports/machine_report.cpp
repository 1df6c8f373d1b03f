#include "bench/reports/machine_report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "bench/reports/figures.h"
#include "bench/reports/table.h"

namespace whittle {

namespace {

nlohmann::json known(int64_t value) { return value ? nlohmann::json(value) : nlohmann::json(nullptr); }

nlohmann::json known(const std::string& value) {
  return value.empty() ? nlohmann::json(nullptr) : nlohmann::json(value);
}

std::string rate_text(const Rate& rate, std::string_view unit) {
  return fmt::format("{} (best slice {})", format_rate(rate.median, unit), format_number(rate.best));
}

std::string cpus_text(const Machine& machine) {
  std::string text =
      fmt::format("{} CPUs on {} physical cores", machine.cpus_logical, machine.cores_physical);
  if (machine.cpu_quota)
    text += fmt::format(", limited to {} CPUs by a control group", format_number(*machine.cpu_quota));
  return text;
}

std::string cache_text(const Cache& cache) {
  std::string size = cache.bytes % (1 << 20) == 0 ? fmt::format("{} MiB", cache.bytes >> 20)
                                                  : fmt::format("{} KiB", cache.bytes >> 10);
  return cache.instances > 1 ? fmt::format("{} × {}", cache.instances, size) : size;
}

}  // namespace

MachineReport report_machine(int threads, std::string_view isa_chosen) {
  return report_machine(Team(threads), isa_chosen);
}

MachineReport report_machine(const Team& team, std::string_view isa_chosen) {
  return {read_machine(), probe_limits(team), std::string(isa_chosen)};
}

nlohmann::json machine_json(const MachineReport& report) {
  const Machine& machine = report.machine;
  const Limits& limits = report.limits;
  nlohmann::json caches = nlohmann::json::object();
  for (const Cache& cache : machine.caches)
    caches[cache.name] = {{"bytes", cache.bytes}, {"instances", known(int64_t{cache.instances})}};
  const std::optional<Rate>& bf16 = limits.bf16_gflops;
  return {
      {"cpu", known(machine.cpu)},
      {"vendor", known(machine.vendor)},
      {"isa_found", machine.isa_found},
      {"isa_chosen", known(report.isa_chosen)},
      {"cpus_logical", machine.cpus_logical},
      {"cores_physical", machine.cores_physical},
      {"cpu_quota", or_null(machine.cpu_quota)},
      {"caches", caches},
      {"memory_bytes", known(machine.memory_bytes)},
      {"memory_available_bytes", known(machine.memory_available_bytes)},
      {"kernel", known(machine.kernel)},
      {"hypervisor", machine.hypervisor},
      {"huge_pages", known(machine.huge_pages)},
      {"threads", limits.threads},
      {"read_gb_per_s", limits.read_gb_per_s.median},
      {"read_gb_per_s_best", limits.read_gb_per_s.best},
      {"int8_gops", limits.int8_gops.median},
      {"int8_gops_best", limits.int8_gops.best},
      {"int8_instruction", limits.int8_instruction},
      {"fp32_gflops", limits.fp32_gflops.median},
      {"fp32_gflops_best", limits.fp32_gflops.best},
      {"fp32_instruction", limits.fp32_instruction},
      {"bf16_gflops", bf16 ? or_null(bf16->median) : nullptr},
      {"bf16_gflops_best", bf16 ? or_null(bf16->best) : nullptr},
  };
}

std::string machine_text(const MachineReport& report) {
  const Machine& machine = report.machine;
  const Limits& limits = report.limits;
  Table table({{"", Align::left}, {"", Align::left}});
  const auto add = [&](std::string name, std::string value) {
    if (!value.empty()) table.add_row({std::move(name), std::move(value)});
  };
  add("CPU", machine.cpu + (machine.hypervisor ? " (virtual machine)" : ""));
  add("vendor", machine.vendor);
  add("usable", cpus_text(machine));
  add("instruction sets", fmt::format("{}", fmt::join(machine.isa_found, " ")));
  add("chosen", report.isa_chosen);
  for (const Cache& cache : machine.caches) add(fmt::format("cache {}", cache.name), cache_text(cache));
  if (machine.memory_bytes)
    add("memory", fmt::format("{}, {} available", format_bytes(static_cast<double>(machine.memory_bytes)),
                              format_bytes(static_cast<double>(machine.memory_available_bytes))));
  add("huge pages", machine.huge_pages);
  add("kernel", machine.kernel);
  add("threads measured", std::to_string(limits.threads));
  add("memory read", rate_text(limits.read_gb_per_s, "GB/s"));
  add("int8", fmt::format("{}, {}", rate_text(limits.int8_gops, "GOPS"), limits.int8_instruction));
  add("bf16", limits.bf16_gflops ? rate_text(*limits.bf16_gflops, "GFLOPS") : "no instruction for it");
  add("fp32", fmt::format("{}, {}", rate_text(limits.fp32_gflops, "GFLOPS"), limits.fp32_instruction));
  return table.text();
}

}  // namespace whittle
