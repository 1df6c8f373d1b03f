// Each operation's derivative against finite differences in double precision, over awkward shapes.

#include "quant/gradient/operations.h"

#include <catch2/catch.hpp>
#include <cmath>
#include <functional>

#include "quant/gradient/attention.h"
#include "quant/gradient/kl_loss.h"
#include "tests/support/reference_decoder.h"
#include "tests/support/tiny_model.h"

using namespace whittle;
using namespace whittle::test;

namespace {

Matrix random_matrix(SplitMix64& random, int64_t rows, int64_t cols, float reach = 1) {
  Matrix matrix(rows, cols);
  for (int64_t m = 0; m < rows; ++m)
    for (int64_t i = 0; i < cols; ++i) matrix.row(m)[i] = random.uniform(-reach, reach);
  return matrix;
}

Rows rows_of(const Matrix& matrix) {
  Rows rows;
  for (int64_t m = 0; m < matrix.rows(); ++m) rows.emplace_back(matrix.row(m), matrix.row(m) + matrix.cols());
  return rows;
}

double weighted(const Rows& y, const Matrix& weights) {
  double sum = 0;
  for (size_t m = 0; m < y.size(); ++m)
    for (size_t i = 0; i < y[m].size(); ++i)
      sum += y[m][i] * static_cast<double>(weights.row(static_cast<int64_t>(m))[i]);
  return sum;
}

// dL/d(value) by central differences.
double difference(double& value, const std::function<double()>& loss) {
  const double kept = value, h = 1e-5;
  value = kept + h;
  const double above = loss();
  value = kept - h;
  const double below = loss();
  value = kept;
  return (above - below) / (2 * h);
}

// Every `step`-th element.
void check_differences(const Matrix& found, Rows& at, const std::function<double()>& loss, double margin,
                       size_t step = 1) {
  size_t number = 0;
  for (size_t m = 0; m < at.size(); ++m)
    for (size_t i = 0; i < at[m].size(); ++i)
      if (number++ % step == 0) {
        CAPTURE(m, i);
        CHECK(static_cast<double>(found.row(static_cast<int64_t>(m))[i]) ==
              Approx(difference(at[m][i], loss)).margin(margin));
      }
}

constexpr int64_t sizes[] = {1, 3, 16, 31, 33, 172};

}  // namespace

TEST_CASE("Products are those of doubles, whatever is packed") {
  SplitMix64 random(1);
  const Team team(2);
  for (const int64_t m : {1, 3, 257})
    for (const int64_t n : sizes)
      for (const int64_t k : sizes) {
        CAPTURE(m, n, k);
        const Matrix a = random_matrix(random, m, k), b = random_matrix(random, n, k);
        Matrix turned, c, same;
        transpose(team, b, turned);
        REQUIRE(turned.rows() == k);
        Panels panels;
        panels.pack(team, b);
        multiply(team, a.view(), panels, c);
        panels.pack_transposed(team, turned);
        multiply(team, a.view(), panels, same);
        bool equal = true, close = true;
        for (int64_t i = 0; i < m; ++i)
          for (int64_t j = 0; j < n; ++j) {
            double expected = 0;
            for (int64_t l = 0; l < k; ++l)
              expected += static_cast<double>(a.row(i)[l]) * static_cast<double>(b.row(j)[l]);
            equal &= c.row(i)[j] == same.row(i)[j];
            close &=
                std::abs(static_cast<double>(c.row(i)[j]) - expected) <= static_cast<double>(k * k) * 0x1p-24;
          }
        CHECK(equal);
        CHECK(close);
      }
}

TEST_CASE("The exponential function is good to 2^-22 and bounded") {
  for (float x = -87; x < 88; x += 0.0137f)
    CHECK(std::abs(static_cast<double>(exponential(x)) / std::exp(static_cast<double>(x)) - 1) < 0x1p-22);
  CHECK(exponential(-88) == 0);
  CHECK(exponential(-1e30f) == 0);
  CHECK(exponential(0) == 1);
  CHECK(std::isfinite(exponential(1e30f)));
}

