#pragma once
// The tokens that a calibrated method looks at, and those that its result is judged on.

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "bench/windows.h"
#include "engine/weight_source.h"
#include "kernels/threads.h"
#include "quant/work_folder.h"

namespace whittle {

// Where they come from.
struct CalibrationChoice {
  // The model's own text; else a text file (-: standard input), or a .json file of windows of ids.
  std::string source = "self";
  int64_t tokens = 32768;  // that methods look at
  uint64_t seed = 0;       // of the model's own text
  std::string held_out;    // a file to judge the result by; empty: an eighth more of `source`

  bool operator==(const CalibrationChoice&) const = default;
};

struct CalibrationText {
  std::vector<std::vector<int32_t>> windows;  // each run by itself
  Windows held_out;                           // that no method sees; none where there is only one window
  std::string from;                           // the model itself, or a file
  std::string source() const;                 // for the provenance: where from, how many, a hash of the ids
  std::string fingerprint() const;            // a hash of all windows, those that are held out, too
  int64_t tokens() const;
  int64_t held_out_tokens() const;
};

// Tokens of a window; fewer where the model has fewer positions, or the whole text is shorter.
inline constexpr int64_t calibration_context = 512;

using CalibrationProgress = std::function<void(int64_t done, int64_t total)>;

// "self": windows drawn from the model at temperature 1, from BOS on (where it has none, from a random id),
// and on from there after an end-of-sequence token. No data is needed. Where the weights as they lie in the
// files take more than `memory` bytes less a gigabyte, or the model is large (large_model.h), it is rounded
// to int8 or int4 for that. A text file: its beginning, tokenized as one string. A .json file: an array of
// windows of ids. The last ninth of the windows is held out, 16 at most, unless text for that is named.
// Throws Error that names the file.
CalibrationText calibration_text(const CalibrationChoice& choice, const FolderWeights& source, int64_t memory,
                                 const Team& team, const CalibrationProgress& progress);

// The windows of choice.held_out, 16 at most, which is a file. Throws Error that names it.
Windows held_out_text(const CalibrationChoice& choice, const FolderWeights& source);
// Throws Error where that file has one of the windows that were looked at.
void require_unseen(const CalibrationChoice& choice, const CalibrationText& text,
                    const std::vector<std::vector<int32_t>>& seen);

// The text that an earlier run kept in `work`; else `read`, what of it came from files, and what `draw` finds
// where that is no text to look at: kept for a run that goes on from this one. work: nullptr keeps nothing.
CalibrationText kept_text(WorkFolder* work, CalibrationText read,
                          const std::function<CalibrationText()>& draw);

}  // namespace whittle
