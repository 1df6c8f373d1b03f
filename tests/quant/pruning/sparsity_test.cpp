#include "quant/pruning/sparsity.h"

#include <algorithm>
#include <catch2/catch.hpp>

#include "tests/support/quantized_matrices.h"

using namespace whittle;
using namespace whittle::test;

TEST_CASE("Every pattern keeps exactly N of every M inputs of a row, the highest") {
  SplitMix64 random(1);
  const Team team(2);
  for (int64_t of = 2; of <= longest_pattern; ++of)
    for (int64_t keep = 1; keep < of; ++keep)
      for (const int64_t cols : {1, 3, 31, 33, 64}) {
        CAPTURE(keep, of, cols);
        const int64_t rows = 3;
        const std::vector<float> scores = random_floats(random, rows * cols);
        const Mask mask = keep_highest(scores, cols, {.keep = keep, .of = of}, &team);
        for (int64_t row = 0; row < rows; ++row)
          for (int64_t begin = row * cols; begin < (row + 1) * cols; begin += of) {
            const int64_t end = std::min(begin + of, (row + 1) * cols);
            const auto kept = std::count(mask.begin() + begin, mask.begin() + end, 1);
            REQUIRE(kept == std::min(keep, end - begin));
            float least = 2, most = -2;
            for (int64_t i = begin; i < end; ++i) {
              const float score = scores[static_cast<size_t>(i)];
              if (mask[static_cast<size_t>(i)])
                least = std::min(least, score);
              else
                most = std::max(most, score);
            }
            REQUIRE(least >= most);
          }
        CHECK(mask == keep_highest(scores, cols, {.keep = keep, .of = of}));
      }
}

TEST_CASE("Without a pattern the part that is asked for goes, the lowest of all") {
  SplitMix64 random(2);
  for (const int64_t size : {1, 3, 172, 1000})
    for (const double zeros : {0.0, 0.1, 0.5, 0.9, 1.0}) {
      CAPTURE(size, zeros);
      const std::vector<float> scores = random_floats(random, size);
      const Mask mask = keep_highest(scores, size, {.zeros = zeros});
      CHECK(std::ranges::count(mask, 1) == std::llround((1 - zeros) * static_cast<double>(size)));
      float least = 2, most = -2;
      for (size_t i = 0; i < mask.size(); ++i)
        if (mask[i])
          least = std::min(least, scores[i]);
        else
          most = std::max(most, scores[i]);
      CHECK(least >= most);
    }
}

TEST_CASE("Of equal scores the first stay") {
  const std::vector<float> scores = {1, 1, 1, 1, 1, 2};
  CHECK(keep_highest(scores, 6, {.zeros = 0.5}) == Mask{1, 1, 0, 0, 0, 1});
  CHECK(keep_highest(scores, 6, {.keep = 1, .of = 3}) == Mask{1, 0, 0, 0, 0, 1});
}

TEST_CASE("A pattern is N:M with 0 < N < M ≤ 16, and nothing else") {
  CHECK(pattern_named("2:4") == Sparsity{.keep = 2, .of = 4});
  CHECK(pattern_named("15:16")->text() == "15:16");
  for (const char* wrong : {"", ":", "2", "2:", ":4", "4:4", "0:4", "-1:4", "2:4 ", " 2:4", "5:4", "2:17",
                            "2:4:8", "a:b", "99999999999999999999:4", "2:99999999999999999999"})
    CHECK_FALSE(pattern_named(wrong));
}
