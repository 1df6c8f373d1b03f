#include "quant/frontier/report.h"

#include <fmt/format.h>

#include <cmath>

#include "bench/reports/figures.h"
#include "bench/reports/json_report.h"
#include "bench/reports/speed_report.h"
#include "bench/reports/table.h"
#include "engine/files/json_file.h"
#include "quant/frontier/standings.h"

namespace whittle {
namespace {

std::string speedup_text(const Interval& speedup) {
  return std::isfinite(speedup.mean) ? format_fixed(speedup.mean, 2) + "×" : "–";
}

}  // namespace

std::vector<std::string> comparison_notes(const FrontierReport& report) {
  const Machine& machine = report.machine.machine;
  const Limits& limits = report.machine.limits;
  std::vector<std::string> notes = {
      fmt::format("{}, {} threads, {}: reads {}, int8 {}, fp32 {}", machine.cpu, limits.threads,
                  report.machine.isa_chosen, format_rate(limits.read_gb_per_s.median, "GB/s"),
                  format_rate(limits.int8_gops.median, "GOPS"),
                  format_rate(limits.fp32_gflops.median, "GFLOPS")),
      fmt::format(
          "{}; medians of {} repeats. Speed-ups are medians of the ratios of pairs, recipe and "
          "original in turns, with intervals of at least 95 %, and without one where too little memory "
          "was left to take turns; the original beside itself shows what chance does",
          workload_text(report.speed), report.speed.repeat),
      fmt::format("Drift against the original with float32 activations and KV cache, on {} windows of {} "
                  "tokens ({}): {}; KL in nats a token",
                  report.windows, report.context, report.protocol, report.text),
      "A recipe is dominated where another has no more KL and is no larger (or no slower), and is better in "
      "one of both; of several that dominate it the one of least KL is named. Medians and means decide: "
      "where intervals overlap, so may chance",
  };
  if (!report.calibration.empty())
    notes.push_back(fmt::format("Calibration, unless a recipe names its own: {}", report.calibration));
  return notes;
}

nlohmann::json comparison_json(const FrontierReport& report, const Fingerprint& fingerprint) {
  const auto all = standings(report.results);
  nlohmann::json recipes = nlohmann::json::array();
  for (size_t i = 0; i < report.results.size(); ++i) {
    nlohmann::json& json = recipes.emplace_back(result_json(report.results[i]));
    json["is_original"] = i == 0;
    for (size_t a = 0; a < axes().size(); ++a) {
      const Standing& standing = all[a][i];
      const std::string axis(axes()[a].key);
      json["on_frontier_" + axis] =
          standing.compared ? nlohmann::json(standing.on_frontier()) : nlohmann::json();
      json["dominated_by_" + axis] =
          standing.dominator ? nlohmann::json(report.results[*standing.dominator].name) : nlohmann::json();
    }
  }
  nlohmann::json json = report_header("frontier", fingerprint);
  json.update({{"model", report.model},
               {"machine", machine_json(report.machine)},
               {"protocol",
                {{"threads", report.machine.limits.threads},
                 {"isa", report.machine.isa_chosen},
                 {"prompt_tokens", report.speed.prompt_tokens},
                 {"gen_tokens", report.speed.gen_tokens},
                 {"repeat", report.speed.repeat},
                 {"kv_cache", name(report.speed.kv_cache)},
                 {"calibration", report.calibration},
                 {"text", report.text},
                 {"windows_protocol", report.protocol},
                 {"context", report.context},
                 {"windows", report.windows},
                 {"tokens", report.tokens}}},
               {"seconds", report.seconds},
               {"recipes", recipes}});
  return json;
}

std::string comparison_text(const FrontierReport& report) {
  const auto all = standings(report.results);
  Table table({{"#"},
               {"recipe", Align::left},
               {"disk"},
               {"bits"},
               {"decode"},
               {"prefill"},
               {"KL"},
               {"top %"},
               {"size"},
               {"speed"}});
  for (size_t i = 0; i < report.results.size(); ++i) {
    const RecipeResult& result = report.results[i];
    if (!result.measured()) {
      table.add_row({fmt::format("{}", i), result.name, "–", "–", "–", "–", "–", "–", "–", "–"});
      continue;
    }
    const auto beaten = [&](size_t axis) {
      const Standing& standing = all[axis][i];
      if (!standing.compared) return std::string("–");
      return standing.dominator ? fmt::format("{}", *standing.dominator) : "best";
    };
    table.add_row({fmt::format("{}", i), result.name, format_bytes(static_cast<double>(result.disk_bytes)),
                   format_fixed(result.bits_per_weight, 2), speedup_text(result.decode_speedup),
                   speedup_text(result.prefill_speedup), format_fixed(result.kl.mean, 4),
                   format_fixed(result.same_top_percent, 1), beaten(0), beaten(1)});
  }
  for (size_t i = 0; i < report.results.size(); ++i)
    if (const RecipeResult& result = report.results[i]; !result.measured())
      table.add_note(fmt::format("{} {}: {}", i, name(result.status), printable(result.reason)));
  table.add_note("size, speed: best where nothing dominates it in that and KL, else the number of what does");
  for (const std::string& note : comparison_notes(report)) table.add_note(printable(note));
  return table.text();
}

}  // namespace whittle
