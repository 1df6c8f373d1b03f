#include "quant/pruning/sparsity.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <functional>

namespace whittle {
namespace {

void keep_of_group(const float* scores, int64_t count, int64_t keep, uint8_t* mask) {
  for (int64_t i = 0; i < count; ++i) {
    int64_t better = 0;
    for (int64_t j = 0; j < count; ++j) better += scores[j] > scores[i] || (scores[j] == scores[i] && j < i);
    mask[i] = better < keep;
  }
}

// `keep` of all.
void keep_of_all(std::span<const float> scores, int64_t keep, Mask& mask) {
  if (keep <= 0) return;
  std::vector<float> sorted(scores.begin(), scores.end());
  const auto last = sorted.begin() + (keep - 1);
  std::ranges::nth_element(sorted, last, std::greater<>());
  const float least = *last;
  int64_t equals = keep - std::ranges::count_if(scores, [&](float score) { return score > least; });
  for (size_t i = 0; i < scores.size(); ++i)
    mask[i] = scores[i] > least || (scores[i] == least && equals-- > 0);
}

}  // namespace

std::string Sparsity::text() const {
  return of ? fmt::format("{}:{}", keep, of) : fmt::format("{:g} %", 100 * zeros);
}

std::optional<Sparsity> pattern_named(std::string_view name) {
  Sparsity pattern;
  const char* const end = name.data() + name.size();
  const auto [colon, bad_keep] = std::from_chars(name.data(), end, pattern.keep);
  if (bad_keep != std::errc() || colon == end || *colon != ':') return std::nullopt;
  const auto [stop, bad_of] = std::from_chars(colon + 1, end, pattern.of);
  if (bad_of != std::errc() || stop != end) return std::nullopt;
  if (pattern.keep <= 0 || pattern.keep >= pattern.of || pattern.of > longest_pattern) return std::nullopt;
  return pattern;
}

Mask keep_highest(std::span<const float> scores, int64_t cols, const Sparsity& sparsity, const Team* team) {
  Mask mask(scores.size());
  if (!sparsity.of) {
    keep_of_all(scores, std::llround((1 - sparsity.zeros) * static_cast<double>(scores.size())), mask);
    return mask;
  }
  for_each(team, std::ssize(scores) / std::max<int64_t>(cols, 1), [&](int64_t row) {
    for (int64_t begin = 0; begin < cols; begin += sparsity.of)
      keep_of_group(scores.data() + row * cols + begin, std::min(sparsity.of, cols - begin), sparsity.keep,
                    mask.data() + row * cols + begin);
  });
  return mask;
}

double part_of_zeros(std::span<const float> weights) {
  if (weights.empty()) return 0;
  return static_cast<double>(std::ranges::count(weights, 0.0f)) / static_cast<double>(weights.size());
}

}  // namespace whittle
