#pragma once
// What the commands that write a model from a recipe share.

#include <CLI/CLI.hpp>
#include <optional>
#include <string>

#include "bench/fingerprint.h"
#include "quant/pipeline.h"
#include "tools/progress.h"

namespace whittle {

// The stages' own lines, one after the other.
class StageLines {
 public:
  void update(const std::string& stage, int64_t done, int64_t total, const std::string& what) {
    if (stage != stage_) {
      line_.emplace(stage);
      stage_ = stage;
    }
    line_->update(done, total, what);
  }
  void finish() { line_.reset(); }
  Progress progress() {
    return [this](const std::string& stage, int64_t done, int64_t total, const std::string& what) {
      update(stage, done, total, what);
    };
  }

 private:
  std::string stage_;
  std::optional<ProgressLine> line_;
};

struct OfflineRun {
  std::string source, out, json, recipe;  // recipe: "" where flags say what is done
  RunOptions run = of_this_program();

  static RunOptions of_this_program();
  int threads = 0;
};

// SRC, OUT, --threads, --json; --memory and --resume.
void add_offline_run(CLI::App& command, OfflineRun& options);
void add_memory(CLI::App& command, int64_t& memory);
// --exclude, with what it does; --calibration, --calibration-tokens, --held-out.
void add_exclude(CLI::App& command, std::vector<std::string>& exclude, const std::string& what);
void add_calibration(CLI::App& command, CalibrationChoice& choice);
// "fast", "good", "best": the method, and what is tuned.
void add_effort(CLI::App& command, std::string& effort);
void apply_effort(const std::string& effort, Recipe& recipe);

// Throws where reports or texts would get in each other's way.
void check_offline_run(const OfflineRun& options, const CalibrationChoice& calibration);
// Of the source, and of the files of text; of the output once it is there. Nothing without a report to write.
Fingerprint fingerprint_of(const OfflineRun& options, const CalibrationChoice& calibration, const Team& team);
// Does what the recipe says and shows what came of it.
void carry_out(const OfflineRun& options, const Recipe& recipe);

}  // namespace whittle
