#pragma once
// All cells of `whittle bench`, a model at a setting each: one table for people, and one for programs.

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/summary.h"

namespace whittle {

// Array, model by model. Keys: see bench/reports/schemas/.
nlohmann::json cells_json(const BenchReport& report);
// The object under `goal`; null without one.
nlohmann::json goal_json(const BenchReport& report);

// A row a cell: the settings that differ between cells, and the figures that the goal is about; those that do
// not matter most are left out where the table would be too wide. What is alike stands below.
std::string cells_text(const BenchReport& report);
// The same with all figures, as GitHub and others show it.
std::string cells_markdown(const BenchReport& report);
// The same as comma-separated values (RFC 4180): all settings and figures by their keys in JSON, of which one
// within another is named by both, as in itl_ms_p95. Empty where JSON has null.
std::string cells_csv(const BenchReport& report);

}  // namespace whittle
