#include "bench/reports/cells.h"

#include <algorithm>

#include "engine/kv_cache.h"

namespace whittle {
namespace {

constexpr CellSetting settings[] = {
    {"threads", "thr", false, [](const SpeedReport& report) { return nlohmann::json(report.threads); }},
    {"kv_cache", "kv", false,
     [](const SpeedReport& report) { return nlohmann::json(name(report.options.kv_cache)); }},
    {"context", "ctx", false,
     [](const SpeedReport& report) { return nlohmann::json(report.options.context); }},
    {"sequences", "seq", false,
     [](const SpeedReport& report) { return nlohmann::json(report.options.sequences); }},
    {"prompt_tokens", "prompt", true,
     [](const SpeedReport& report) { return nlohmann::json(report.options.prompt_tokens); }},
    {"gen_tokens", "gen", true,
     [](const SpeedReport& report) { return nlohmann::json(report.options.gen_tokens); }},
};

}  // namespace

std::span<const CellSetting> cell_settings() { return settings; }

std::string setting_text(const CellSetting& setting, const SpeedReport& report) {
  const nlohmann::json value = setting.value(report);
  return value.is_string() ? value.get<std::string>() : value.dump();
}

bool differs(const CellSetting& setting, const std::vector<BenchCell>& cells) {
  return std::ranges::any_of(cells, [&](const BenchCell& cell) {
    return setting.value(*cell.speed) != setting.value(*cells.front().speed);
  });
}

std::string end_text(SearchEnd end) {
  constexpr const char* texts[] = {"more take too long", "that was the most to try",
                                   "caches of more do not fit"};
  return texts[static_cast<size_t>(end)];
}

std::vector<BenchCell> bench_cells(const BenchReport& report) {
  std::vector<BenchCell> cells;
  for (size_t m = 0; m < report.models.size(); ++m) {
    const ModelSummary& model = report.models[m];
    const size_t first = cells.size();
    const bool is_baseline = report.has_baseline && m == 0;
    for (size_t i = 0; i < model.cells.size(); ++i) {
      const bool compared = report.has_baseline && !is_baseline && report.goal != Goal::throughput;
      const SpeedReport* baseline = compared ? &report.models.front().cells[i] : nullptr;
      cells.push_back({&model, &model.cells[i], baseline, is_baseline, {}, false});
    }
    size_t at = first;
    for (const ThroughputSearch& search : model.searches)
      for (size_t i = 0; i < search.search.tried.size(); ++i, ++at) {
        cells[at].within_goal = search.search.tried[i].itl_p95_ms <= report.throughput.max_itl_ms;
        cells[at].best = search.search.best == i;
      }
  }
  return cells;
}

}  // namespace whittle
