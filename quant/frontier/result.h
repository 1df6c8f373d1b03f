#pragma once
// What one recipe made of a model.

#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>

#include "bench/statistics.h"
#include "quant/frontier/recipes.h"

namespace whittle {

inline constexpr double unknown_figure = std::numeric_limits<double>::quiet_NaN();

struct RecipeResult {
  enum class Status : uint8_t { measured, failed, skipped };

  std::string name, recipe;  // recipe: as text
  RecipeKind kind = RecipeKind::dense;
  Status status = Status::skipped;
  std::string reason;  // why it failed, or was skipped
  double make_seconds = 0, measure_seconds = 0;

  int64_t disk_bytes = 0;     // of the weight files
  int64_t weights = 0;        // that they stand for
  int64_t weights_bytes = 0;  // packed, in memory
  int64_t peak_rss_bytes = 0;
  double bits_per_weight = unknown_figure;           // of those that are still there
  double bits_per_original_weight = unknown_figure;  // the same bytes over the original's weights
  bool int8 = false;                                 // whether prefill is held against the int8 probe
  double prefill_tokens_per_s = unknown_figure, prefill_probe_fraction = unknown_figure;
  double decode_tokens_per_s = unknown_figure, decode_probe_fraction = unknown_figure;
  Interval prefill_speedup = no_interval(), decode_speedup = no_interval();  // over the original, of pairs
  double perplexity = unknown_figure;
  Interval perplexity_increase_percent = no_interval();
  Interval kl = no_interval();
  double same_top_percent = unknown_figure;

  bool measured() const { return status == Status::measured; }
  static Interval no_interval() { return {unknown_figure, unknown_figure, unknown_figure}; }
};
std::string_view name(RecipeResult::Status status);

nlohmann::ordered_json result_json(const RecipeResult& result);
// Of what result_json wrote. Throws Error that names `what` and the field.
RecipeResult read_result(const nlohmann::json& json, const std::string& what);

}  // namespace whittle
