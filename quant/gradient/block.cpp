#include "quant/gradient/block.h"

#include <algorithm>
#include <cmath>

#include "quant/gradient/operations.h"

namespace whittle {
namespace {

constexpr std::pair<Role, LinearValues BlockValues::*> linears[] = {
    {Role::q, &BlockValues::q},      {Role::k, &BlockValues::k},       {Role::v, &BlockValues::v},
    {Role::o, &BlockValues::o},      {Role::gate, &BlockValues::gate}, {Role::up, &BlockValues::up},
    {Role::down, &BlockValues::down}};
constexpr std::pair<Role, Norm BlockValues::*> norms[] = {
    {Role::attention_norm, &BlockValues::attention_norm},
    {Role::mlp_norm, &BlockValues::mlp_norm},
    {Role::q_norm, &BlockValues::q_norm},
    {Role::k_norm, &BlockValues::k_norm}};

template <class Table>
auto member(const Table& table, Role role) {
  return std::ranges::find(table, role, [](const auto& row) { return row.first; })->second;
}

// As for Linear: groups of weights are finer than what a file may ask for its activations.
int64_t input_group_size(const WeightMatrix& matrix, int64_t asked) {
  if (matrix.groups() == 0) return 0;
  if (matrix.groups() > 1) return matrix.group_size;
  return asked ? round_up(asked, group_multiple(matrix.format)) : round_up(matrix.cols, cols_block);
}

LinearValues values_of(const WeightSource& source, const Module& module, const WeightMatrix& matrix,
                       std::vector<float> bias, const Team& team) {
  LinearValues values;
  values.weight.reshape(matrix.rows, matrix.cols);
  team.for_each(matrix.rows, [&](int64_t row) { matrix.decode_row(row, values.weight.row(row)); });
  values.bias = std::move(bias);
  values.input_group_size = input_group_size(matrix, source.activation_group_size(module));
  return values;
}

}  // namespace

LinearValues load_values(const WeightSource& source, const Module& module, const Team& team) {
  const WeightMatrix matrix = source.matrix(module);
  LinearValues values =
      values_of(source, module, matrix, module.bias ? source.bias(module) : std::vector<float>(), team);
  source.release(matrix);
  return values;
}

void load_values(const WeightSource& source, int64_t layer, const Team& team, BlockValues& values) {
  const Inventory& inventory = source.inventory();
  for (const auto& [role, norm] : norms) {
    const Module* module = inventory.find(layer, role);
    values.*norm = module ? load_norm(source, *module) : Norm();
  }
  for (const auto& [role, linear] : linears) {
    const Module* module = inventory.find(layer, role);
    if (!module) {
      values.*linear = {};
      continue;
    }
    if (module->role == role) {
      values.*linear = load_values(source, *module, team);
      continue;
    }
    const WeightMatrix matrix = source.matrix(*module);
    const std::vector<int64_t> rows = fused_rows(source.spec(), layer, role);
    std::vector<float> bias;
    if (module->bias) {
      const std::vector<float> all = source.bias(*module);
      for (const int64_t row : rows) bias.push_back(all[static_cast<size_t>(row)]);
    }
    values.*linear = values_of(source, *module, take_rows(matrix, rows), std::move(bias), team);
    source.release(matrix);
  }
}

void hand_on(const Module& module, const Norm& gradient, const GradientReceiver& receive) {
  Matrix weight(1, module.cols);
  std::ranges::copy(gradient.weight, weight.row(0));
  receive({module, weight, gradient.bias});
}

void hand_on(const WeightSource& source, int64_t layer, const BlockValues& gradient, const Wanted& wanted,
             const GradientReceiver& receive) {
  for (const Module& module : source.inventory().layer(layer)) {
    if (!wanted(module)) continue;
    if (!module.matrix()) {
      hand_on(module, gradient.*member(norms, module.role), receive);
    } else if (module.role != Role::qkv) {
      const LinearValues& linear = gradient.*member(linears, module.role);
      receive({module, linear.weight, linear.bias});
    } else {
      Matrix weight(module.rows, module.cols);
      std::vector<float> bias(static_cast<size_t>(module.bias ? module.rows : 0));
      for (const Role role : {Role::q, Role::k, Role::v}) {
        const LinearValues& part = gradient.*member(linears, role);
        const std::vector<int64_t> rows = fused_rows(source.spec(), layer, role);
        for (size_t i = 0; i < rows.size(); ++i) {
          std::copy_n(part.weight.row(static_cast<int64_t>(i)), module.cols, weight.row(rows[i]));
          if (module.bias) bias[static_cast<size_t>(rows[i])] = part.bias[i];
        }
      }
      receive({module, weight, bias});
    }
  }
}

Block::Block(const ModelSpec& spec, const Team& team) : spec_(spec), team_(team), rope_(spec_) {}

const Matrix& Block::as_read(Reads& reads, int64_t group_size) {
  if (group_size == 0) return reads.floats;
  for (size_t i = 0; i < reads.used; ++i)
    if (reads.rounded[i].first == group_size) return reads.rounded[i].second;
  if (reads.used == reads.rounded.size()) reads.rounded.emplace_back();
  auto& [size, rounded] = reads.rounded[reads.used++];
  size = group_size;
  quantize_inputs(team_, reads.floats, group_size, rounded);
  return rounded;
}

void Block::multiply(const LinearValues& linear, Reads& reads, Matrix& y) {
  panels_.pack(team_, linear.weight);
  whittle::multiply(team_, as_read(reads, linear.input_group_size).view(), panels_, y);
  if (linear.bias.empty()) return;
  std::vector<float> bias = linear.bias;
  bias.resize(static_cast<size_t>(y.stride()));
  team_.for_each(y.rows(), [&](int64_t m) { kernels().add(y.row(m), bias.data(), y.cols()); });
}

void Block::multiply_backward(const LinearValues& linear, Reads& reads, const Matrix& d_y, bool wanted,
                              bool more, Matrix& d_x, LinearValues& gradient) {
  panels_.pack_transposed(team_, linear.weight);
  whittle::multiply(team_, d_y.view(), panels_, more ? update_ : d_x);
  if (more) add(team_, d_x, update_);
  if (!linear.bias.empty()) gradient.bias = sum_rows(team_, d_y);
  if (!wanted) return;
  transpose(team_, d_y, turned_);
  panels_.pack_transposed(team_, as_read(reads, linear.input_group_size));
  whittle::multiply(team_, turned_.view(), panels_, gradient.weight);
}

void Block::place(std::span<const Range> sequences, int64_t rows) {
  if (spec_.positions != Positions::rope) return;
  cosines_.reshape(rows, spec_.head_dim / 2);
  sines_.reshape(rows, spec_.head_dim / 2);
  team_.for_each(static_cast<int64_t>(sequences.size()), [&](int64_t s) {
    const Range sequence = sequences[static_cast<size_t>(s)];
    for (int64_t m = sequence.begin; m < sequence.end; ++m)
      rope_.angles(m - sequence.begin, cosines_.row(m), sines_.row(m));
  });
}

void Block::rotate(const Norm& norm, const Matrix& heads, float scale, Matrix& out) {
  out.reshape(heads.rows(), heads.cols());
  team_.for_each(heads.rows(), [&](int64_t m) {
    for (int64_t first = 0; first < heads.cols(); first += spec_.head_dim) {
      float* const to = out.row(m) + first;
      if (norm.weight.empty())
        std::copy_n(heads.row(m) + first, spec_.head_dim, to);
      else
        kernels().rms_norm(heads.row(m) + first, norm.weight.data(), spec_.head_dim, spec_.norm_eps, to);
      if (spec_.positions == Positions::rope)
        kernels().rope(to, cosines_.row(m), sines_.row(m), spec_.head_dim);
      for (int64_t i = 0; i < spec_.head_dim; ++i) to[i] *= scale;
    }
  });
}

void Block::rotate_backward(const Norm& norm, const Matrix& heads, float scale, Matrix& d_heads,
                            Norm& d_norm) {
  const int64_t dim = spec_.head_dim, half = dim / 2, count = heads.cols() / dim;
  team_.for_each(heads.rows(), [&](int64_t m) {
    std::vector<float> back;  // by the angle, the other way
    if (spec_.positions == Positions::rope)
      for (int64_t i = 0; i < half; ++i) back.push_back(-sines_.row(m)[i]);
    for (int64_t first = 0; first < heads.cols(); first += dim) {
      float* const d = d_heads.row(m) + first;
      if (!back.empty()) kernels().rope(d, cosines_.row(m), back.data(), dim);
      for (int64_t i = 0; i < dim; ++i) d[i] *= scale;
    }
  });
  if (norm.weight.empty()) return;
  // Each head is a row of its own.
  Matrix x(heads.rows() * count, dim), d_y(x.rows(), dim), d_x(x.rows(), dim);
  const auto each_head = [&](auto body) {
    team_.for_each(heads.rows(), [&](int64_t m) {
      for (int64_t h = 0; h < count; ++h) body(m, h * dim, m * count + h);
    });
  };
  each_head([&](int64_t m, int64_t first, int64_t row) {
    std::copy_n(heads.row(m) + first, dim, x.row(row));
    std::copy_n(d_heads.row(m) + first, dim, d_y.row(row));
  });
  fill(team_, d_x, 0);
  ModelSpec rms = spec_;
  rms.norm = NormType::rms;
  normalise_backward(team_, rms, norm, x, d_y, d_x, d_norm);
  each_head(
      [&](int64_t m, int64_t first, int64_t row) { std::copy_n(d_x.row(row), dim, d_heads.row(m) + first); });
}

// What attention adds, and x: the stream between it and the MLP.
void Block::run_attention(const BlockValues& values, int64_t layer, std::span<const Range> sequences,
                          const Matrix& x) {
  if (!values.o) {
    middle_.reshape(x.rows(), x.cols());
    team_.for_each(x.rows(), [&](int64_t m) { std::copy_n(x.row(m), x.cols(), middle_.row(m)); });
    return;
  }
  place(sequences, x.rows());
  normalise(team_, spec_, values.attention_norm, x, attention_in_.floats);
  multiply(values.q, attention_in_, q_);
  multiply(values.k, attention_in_, k_);
  multiply(values.v, attention_in_, v_);
  rotate(values.q_norm, q_, 1.0f / std::sqrt(static_cast<float>(spec_.head_dim)), turned_q_);
  rotate(values.k_norm, k_, 1, turned_k_);
  attend(team_, attention_shape(spec_, layer), {turned_q_, turned_k_, v_, sequences}, attended_.floats);
  multiply(values.o, attended_, middle_);
  add(team_, middle_, x);
}

// Everything up to what down reads.
void Block::run(const BlockValues& values, int64_t layer, std::span<const Range> sequences, const Matrix& x) {
  for (Reads* reads : {&attention_in_, &attended_, &mlp_in_, &inner_}) reads->used = 0;
  run_attention(values, layer, sequences, x);
  if (!values.down) return;
  normalise(team_, spec_, values.mlp_norm, middle_, mlp_in_.floats);
  if (spec_.gated_mlp) multiply(values.gate, mlp_in_, gate_);
  multiply(values.up, mlp_in_, up_);
  activate(team_, spec_, gate_, up_, inner_.floats);
}

void Block::forward(const BlockValues& values, int64_t layer, std::span<const Range> sequences, Matrix& x) {
  run(values, layer, sequences, x);
  if (!values.down) {
    team_.for_each(x.rows(), [&](int64_t m) { std::copy_n(middle_.row(m), x.cols(), x.row(m)); });
    return;
  }
  multiply(values.down, inner_, x);
  add(team_, x, middle_);
}

void Block::backward(const BlockValues& values, int64_t layer, std::span<const Range> sequences,
                     const Matrix& x, const std::function<bool(Role)>& wanted, Matrix& d_x,
                     BlockValues& gradient) {
  run(values, layer, sequences, x);
  if (values.down) mlp_backward(values, wanted, d_x, gradient);
  if (values.o) attention_backward(values, layer, sequences, x, wanted, d_x, gradient);
}

void Block::mlp_backward(const BlockValues& values, const std::function<bool(Role)>& wanted, Matrix& d_x,
                         BlockValues& gradient) {
  multiply_backward(values.down, inner_, d_x, wanted(Role::down), false, d_update_, gradient.down);
  activate_backward(team_, spec_, gate_, up_, d_update_, d_gate_, d_up_);
  multiply_backward(values.up, mlp_in_, d_up_, wanted(Role::up), false, d_update_, gradient.up);
  if (spec_.gated_mlp)
    multiply_backward(values.gate, mlp_in_, d_gate_, wanted(Role::gate), true, d_update_, gradient.gate);
  normalise_backward(team_, spec_, values.mlp_norm, middle_, d_update_, d_x, gradient.mlp_norm);
}

void Block::attention_backward(const BlockValues& values, int64_t layer, std::span<const Range> sequences,
                               const Matrix& x, const std::function<bool(Role)>& wanted, Matrix& d_x,
                               BlockValues& gradient) {
  multiply_backward(values.o, attended_, d_x, wanted(Role::o), false, d_update_, gradient.o);
  attend_backward(team_, attention_shape(spec_, layer), {turned_q_, turned_k_, v_, sequences}, d_update_,
                  d_q_, d_k_, d_v_);
  rotate_backward(values.q_norm, q_, 1.0f / std::sqrt(static_cast<float>(spec_.head_dim)), d_q_,
                  gradient.q_norm);
  rotate_backward(values.k_norm, k_, 1, d_k_, gradient.k_norm);
  multiply_backward(values.q, attention_in_, d_q_, wanted(Role::q), false, d_update_, gradient.q);
  multiply_backward(values.k, attention_in_, d_k_, wanted(Role::k), true, d_update_, gradient.k);
  multiply_backward(values.v, attention_in_, d_v_, wanted(Role::v), true, d_update_, gradient.v);
  normalise_backward(team_, spec_, values.attention_norm, x, d_update_, d_x, gradient.attention_norm);
}

}  // namespace whittle
