// Everything that is not a matrix product, against double arithmetic with derived tolerances.

#include "tests/support/reference_kernels.h"

using namespace whittle;
using namespace whittle::test;

namespace {

constexpr int64_t widths[] = {1, 2, 3, 15, 16, 17, 31, 64, 65, 576, 1000};

// Floats with room up to a whole float_block, as the kernels' buffers have.
std::vector<float> padded_floats(Random& random, int64_t n, float low, float high) {
  return random.floats(round_up(n, float_block), low, high);
}

}  // namespace

TEST_CASE("rms_norm") {
  Random random(20);
  for_each_isa([&](const KernelTable& table) {
    for (int64_t n : widths) {
      const std::vector<float> x = random.floats(n, -3, 3), weight = random.floats(n);
      std::vector<float> y(static_cast<size_t>(n));
      table.rms_norm(x.data(), weight.data(), n, 1e-5f, y.data());
      double squares = 0;
      for (double value : x) squares += value * value;
      const double factor = 1 / std::sqrt(squares / static_cast<double>(n) + 1e-5f);
      // Positive terms: the sum's relative error is at most n · eps, halved by the root; five more roundings
      // follow.
      const double tolerance = (static_cast<double>(n) / 2 + 6) * float_epsilon;
      for (size_t i = 0; i < x.size(); ++i) {
        const double expected = x[i] * factor * weight[i];
        if (!(std::abs(y[i] - expected) <= tolerance * std::abs(expected)))
          FAIL("n " << n << ", element " << i << ": " << y[i] << ", not " << expected);
      }
    }
    std::vector<float> zeros(16), ones(16, 1.0f), y(16, 5.0f);
    table.rms_norm(zeros.data(), ones.data(), 16, 1e-5f, y.data());
    CHECK(y == zeros);
  });
}

TEST_CASE("layer_norm") {
  Random random(24);
  for_each_isa([&](const KernelTable& table) {
    for (int64_t n : widths)
      for (float shift : {0.0f, 100.0f}) {
        std::vector<float> x = random.floats(n, -3, 3);
        for (float& value : x) value += shift;
        const std::vector<float> weight = random.floats(n), bias = random.floats(n);
        std::vector<float> y(static_cast<size_t>(n));
        table.layer_norm(x.data(), weight.data(), bias.data(), n, 1e-5f, y.data());
        double mean = 0, variance = 0, size = 0;
        for (double value : x) mean += value / static_cast<double>(n), size = std::max(size, std::abs(value));
        for (double value : x) variance += (value - mean) * (value - mean) / static_cast<double>(n);
        const double factor = 1 / std::sqrt(variance + 1e-5f);
        // The mean is off by n eps of the largest value, and a difference by that and one rounding: both
        // grow by the factor, which itself is off by the differences' part of the variance.
        const double off = (static_cast<double>(n) + 2) * float_epsilon * size * factor;
        for (size_t i = 0; i < x.size(); ++i) {
          const double normal = (x[i] - mean) * factor, expected = normal * weight[i] + bias[i];
          const double relative = (static_cast<double>(n) + 8) * float_epsilon + off;
          const double tolerance = (off + relative * std::abs(normal)) * std::abs(weight[i]) +
                                   2 * float_epsilon * (std::abs(expected) + std::abs(bias[i]));
          if (!(std::abs(y[i] - expected) <= tolerance))
            FAIL("n " << n << ", element " << i << ": " << y[i] << ", not " << expected << " ± "
                      << tolerance);
        }
      }
    // One value, or equal ones, have no variance: what is left is the bias.
    const std::vector<float> equal(33, 7.0f), weight(33, 2.0f), bias(33, 0.25f);
    std::vector<float> y(33);
    table.layer_norm(equal.data(), weight.data(), bias.data(), 33, 1e-5f, y.data());
    CHECK(y == bias);
  });
}

