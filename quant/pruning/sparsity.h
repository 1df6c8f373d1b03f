#pragma once
// How many weights of a matrix become zero, and where.

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/threads.h"

namespace whittle {

struct Sparsity {
  double zeros = 0;  // the part of the weights that becomes zero, wherever it lies; with a pattern: unused
  // Of every `of` inputs of a row that lie side by side, the first from input 0 on, at most `keep` stay. The
  // last ones of a row may be fewer. of = 0: no pattern.
  int64_t keep = 0, of = 0;

  explicit operator bool() const { return zeros > 0 || of > 0; }
  bool operator==(const Sparsity&) const = default;
  std::string text() const;  // "2:4", or "50 %"
};

inline constexpr int64_t longest_pattern = 16;
// "2:4": 2 of 4 stay; 0 < N < M ≤ longest_pattern.
std::optional<Sparsity> pattern_named(std::string_view name);

// Which weights of [rows, cols] stay: 1, else 0.
using Mask = std::vector<uint8_t>;
// Those that score highest: of every group of the pattern, or of all. Of equals the first stays. No score may
// be NaN.
Mask keep_highest(std::span<const float> scores, int64_t cols, const Sparsity& sparsity,
                  const Team* team = nullptr);
// The part that is zero.
double part_of_zeros(std::span<const float> weights);

}  // namespace whittle
