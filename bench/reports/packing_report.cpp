#include "bench/reports/packing_report.h"

#include <fmt/format.h>

#include "kernels/sparse_weight.h"

namespace whittle {

using Reason = PackingChoice::Reason;

std::string packing_text(const PackingCount& count) {
  const auto& [choice, linears, least, most] = count;
  const bool sparse = choice.taken != Packing::dense;
  std::string why;
  switch (choice.reason) {
    case Reason::asked: why = "as asked"; break;
    case Reason::no_instruction: why = "this CPU has no instruction for it"; break;
    case Reason::probed:
      why = fmt::format("a probe found sparse {:.2f}{} times as fast as dense", least,
                        most - least < 0.005 ? "" : fmt::format(" to {:.2f}", most));
  }
  return fmt::format("{} {}: {} linear{} {} ({})", info(choice.format).name, name(choice.fits), linears,
                     linears == 1 ? "" : "s", sparse ? "packed sparse" : "packed dense", why);
}

nlohmann::json packings_json(const std::vector<PackingCount>& counts) {
  constexpr const char* reasons[] = {"probed", "asked", "no_instruction"};
  nlohmann::json json = nlohmann::json::array();
  for (const auto& [choice, linears, least, most] : counts) {
    const bool probed = choice.reason == Reason::probed;
    json.push_back({{"format", info(choice.format).name},
                    {"fits", name(choice.fits)},
                    {"taken", name(choice.taken)},
                    {"reason", reasons[static_cast<size_t>(choice.reason)]},
                    {"linears", linears},
                    {"least_speedup", probed ? nlohmann::json(least) : nlohmann::json(nullptr)},
                    {"most_speedup", probed ? nlohmann::json(most) : nlohmann::json(nullptr)}});
  }
  return json;
}

}  // namespace whittle
