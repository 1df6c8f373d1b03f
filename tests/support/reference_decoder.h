#pragma once
// A decoder in double precision, written slowly and obviously: what derivatives are held against.

#include <cmath>
#include <map>
#include <numbers>
#include <span>
#include <string>
#include <vector>

#include "engine/positions.h"
#include "engine/weight_source.h"

namespace whittle::test {

using Rows = std::vector<std::vector<double>>;

inline double sigmoid(double x) { return 1 / (1 + std::exp(-x)); }
inline double reference_activation(Activation activation, double v) {
  if (activation == Activation::silu) return v * sigmoid(v);
  return v / 2 * (1 + std::tanh(std::sqrt(2 / std::numbers::pi) * (v + 0.044715 * v * v * v)));
}

inline std::vector<double> reference_norm(NormType type, double eps, const std::vector<double>& x,
                                          const std::vector<double>& weight,
                                          const std::vector<double>& bias) {
  const auto n = static_cast<double>(x.size());
  double mean = 0, square = 0;
  if (type == NormType::layer)
    for (const double value : x) mean += value / n;
  for (const double value : x) square += (value - mean) * (value - mean) / n;
  std::vector<double> y;
  for (size_t i = 0; i < x.size(); ++i)
    y.push_back((x[i] - mean) / std::sqrt(square + eps) * weight[i] + (bias.empty() ? 0 : bias[i]));
  return y;
}

// One head: q is scaled already; window 0: all positions before.
inline Rows reference_attention(const Rows& q, const Rows& k, const Rows& v, size_t window, double slope) {
  Rows out;
  for (size_t i = 0; i < q.size(); ++i) {
    const size_t begin = window && i + 1 > window ? i + 1 - window : 0;
    std::vector<double> weights, mixed(v[0].size());
    double top = -1e300, total = 0;
    for (size_t j = begin; j <= i; ++j) {
      double score = -slope * static_cast<double>(i - j);
      for (size_t d = 0; d < q[i].size(); ++d) score += q[i][d] * k[j][d];
      weights.push_back(score);
      top = std::max(top, score);
    }
    for (double& weight : weights) total += weight = std::exp(weight - top);
    for (size_t j = begin; j <= i; ++j)
      for (size_t d = 0; d < mixed.size(); ++d) mixed[d] += weights[j - begin] / total * v[j][d];
    out.push_back(mixed);
  }
  return out;
}

// All parameters of a source as doubles, which may be changed, and the logits that they give.
class ReferenceDecoder {
 public:
  explicit ReferenceDecoder(const WeightSource& source)
      : spec_(source.spec()), inventory_(source.inventory()), rope_(spec_) {
    for (const Module& module : inventory_.modules()) {
      Values& values = values_[module.name];
      if (module.matrix()) {
        const WeightMatrix matrix = source.matrix(module);
        std::vector<float> row(static_cast<size_t>(module.cols));
        for (int64_t r = 0; r < module.rows; ++r) {
          matrix.decode_row(r, row.data());
          values.weight.insert(values.weight.end(), row.begin(), row.end());
        }
      } else {
        const std::vector<float> weight = source.weight_vector(module);
        values.weight.assign(weight.begin(), weight.end());
      }
      if (!module.bias) continue;
      const std::vector<float> bias = source.bias(module);
      values.bias.assign(bias.begin(), bias.end());
    }
  }

  struct Values {
    std::vector<double> weight, bias;
  };
  Values& values(const std::string& module) { return values_.at(module); }

  // [tokens of the window][vocabulary]
  Rows logits(std::span<const int32_t> window) const {
    Rows x;
    for (size_t t = 0; t < window.size(); ++t) {
      x.push_back(row(inventory_.embedding(), window[t]));
      if (const Module* table = inventory_.find(Role::position_embedding))
        add(x[t], row(*table, static_cast<int64_t>(t)));
      if (const Module* norm = inventory_.find(Role::embedding_norm)) x[t] = normalised(*norm, x[t]);
    }
    for (int64_t layer = 0; layer < spec_.num_hidden_layers; ++layer) x = block(layer, x);
    for (std::vector<double>& of_token : x)
      of_token = linear(inventory_.head(), normalised(*inventory_.find(Role::final_norm), of_token));
    return x;
  }

  Rows block(int64_t layer, Rows x) const {
    const auto find = [&](Role role) { return inventory_.find(layer, role); };
    if (find(Role::o)) attention(layer, x);
    for (size_t t = 0; t < x.size() && find(Role::down); ++t) {
      const std::vector<double> input = normalised(*find(Role::mlp_norm), x[t]);
      std::vector<double> inner = linear(*find(Role::up), input);
      if (spec_.gated_mlp) {
        const std::vector<double> gate = linear(*find(Role::gate), input);
        for (size_t i = 0; i < inner.size(); ++i) inner[i] *= reference_activation(spec_.activation, gate[i]);
      } else {
        for (double& value : inner) value = reference_activation(spec_.activation, value);
      }
      add(x[t], linear(*find(Role::down), inner));
    }
    return x;
  }

