#pragma once
// The tokens that a calibrated method looks at.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "bench/windows.h"
#include "kernels/threads.h"

namespace whittle {

struct CalibrationText {
  std::vector<std::vector<int32_t>> windows;  // each run by itself
  std::string source;                         // for the provenance: where from, how many, a hash of the ids
  int64_t tokens() const;
  int64_t longest() const;
};

using CalibrationProgress = std::function<void(int64_t done, int64_t total)>;

// Windows of `context` ids drawn from the model itself at temperature 1, from BOS on (where it has none, from
// a random id), and on from there after an end-of-sequence token: no data is needed. The same for the same
// seed.
CalibrationText self_calibration(const std::filesystem::path& folder, const Team& team, int64_t tokens,
                                 int64_t context, uint64_t seed, const CalibrationProgress& progress);

// The first of these windows, until they have so many tokens, each cut to `context`. Throws Error where an id
// is not below vocab_size.
CalibrationText first_windows(Windows windows, const std::string& source, int64_t vocab_size, int64_t tokens,
                              int64_t context);

}  // namespace whittle
