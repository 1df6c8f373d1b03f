#pragma once
// Energy a token, of the whole machine and above what it takes at rest.

#include <nlohmann/json.hpp>
#include <optional>
#include <string>

#include "bench/speed.h"

namespace whittle {

// Medians over the repeats. Tokens are those of the prompt, or of all sequences together.
struct TokenEnergy {
  double joules = 0, above_idle_joules = 0, package_joules = 0;
  std::optional<double> dram_joules;
  double watts = 0;
};
// Unset where it was not asked for or is not known.
std::optional<TokenEnergy> token_energy(const SpeedReport& report, Energy RepeatEnergy::*phase);

// null where it was not asked for. Keys: see bench/reports/schemas/.
nlohmann::json energy_json(const SpeedReport& report);
// "0.0123 J  0.0098 J above idle".
std::string energy_text(const TokenEnergy& energy);

}  // namespace whittle
