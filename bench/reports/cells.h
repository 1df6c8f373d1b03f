#pragma once
// The cells of a bench report in the order of its tables, and their settings.

#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "bench/summary.h"

namespace whittle {

struct BenchCell {
  const ModelSummary* model = nullptr;
  const SpeedReport* speed = nullptr;
  const SpeedReport* baseline = nullptr;  // at the same setting; nullptr for the baseline itself, or without
  bool is_baseline = false;
  std::optional<bool> within_goal;  // of throughput
  bool best = false;
};

// Model by model.
std::vector<BenchCell> bench_cells(const BenchReport& report);

struct CellSetting {
  const char* key;     // in JSON
  const char* header;  // of a column
  bool of_prompt;      // says nothing where prompts come from a file
  nlohmann::json (*value)(const SpeedReport& report);
};
std::span<const CellSetting> cell_settings();
std::string setting_text(const CellSetting& setting, const SpeedReport& report);
bool differs(const CellSetting& setting, const std::vector<BenchCell>& cells);

std::string end_text(SearchEnd end);

}  // namespace whittle
