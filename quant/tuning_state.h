#pragma once
// What a tuning run must remember to go on where it was: plain numbers.

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace whittle {

struct TuningState {
  struct Parameter {
    std::vector<float> value, mean, square;  // what it is, and Adam's running means of its derivative
    bool operator==(const Parameter&) const = default;
  };
  struct Matrix {
    std::vector<std::byte> codes;
    std::vector<float> scales;
    bool operator==(const Matrix&) const = default;
  };

  int64_t step = 0;
  std::map<std::string, Parameter> parameters;
  // The best so far on held-out text, as stored. Empty: what was given.
  int64_t best_step = 0;
  double kl_before = 0, kl_best = 0;
  std::map<std::string, Matrix> best_matrices;
  std::map<std::string, std::vector<float>> best_norms;

  bool operator==(const TuningState&) const = default;
  std::vector<std::byte> serialize() const;
  // Of what serialize gave on such a machine. Throws Error where it is not that.
  static TuningState deserialize(std::span<const std::byte> bytes);
};

}  // namespace whittle