TEST_CASE("Norms: derivatives of rows, weight and bias") {
  SplitMix64 random(2);
  const Team team(2);
  for (const NormType type : {NormType::rms, NormType::layer})
    for (const int64_t n : sizes) {
      CAPTURE(static_cast<int>(type), n);
      ModelSpec spec;
      spec.norm = type;
      spec.norm_eps = 1e-3f;
      const Matrix x = random_matrix(random, 67, n), d_y = random_matrix(random, 67, n);
      Norm norm, d_norm;
      for (int64_t i = 0; i < n; ++i) norm.weight.push_back(random.uniform(0.5f, 1.5f));
      for (int64_t i = 0; i < n && type == NormType::layer; ++i) norm.bias.push_back(random.uniform(-1, 1));
      Matrix y, d_x(67, n);
      fill(team, d_x, 0.25f);  // is added to
      normalise(team, spec, norm, x, y);
      normalise_backward(team, spec, norm, x, d_y, d_x, d_norm);
      for (int64_t m = 0; m < 67; ++m)
        for (int64_t i = 0; i < n; ++i) d_x.row(m)[i] -= 0.25f;
      Rows at = rows_of(x), weights = {{norm.weight.begin(), norm.weight.end()}},
           biases = {{norm.bias.begin(), norm.bias.end()}};
      const auto loss = [&] {
        Rows out;
        for (const auto& row : at)
          out.push_back(reference_norm(type, static_cast<double>(spec.norm_eps), row, weights[0], biases[0]));
        return weighted(out, d_y);
      };
      // Derivatives of a row reach some 1 / √eps where its values are almost equal (n = 1).
      check_differences(d_x, at, loss, 1e-4, 41);
      Matrix d_weight(1, n), d_bias(1, n);
      std::ranges::copy(d_norm.weight, d_weight.row(0));
      std::ranges::copy(d_norm.bias, d_bias.row(0));
      check_differences(d_weight, weights, loss, 1e-4, 7);
      check_differences(d_bias, biases, loss, 1e-4, 7);
      REQUIRE(d_norm.bias.size() == norm.bias.size());
    }
}

TEST_CASE("Activations: derivatives of gate and up") {
  SplitMix64 random(3);
  const Team team(2);
  for (const bool gated : {true, false})
    for (const int64_t n : sizes) {
      CAPTURE(gated, n);
      ModelSpec spec;
      spec.gated_mlp = gated;
      spec.activation = gated ? Activation::silu : Activation::gelu_tanh;
      const Matrix gate = random_matrix(random, 3, n, 6), up = random_matrix(random, 3, n, 6),
                   d_y = random_matrix(random, 3, n);
      Matrix y, d_gate, d_up;
      activate(team, spec, gate, up, y);
      activate_backward(team, spec, gate, up, d_y, d_gate, d_up);
      Rows gates = rows_of(gate), ups = rows_of(up);
      const auto forward = [&] {
        Rows out = ups;
        for (size_t m = 0; m < out.size(); ++m)
          for (size_t i = 0; i < out[m].size(); ++i)
            out[m][i] = gated ? reference_activation(spec.activation, gates[m][i]) * ups[m][i]
                              : reference_activation(spec.activation, ups[m][i]);
        return out;
      };
      const Rows expected = forward();
      for (int64_t m = 0; m < 3; ++m)
        for (int64_t i = 0; i < n; ++i)
          CHECK(y.row(m)[i] == Approx(expected[static_cast<size_t>(m)][static_cast<size_t>(i)]).margin(1e-5));
      const auto loss = [&] { return weighted(forward(), d_y); };
      check_differences(d_up, ups, loss, 1e-5, 3);
      if (gated) check_differences(d_gate, gates, loss, 1e-5, 3);
    }
}

