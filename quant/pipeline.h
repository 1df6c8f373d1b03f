#pragma once
// The offline run: a Hugging Face folder in, a quantized one out, tensor by tensor.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "bench/drift/drift.h"
#include "kernels/threads.h"
#include "quant/budget.h"
#include "quant/quantized_writer.h"
#include "quant/recipe.h"

namespace whittle {

struct RunOptions {
  std::string version;  // of this program, for the provenance
  std::string build;    // what tells it from others of its version: none goes on from another's work
  // What calibration may take, in bytes: text is drawn from a rounded model, and tokens between two layers
  // lie in a file, where that would pass it; where 12 bytes a weight would, nothing is tuned end to end. A
  // layer and what one linear needs are taken whatever it says.
  int64_t memory = int64_t{4} << 30;
  // Go on from what an earlier run to the same place left, and leave it when this one does not end well.
  bool resume = false;
  // Instead of one format for all: the recipe's own format of the linears then counts for nothing.
  Budget budget;
};

struct QuantizationReport {
  Recipe recipe;                                // as it was carried out
  int64_t source_bytes = 0, written_bytes = 0;  // of the weight files
  QuantizedWeights weights;
  std::optional<DriftReport> held_out;  // against the original, on text that no method saw
  std::optional<double> predicted_kl;   // of what a budget came to
  // Where time was its price: of a token's products with what was chosen for, each measured by itself.
  std::optional<double> predicted_ms;
  struct Stage {
    std::string name;
    double seconds = 0;
  };
  std::vector<Stage> stages;
  // What other readers of the format will not take, and what lies beside the output; a sentence each.
  std::vector<std::string> notes;
};

// Called from one thread: the stage, how far it is in steps of its own, and what is being worked on.
using Progress =
    std::function<void(const std::string& stage, int64_t done, int64_t total, const std::string& what)>;

// Peak memory of rounding to nearest is one tensor and its codes whatever the model's size. A method that
// looks at inputs has a layer, its codes, and H of what its linears read, too; one that tunes layers some 20
// bytes more for each weight of one. Beside its weights, `out` holds the recipe. Throws Error for anything
// wrong with the source, the calibration text or the disk; then `out` does not exist.
QuantizationReport quantize(const std::filesystem::path& source, const std::filesystem::path& out,
                            const Recipe& recipe, const Team& team, const RunOptions& options,
                            const Progress& progress);

// What `quantize` would do for each of these budgets of bits, measured once for all: `out` becomes a folder
// of recipes, "4.25.json" for 4.25 bits. Each is carried out as far as its figures, and not tuned: where the
// recipe asks for that, those that are written do.
struct FrontierPoint {
  double target_bits = 0, bits = 0, predicted_kl = 0;
  std::optional<DriftReport> held_out;
  int64_t tuning_tokens = 0;  // of the recipe; what the figures do not know of
};
std::vector<FrontierPoint> write_frontier(const std::filesystem::path& source,
                                          const std::filesystem::path& out, const Recipe& recipe,
                                          std::vector<double> target_bits, const Team& team,
                                          const RunOptions& options, const Progress& progress);

// The recipes alone, for another to carry out, by their budget of bits: none where the smallest formats take
// more. out: beside it lies what the run needs while it lasts.
std::map<double, Recipe> mixed_recipes(const std::filesystem::path& source, const std::filesystem::path& out,
                                       const Recipe& recipe, const std::vector<double>& target_bits,
                                       const Team& team, const RunOptions& options, const Progress& progress);

}  // namespace whittle
