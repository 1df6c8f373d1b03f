#include "bench/reports/energy_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <vector>

#include "bench/reports/figures.h"
#include "bench/reports/table.h"

namespace whittle {
namespace {

bool known(const SpeedReport& report) {
  return !report.repeats.empty() && std::ranges::all_of(report.repeats, [](const SpeedRepeat& repeat) {
    return repeat.energy.has_value();
  });
}

double median_of(const SpeedReport& report, const std::function<double(const SpeedRepeat&)>& value) {
  std::vector<double> values;
  for (const SpeedRepeat& repeat : report.repeats) values.push_back(value(repeat));
  return median(values);
}

nlohmann::json phase_json(const std::optional<TokenEnergy>& energy) {
  const TokenEnergy& all = energy.value_or(TokenEnergy());
  const auto figure = [&](double value) { return energy ? or_null(value) : nullptr; };
  return {{"joules_per_token", figure(all.joules)},
          {"above_idle_joules_per_token", figure(all.above_idle_joules)},
          {"package_joules_per_token", figure(all.package_joules)},
          {"dram_joules_per_token", or_null(all.dram_joules)},
          {"watts", figure(all.watts)}};
}

}  // namespace

std::optional<TokenEnergy> token_energy(const SpeedReport& report, Energy RepeatEnergy::*phase) {
  if (!known(report)) return std::nullopt;
  const bool prompt = phase == &RepeatEnergy::prefill;
  const auto a_token = [&](const std::function<double(const RepeatEnergy&)>& value) {
    return median_of(report, [&](const SpeedRepeat& repeat) {
      const int64_t tokens =
          prompt ? repeat.work.prompt_tokens : repeat.work.gen_tokens * report.options.sequences;
      return value(*repeat.energy) / static_cast<double>(tokens);
    });
  };
  TokenEnergy energy;
  energy.joules = a_token([&](const RepeatEnergy& repeat) { return (repeat.*phase).joules(); });
  energy.above_idle_joules =
      a_token([&](const RepeatEnergy& repeat) { return (repeat.*phase).joules_above(repeat.idle); });
  energy.package_joules = a_token([&](const RepeatEnergy& repeat) { return (repeat.*phase).package_joules; });
  const bool dram = std::ranges::all_of(report.repeats, [&](const SpeedRepeat& repeat) {
    return ((*repeat.energy).*phase).dram_joules.has_value();
  });
  if (dram)
    energy.dram_joules = a_token([&](const RepeatEnergy& repeat) { return *(repeat.*phase).dram_joules; });
  energy.watts =
      median_of(report, [&](const SpeedRepeat& repeat) { return ((*repeat.energy).*phase).watts(); });
  return energy;
}

nlohmann::json energy_json(const SpeedReport& report) {
  if (!report.energy_missing) return nullptr;
  const auto idle_watts = [](const SpeedRepeat& repeat) { return repeat.energy->idle.watts(); };
  const std::string& reason = *report.energy_missing;
  return {{"available", known(report)},
          {"reason", reason.empty() ? nlohmann::json(nullptr) : nlohmann::json(reason)},
          {"idle_watts", known(report) ? or_null(median_of(report, idle_watts)) : nullptr},
          {"prefill", phase_json(token_energy(report, &RepeatEnergy::prefill))},
          {"decode", phase_json(token_energy(report, &RepeatEnergy::decode))}};
}

std::string energy_text(const TokenEnergy& energy) {
  return fmt::format("{} J  {} J above idle", format_number(energy.joules),
                     format_number(energy.above_idle_joules));
}

}  // namespace whittle