TEST_CASE("quantize_row: codes within ±127, nearest to the value, with their sums and zero padding") {
  Random random(21);
  for_each_isa([&](const KernelTable& table) {
    for (int64_t cols : widths)
      for (int64_t group : {0, 8, 24, 32, 128})
        for (float size : {1.0f, 1e-20f, 1e30f}) {
          const int64_t padded = round_up(cols, cols_block);
          OwnedRows x(3, padded, group ? group : padded);
          std::fill(x.codes.begin(), x.codes.end(), int8_t{99});
          const std::vector<float> values = random.floats(cols, -size, size);
          table.quantize_row(values.data(), cols, x.view, 1);
          INFO("cols " << cols << " group " << group << " size " << size);
          int outside = 0, far = 0, wrong_sums = 0, nonzero = 0;
          for (int64_t g = 0; g < x.view.groups(); ++g) {
            const float scale = x.view.scales[x.view.groups() + g];
            int32_t sum = 0;
            float top = 0;
            for (int64_t k = g * x.view.group_size; k < std::min((g + 1) * x.view.group_size, padded); ++k) {
              const int code = x.view.codes[padded + k];
              sum += code;
              outside += std::abs(code) > 127;
              if (k >= cols) {
                nonzero += code != 0;
                continue;
              }
              const double value = values[static_cast<size_t>(k)];
              top = std::max(top, std::abs(values[static_cast<size_t>(k)]));
              // Half a step, and the roundings of 127/top, x · that, and top/127.
              far += !(std::abs(value - code * static_cast<double>(scale)) <=
                       scale * 0.5 + 4 * float_epsilon * std::abs(value));
            }
            CHECK(scale == top / 127.0f);
            wrong_sums += sum != x.view.sums[x.view.groups() + g];
          }
          CHECK(outside + far + wrong_sums + nonzero == 0);
          CHECK(
              std::all_of(x.codes.begin(), x.codes.begin() + padded, [](int8_t code) { return code == 99; }));
          CHECK(std::all_of(x.codes.begin() + 2 * padded, x.codes.end(),
                            [](int8_t code) { return code == 99; }));
        }
  });
}

TEST_CASE("quantize_row gives the same codes on every instruction set") {
  Random random(22);
  const std::vector<float> values = random.floats(300, -4, 4);
  const auto quantize = [&](const KernelTable& table) {
    OwnedRows x(1, 320, 32);
    table.quantize_row(values.data(), 300, x.view, 0);
    return x;
  };
  const OwnedRows expected = quantize(*instruction_sets().back().table);
  for_each_isa([&](const KernelTable& table) {
    const OwnedRows found = quantize(table);
    CHECK(found.codes == expected.codes);
    CHECK(found.scales == expected.scales);
    CHECK(found.sums == expected.sums);
  });
}

TEST_CASE("quantize_row takes a row of zeros, and of numbers too small to scale, as zeros") {
  for_each_isa([&](const KernelTable& table) {
    for (float value : {0.0f, -0.0f, 1e-45f, 1e-38f}) {
      OwnedRows x(1, 64, 64);
      std::fill(x.codes.begin(), x.codes.end(), int8_t{99});
      const std::vector<float> values(64, value);
      table.quantize_row(values.data(), 64, x.view, 0);
      CHECK(x.codes == std::vector<int8_t>(64));
      CHECK(x.sums[0] == 0);
      CHECK(x.scales[0] >= 0);
      CHECK(x.scales[0] < 1e-30f);
    }
  });
}