 private:
  void attention(int64_t layer, Rows& x) const {
    const auto find = [&](Role role) { return inventory_.find(layer, role); };
    Rows q, k, v;
    for (size_t t = 0; t < x.size(); ++t) {
      const std::vector<double> input = normalised(*find(Role::attention_norm), x[t]);
      q.push_back(rotated(projected(layer, Role::q, input), find(Role::q_norm), t));
      k.push_back(rotated(projected(layer, Role::k, input), find(Role::k_norm), t));
      v.push_back(projected(layer, Role::v, input));
      for (double& value : q[t]) value /= std::sqrt(static_cast<double>(spec_.head_dim));
    }
    const auto dim = static_cast<size_t>(spec_.head_dim), group = static_cast<size_t>(spec_.query_group()),
               heads = static_cast<size_t>(spec_.layer(layer).num_key_value_heads) * group;
    const std::vector<float> slopes = spec_.positions == Positions::alibi
                                          ? alibi_slopes(spec_.num_attention_heads)
                                          : std::vector<float>(heads);
    Rows mixed(x.size());
    for (size_t head = 0; head < heads; ++head) {
      const auto cut = [&](const Rows& rows, size_t index) {
        Rows part;
        for (const auto& of_token : rows)
          part.emplace_back(of_token.begin() + static_cast<std::ptrdiff_t>(index * dim),
                            of_token.begin() + static_cast<std::ptrdiff_t>((index + 1) * dim));
        return part;
      };
      const Rows out =
          reference_attention(cut(q, head), cut(k, head / group), cut(v, head / group),
                              static_cast<size_t>(spec_.window(layer)), static_cast<double>(slopes[head]));
      for (size_t t = 0; t < x.size(); ++t) mixed[t].insert(mixed[t].end(), out[t].begin(), out[t].end());
    }
    for (size_t t = 0; t < x.size(); ++t) add(x[t], linear(*find(Role::o), mixed[t]));
  }
  static void add(std::vector<double>& x, const std::vector<double>& y) {
    for (size_t i = 0; i < x.size(); ++i) x[i] += y[i];
  }
  std::vector<double> row(const Module& table, int64_t index) const {
    const auto begin = values_.at(table.name).weight.begin() + index * table.cols;
    return {begin, begin + table.cols};
  }
  std::vector<double> normalised(const Module& norm, const std::vector<double>& x) const {
    const Values& values = values_.at(norm.name);
    return reference_norm(spec_.norm, static_cast<double>(spec_.norm_eps), x, values.weight, values.bias);
  }
  std::vector<double> linear(const Module& module, const std::vector<double>& x) const {
    const Values& values = values_.at(module.name);
    std::vector<double> y = values.bias;
    y.resize(static_cast<size_t>(module.rows));
    for (size_t n = 0; n < y.size(); ++n)
      for (size_t i = 0; i < x.size(); ++i) y[n] += values.weight[n * x.size() + i] * x[i];
    return y;
  }
  std::vector<double> projected(int64_t layer, Role role, const std::vector<double>& x) const {
    const Module& module = *inventory_.find(layer, role);
    const std::vector<double> all = linear(module, x);
    if (module.role != Role::qkv) return all;
    std::vector<double> part;
    for (const int64_t index : fused_rows(spec_, layer, role))
      part.push_back(all[static_cast<size_t>(index)]);
    return part;
  }
  std::vector<double> rotated(std::vector<double> heads, const Module* norm, size_t position) const {
    const auto dim = static_cast<size_t>(spec_.head_dim);
    for (size_t first = 0; first < heads.size(); first += dim) {
      const auto begin = heads.begin() + static_cast<std::ptrdiff_t>(first);
      std::vector<double> head(begin, begin + static_cast<std::ptrdiff_t>(dim));
      if (norm)
        head = reference_norm(NormType::rms, static_cast<double>(spec_.norm_eps), head,
                              values_.at(norm->name).weight, {});
      for (size_t i = 0; i < dim / 2 && spec_.positions == Positions::rope; ++i) {
        const double angle =
            static_cast<double>(static_cast<float>(position) * rope_.inverse_frequencies()[i]);
        const double a = head[i], b = head[i + dim / 2];
        head[i] = a * std::cos(angle) - b * std::sin(angle);
        head[i + dim / 2] = b * std::cos(angle) + a * std::sin(angle);
      }
      std::copy(head.begin(), head.end(), begin);
    }
    return heads;
  }

  const ModelSpec& spec_;
  const Inventory& inventory_;
  Rope rope_;
  std::map<std::string, Values> values_;
};

}  // namespace whittle::test