TEST_CASE("Attention: outputs, and derivatives of queries, keys and values") {
  SplitMix64 random(4);
  struct Sizes {
    int64_t heads, kv_heads, head_dim, window;
    bool slopes;
  };
  for (const Sizes& of : {Sizes{1, 1, 1, 0, false},
                          {4, 2, 3, 0, false},
                          {3, 1, 33, 5, false},
                          {2, 2, 80, 0, true},
                          {6, 3, 4, 70, true},
                          {2, 1, 16, 1, false}}) {
    CAPTURE(of.heads, of.kv_heads, of.head_dim, of.window, of.slopes);
    AttentionShape shape = {of.heads, of.kv_heads, of.head_dim, of.window, {}};
    if (of.slopes) shape.slopes = alibi_slopes(of.heads);
    const std::vector<Range> sequences = {{0, 1}, {1, 132}, {132, 196}, {196, 199}};
    const int64_t tokens = 199;
    const Matrix q = random_matrix(random, tokens, of.heads * of.head_dim),
                 k = random_matrix(random, tokens, of.kv_heads * of.head_dim),
                 v = random_matrix(random, tokens, of.kv_heads * of.head_dim),
                 d_out = random_matrix(random, tokens, of.heads * of.head_dim);
    Matrix out, d_q, d_k, d_v, same;
    attend(Team(2), shape, {q, k, v, sequences}, out);
    attend_backward(Team(2), shape, {q, k, v, sequences}, d_out, d_q, d_k, d_v);
    attend_backward(Team(1), shape, {q, k, v, sequences}, d_out, same, d_k, d_v);
    CHECK(rows_of(same) == rows_of(d_q));
    Rows queries = rows_of(q), keys = rows_of(k), values = rows_of(v);
    const auto dim = static_cast<size_t>(of.head_dim), group = static_cast<size_t>(of.heads / of.kv_heads);
    const auto forward = [&](Range sequence) {
      const auto cut = [&](const Rows& rows, size_t head) {
        Rows part;
        for (auto m = static_cast<size_t>(sequence.begin); m < static_cast<size_t>(sequence.end); ++m)
          part.emplace_back(rows[m].begin() + static_cast<std::ptrdiff_t>(head * dim),
                            rows[m].begin() + static_cast<std::ptrdiff_t>((head + 1) * dim));
        return part;
      };
      Rows all(static_cast<size_t>(sequence.size()));
      for (size_t head = 0; head < static_cast<size_t>(of.heads); ++head) {
        const Rows one = reference_attention(cut(queries, head), cut(keys, head / group),
                                             cut(values, head / group), static_cast<size_t>(of.window),
                                             of.slopes ? static_cast<double>(shape.slopes[head]) : 0);
        for (size_t m = 0; m < all.size(); ++m) all[m].insert(all[m].end(), one[m].begin(), one[m].end());
      }
      return all;
    };
    for (const Range& sequence : sequences) {
      CAPTURE(sequence.begin);
      const Rows expected = forward(sequence);
      for (size_t m = 0; m < expected.size(); ++m)
        for (size_t i = 0; i < expected[m].size(); ++i)
          if (std::abs(static_cast<double>(out.row(sequence.begin + static_cast<int64_t>(m))[i]) -
                       expected[m][i]) > 1e-5)
            FAIL("output " << m << ", " << i);
      const auto loss = [&] {
        const Rows rows = forward(sequence);
        double sum = 0;
        for (size_t m = 0; m < rows.size(); ++m)
          for (size_t i = 0; i < rows[m].size(); ++i)
            sum += rows[m][i] * static_cast<double>(d_out.row(sequence.begin + static_cast<int64_t>(m))[i]);
        return sum;
      };
      for (const auto& [found, at] :
           {std::pair(&d_q, &queries), std::pair(&d_k, &keys), std::pair(&d_v, &values)})
        for (const int64_t m : {sequence.begin, (sequence.begin + sequence.end) / 2, sequence.end - 1})
          for (size_t i = 0; i < (*at)[static_cast<size_t>(m)].size(); i += 1 + dim / 2)
            // Up to 131 terms whose scores are good to head_dim · 2⁻²⁴.
            CHECK(static_cast<double>(found->row(m)[i]) ==
                  Approx(difference((*at)[static_cast<size_t>(m)][i], loss)).margin(3e-5));
    }
  }
}

TEST_CASE("KL: its value and its derivative at any temperature") {
  SplitMix64 random(5);
  for (const int64_t n : {3, 33, 172})
    for (const float temperature : {1.0f, 2.0f}) {
      CAPTURE(n, temperature);
      const Matrix target = random_matrix(random, 3, n, 4);
      Matrix logits = random_matrix(random, 3, n, 4);
      Rows at = rows_of(logits);
      const Rows to = rows_of(target);
      const auto kl = [&] {
        double sum = 0;
        for (size_t m = 0; m < at.size(); ++m) {
          double p_sum = 0, q_sum = 0;
          for (size_t i = 0; i < at[m].size(); ++i) {
            p_sum += std::exp(to[m][i] / static_cast<double>(temperature));
            q_sum += std::exp(at[m][i] / static_cast<double>(temperature));
          }
          for (size_t i = 0; i < at[m].size(); ++i) {
            const double log_p = to[m][i] / static_cast<double>(temperature) - std::log(p_sum);
            sum += std::exp(log_p) * (log_p - at[m][i] / static_cast<double>(temperature) + std::log(q_sum));
          }
        }
        return sum;
      };
      const double square = static_cast<double>(temperature * temperature);
      CHECK(kl_backward(Team(2), target, temperature, 0.5f, logits) == Approx(kl()).epsilon(1e-5));
      check_differences(
          logits, at, [&] { return 0.5 * square * kl(); }, 1e-6);
    }
}