TEST_CASE("silu_mul") {
  Random random(23);
  for_each_isa([&](const KernelTable& table) {
    for (int64_t n : widths) {
      std::vector<float> gate = padded_floats(random, n, -30, 30);
      const std::vector<float> before = gate, up = padded_floats(random, n, -2, 2);
      table.silu_mul(gate.data(), up.data(), n);
      for (size_t i = 0; i < static_cast<size_t>(n); ++i) {
        const double v = before[i], expected = v / (1 + std::exp(-v)) * up[i];
        // exp within 4 eps (ours: 3 ulp), then a sum, a quotient and a product.
        if (!(std::abs(gate[i] - expected) <= 8 * float_epsilon * std::abs(expected)))
          FAIL("n " << n << ", silu(" << v << ") · " << up[i] << ": " << gate[i] << ", not " << expected);
      }
    }
    // All powers of two that exp may have, on both sides.
    std::vector<float> sweep, ones(480, 1.0f);
    for (size_t i = 0; i < ones.size(); ++i) sweep.push_back(-87.0f + 174.0f * static_cast<float>(i) / 479);
    const std::vector<float> before = sweep;
    table.silu_mul(sweep.data(), ones.data(), 480);
    for (size_t i = 0; i < sweep.size(); ++i) {
      const double v = before[i], expected = v / (1 + std::exp(-v));
      if (!(std::abs(sweep[i] - expected) <= 8 * float_epsilon * std::abs(expected)))
        FAIL("silu(" << v << "): " << sweep[i] << ", not " << expected);
    }
    std::vector<float> ends = {-1000, -100, 100, 1000, NAN, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    table.silu_mul(ends.data(), ones.data(), 16);
    CHECK(std::abs(ends[0]) < 1e-30f);
    CHECK(std::abs(ends[1]) < 1e-30f);
    CHECK(ends[2] == 100);
    CHECK(ends[3] == 1000);
    CHECK(std::isnan(ends[4]));
    CHECK(ends[5] == 0);
  });
}

TEST_CASE("gelu_tanh") {
  Random random(25);
  for_each_isa([&](const KernelTable& table) {
    for (int64_t n : widths) {
      std::vector<float> x = padded_floats(random, n, -12, 12);
      const std::vector<float> before = x;
      table.gelu_tanh(x.data(), n);
      for (size_t i = 0; i < static_cast<size_t>(n); ++i) {
        const double v = before[i], z = std::sqrt(2 / M_PI) * (v + 0.044715 * v * v * v);
        const double expected = v / (1 + std::exp(-2 * z));
        // Four roundings and two rounded constants in 2z, which exp turns into 2|z| times as much; then exp
        // itself, a sum and a quotient.
        const double tolerance = (12 * std::abs(z) + 8) * float_epsilon * std::abs(expected) + 1e-35;
        if (!(std::abs(x[i] - expected) <= tolerance))
          FAIL("n " << n << ", gelu(" << v << "): " << x[i] << ", not " << expected);
      }
    }
    std::vector<float> ends = {-1000, -100, 100, 1000, NAN, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    table.gelu_tanh(ends.data(), 16);
    CHECK(std::abs(ends[0]) < 1e-30f);
    CHECK(std::abs(ends[1]) < 1e-30f);
    CHECK(ends[2] == 100);
    CHECK(ends[3] == 1000);
    CHECK(std::isnan(ends[4]));
    CHECK(ends[5] == 0);
  });
}

TEST_CASE("add") {
  Random random(24);
  for_each_isa([&](const KernelTable& table) {
    for (int64_t n : widths) {
      std::vector<float> x = padded_floats(random, n, -1, 1);
      const std::vector<float> before = x, y = padded_floats(random, n, -1, 1);
      table.add(x.data(), y.data(), n);
      int wrong = 0;
      for (size_t i = 0; i < static_cast<size_t>(n); ++i) wrong += x[i] != before[i] + y[i];
      CHECK(wrong == 0);
    }
  });
}

TEST_CASE("rope rotates the pairs of the two halves") {
  Random random(25);
  for_each_isa([&](const KernelTable& table) {
    for (int64_t head_dim : {2, 6, 16, 32, 48, 64, 80, 128}) {
      const auto half = static_cast<size_t>(head_dim / 2);
      std::vector<float> head = random.floats(head_dim), cosines, sines;
      for (size_t i = 0; i < half; ++i) {
        const float angle = random.uniform(-3, 3);
        cosines.push_back(std::cos(angle));
        sines.push_back(std::sin(angle));
      }
      const std::vector<float> before = head;
      table.rope(head.data(), cosines.data(), sines.data(), head_dim);
      for (size_t i = 0; i < half; ++i) {
        const double a = before[i], b = before[half + i], c = cosines[i], s = sines[i];
        const double tolerance = 2 * float_epsilon * (std::abs(a) + std::abs(b));
        CHECK(std::abs(head[i] - (a * c - b * s)) <= tolerance);
        CHECK(std::abs(head[half + i] - (b * c + a * s)) <= tolerance);
      }
    }
  });
}

TEST_CASE("rounding_error is the same bits on every instruction set, and close to double arithmetic") {
  Random random(26);
  for (int64_t n : {1, 7, 15, 16, 17, 32, 64, 100, 128, 2048})
    for (float zero_point : {0.0f, 3.0f})
      for (float scale : {0.05f, 0.13f, 0.0f}) {
        const std::vector<float> x = random.floats(n);
        const float expected =
            instruction_sets().back().table->rounding_error(x.data(), n, scale, zero_point, -8, 7);
        for_each_isa([&](const KernelTable& table) {
          const float found = table.rounding_error(x.data(), n, scale, zero_point, -8, 7);
          CHECK(std::bit_cast<uint32_t>(found) == std::bit_cast<uint32_t>(expected));
        });
        double sum = 0, tolerance = 0;
        for (const float value : x) {
          const float inverse = scale > 0 ? 1.0f / scale : 0.0f;  // which way a tie goes is float's choice
          const double code = std::clamp(std::nearbyint(value * inverse) + zero_point, -8.0f, 7.0f);
          const double difference = value - (code - zero_point) * static_cast<double>(scale);
          sum += difference * difference;
          tolerance += 2 * std::abs(difference) * 2 * float_epsilon * 2 +
                       difference * difference * static_cast<double>(n + 3) * float_epsilon;
        }
        CHECK(std::abs(expected - sum) <= tolerance);
      }
}

TEST_CASE("quantize_row gives a group with a NaN or an infinity no codes, and its products are NaN") {
  Random random(27);
  const int64_t cols = 90, padded = round_up(cols, cols_block);
  const OwnedWeight weight = make_weight({WeightFormat::int8, 64, cols}, random);
  const PackedWeight packed = pack(weight.matrix);
  for_each_isa([&](const KernelTable& table) {
    for (int64_t group : {int64_t{32}, padded})
      for (float none : {NAN, -NAN, INFINITY, -INFINITY})
        for (int64_t place : {0, 5, 31, 32, 64, 79, 80, 89}) {  // in whole registers, and after them
          INFO("group " << group << ", " << none << " at " << place);
          OwnedRows x(2, padded, group), clean(2, padded, group);
          std::fill(x.codes.begin(), x.codes.end(), int8_t{99});
          std::vector<float> values = random.floats(cols, -4, 4);
          for (int64_t m = 0; m < 2; ++m) table.quantize_row(values.data(), cols, clean.view, m);
          table.quantize_row(values.data(), cols, x.view, 1);
          values[static_cast<size_t>(place)] = none;
          table.quantize_row(values.data(), cols, x.view, 0);
          int wrong = 0;
          for (int64_t k = 0; k < padded; ++k)
            wrong += x.view.codes[k] != (k / group == place / group ? 0 : clean.view.codes[k]);
          CHECK(wrong == 0);
          for (int64_t g = 0; g < x.view.groups(); ++g) {
            const bool spoiled = g == place / group;
            CHECK(std::isnan(x.view.scales[g]) == spoiled);
            CHECK(x.view.sums[g] == (spoiled ? 0 : clean.view.sums[g]));
          }
          std::vector<float> y(2 * panel_rows), expected(2 * panel_rows);
          table.matmul_quantized(packed, x.view, {0, 1}, {y.data(), panel_rows});
          table.matmul_quantized(packed, clean.view, {0, 1}, {expected.data(), panel_rows});
          CHECK(std::all_of(y.begin(), y.begin() + panel_rows, [](float v) { return std::isnan(v); }));
          CHECK(std::equal(y.begin() + panel_rows, y.end(), expected.begin() + panel_rows));
        }
  });
}

TEST_CASE("rounding_error snaps to the nearest end what no integer holds, and a NaN stays one") {
  for_each_isa([&](const KernelTable& table) {
    for (int64_t n : {1, 16, 40})
      for (float number : {1e12f, -1e12f, 3e30f, -3e30f, INFINITY, NAN}) {
        std::vector<float> x(static_cast<size_t>(n), 0.0f);
        for (size_t place : {size_t{0}, x.size() - 1}) {
          INFO(number << " at " << place << " of " << n);
          x[place] = number;
          const float end = number > 0 ? 7 - 3 : -8 - 3;
          const float difference = number - end * 0.5f,
                      found = table.rounding_error(x.data(), n, 0.5f, 3, -8, 7);
          if (std::isnan(number))
            CHECK(std::isnan(found));
          else
            CHECK(found == difference * difference);
          x[place] = 0;
        }
      }
  });
}
