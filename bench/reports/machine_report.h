#pragma once
// `whittle machine`: what the machine is and what it can do at most.

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "bench/machine.h"
#include "bench/probe.h"

namespace whittle {

struct MachineReport {
  Machine machine;
  Limits limits;
  std::string isa_chosen;  // the kernels' instruction set
};

// Reads the facts and takes about a second to measure the limits. threads = 0: one a physical core.
MachineReport report_machine(int threads, std::string_view isa_chosen);
// By a team that is there already.
MachineReport report_machine(const Team& team, std::string_view isa_chosen);

// The object that stands under the key `machine` in several reports. What is unknown or absent is null, never
// left out. Keys: see bench/reports/schemas/machine.json.
nlohmann::json machine_json(const MachineReport& report);

std::string machine_text(const MachineReport& report);

}  // namespace whittle
