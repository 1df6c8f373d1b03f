#pragma once
// `whittle frontier`: many recipes made into models, one after the other, each measured beside the original.

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "bench/reports/machine_report.h"
#include "quant/frontier/measurement.h"
#include "quant/frontier/recipes.h"
#include "quant/pipeline.h"

namespace whittle {

struct FrontierOptions {
  std::string version, build;  // of this program
  int64_t memory = int64_t{4} << 30;
  std::filesystem::path work;       // a folder for what is made and found (work.h)
  bool resume = false;              // go on from what is there
  bool keep_models = false;         // leave them in the work folder
  bool keep_work = true;            // and the folder, even where nothing is left to be done
  std::optional<double> minutes;    // the whole run; recipes that take little time then go first
  std::optional<std::string> text;  // to judge by; unset: the model's own, which calibration has not seen
  std::string text_name;            // where that is from, for the report
  SpeedOptions speed;               // of which `repeat` pairs are measured
  std::function<std::vector<std::string>(const std::filesystem::path&)> memory_child;
};

struct FrontierReport {
  std::string model;  // the folder's own name
  std::string version;
  MachineReport machine;
  SpeedOptions speed;
  std::string calibration;                       // what recipes that name no text of their own have seen
  std::string text;                              // what all were judged by
  std::string protocol;                          // how that was cut
  int64_t context = 0, windows = 0, tokens = 0;  // tokens: of all windows
  double seconds = 0;                            // of this run
  std::vector<RecipeResult> results;             // the original, then the recipes in the order given

  bool any(RecipeResult::Status status) const;
};

// A recipe that fails is named in its result, and the others go on. Recipes that name no text share one that
// is drawn once. Throws Error where the original, the text or the work folder is at fault, and when
// interrupted.
FrontierReport measure_frontier(const std::filesystem::path& source,
                                const std::vector<FrontierRecipe>& recipes, const Team& team,
                                const FrontierOptions& options, const Progress& progress);

}  // namespace whittle
