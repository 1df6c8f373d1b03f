#include <fmt/format.h>

#include "bench/gate.h"
#include "bench/reports/figures.h"

namespace whittle {

nlohmann::json gates_json(std::span<const Gate> gates) {
  nlohmann::json json = nlohmann::json::array();
  for (const Gate& gate : gates)
    json.push_back({{"name", gate.name},
                    {"limit", gate.limit},
                    {"found", or_null(gate.found.mean)},
                    {"found_ci95", bounds_json(gate.found)},
                    {"verdict", name(gate.verdict())},
                    {"passes", gate.passes()}});
  return json;
}

std::string gate_text(const Gate& gate, int64_t count, const GateSample& sample) {
  const bool undecided = gate.verdict() == Verdict::undecided;
  std::string text =
      fmt::format("gate {}: {} is {} (95 % interval: {}), the limit is {:.6g}", name(gate.verdict()),
                  gate.figure, format_general(gate.found.mean), format_interval(gate.found, ""), gate.limit);
  if (undecided)
    text += fmt::format("; {} {}{} cannot decide it, so the mean does: {}; {}", count, sample.one,
                        count == 1 ? "" : "s", gate.passes() ? "kept" : "exceeded", sample.more);
  return text;
}

}  // namespace whittle
