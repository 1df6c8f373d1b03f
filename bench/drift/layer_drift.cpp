#include "bench/drift/layer_drift.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>

#include "bench/drift/layer_pass.h"
#include "kernels/option_error.h"

namespace whittle {
namespace {

// Rows [rows, cols] of floats, side by side.
struct Rows {
  int64_t cols = 0;
  std::vector<float> values;

  int64_t count() const { return cols ? std::ssize(values) / cols : 0; }
  float* row(int64_t m) { return values.data() + m * cols; }
  const float* row(int64_t m) const { return values.data() + m * cols; }
};

// Rows from `first_row` on.
void add_error(RelativeError& error, FloatRows model, FloatRows baseline, int64_t cols, int64_t first_row,
               const Team& team) {
  std::vector<RelativeError> rows(static_cast<size_t>(model.rows));
  team.for_each(model.rows, [&](int64_t m) {
    const float *y = model.values + m * model.stride, *y0 = baseline.values + m * baseline.stride;
    RelativeError& row = rows[static_cast<size_t>(m)];
    for (int64_t k = 0; m >= first_row && k < cols; ++k) {
      const double expected = static_cast<double>(y0[k]), difference = static_cast<double>(y[k]) - expected;
      row.difference += difference * difference;
      row.power += expected * expected;
    }
  });
  for (const RelativeError& row : rows) {
    error.difference += row.difference;
    error.power += row.power;
  }
}

FloatRows view(const Rows& rows) { return {rows.count(), rows.cols, rows.values.data()}; }

// The first token of a window does not count.
constexpr int64_t first_counted = 1;

// One model on its way through a window: its stream, and what the linears of the layer that ran last read.
class Stream {
 public:
  Stream(const Model& model, const Team& team, KvFormat kv_cache, int64_t longest)
      : model_(model), pass_(model.spec(), model.activation_group_sizes(), team, kv_cache, longest) {}

  void embed(std::span<const int32_t> ids) {
    pass_.begin(ids);
    hidden.cols = model_.spec().hidden_size;
    hidden.values.resize(ids.size() * static_cast<size_t>(hidden.cols));
    std::vector<float> before(static_cast<size_t>(hidden.cols));
    for (int64_t m = 0; m < std::ssize(ids); ++m) {
      const std::optional<Norm>& norm = model_.embedding_norm();
      model_.embed(ids[static_cast<size_t>(m)], m, norm ? before.data() : hidden.row(m));
      if (norm) pass_.runner().apply(*norm, before.data(), hidden.cols, hidden.row(m));
    }
  }

  // Layer `index` over `stream`, which it changes.
  void run(int64_t index, Rows& stream, bool observed) {
    pass_.run(model_.layers()[static_cast<size_t>(index)], index, stream.values.data(), observed);
  }
  // By the first of the linears that read the same.
  FloatRows input(Role reader) { return pass_.inputs().at(reader).rows; }

  // What the head reads.
  Rows normalised() const {
    Rows out = hidden;
    for (int64_t m = 0; m < out.count(); ++m)
      pass_.runner().apply(model_.final_norm(), hidden.row(m), hidden.cols, out.row(m));
    return out;
  }

  Rows hidden;

 private:
  const Model& model_;
  LayerPass pass_;
};

// Two linears over the same input, some rows at a time.
class Outputs {
 public:
  Outputs(const Model& baseline, const Model& model, const Team& team) : team_(team) {
    int64_t widest_input = 0, widest_output = 0;
    const auto measure = [&](const Linear& linear) {
      widest_input = std::max(widest_input, linear.cols());
      widest_output = std::max(widest_output, linear.padded_rows());
    };
    measure(model.head());
    for (const DecoderLayer& layer : model.layers())
      for (const Linear* linear : layer.linears())
        if (*linear) measure(*linear);
    std::vector<int64_t> group_sizes = baseline.activation_group_sizes();
    for (const int64_t size : model.activation_group_sizes())
      if (std::ranges::find(group_sizes, size) == group_sizes.end()) group_sizes.push_back(size);
    input_ = LinearInput(chunk, widest_input, group_sizes);
    for (Buffer<float>& out : outputs_) out = Buffer<float>(chunk * widest_output);
  }

  void compare(RelativeError& error, const Linear& model, const Linear& baseline, FloatRows input) {
    const int64_t cols = model.cols();
    for (int64_t first = 0; first < input.rows; first += chunk) {
      const int64_t rows = std::min(chunk, input.rows - first), stride = model.padded_rows();
      const std::array<const Linear*, 2> linears = {&model, &baseline};
      team_.for_each(rows, [&](int64_t m) {
        std::copy_n(input.values + (first + m) * input.stride, cols, input_.row(m));
        for (const Linear* linear : linears) input_.quantize(m, cols, linear->activation_group_size());
      });
      for (size_t i = 0; i < linears.size(); ++i) {
        linears[i]->prepare(rows);
        team_.for_each(model.panels(), [&](int64_t panel) {
          linears[i]->multiply(input_, rows, {panel, panel + 1}, {outputs_[i].data(), stride});
        });
      }
      add_error(error, {rows, stride, outputs_[0].data()}, {rows, stride, outputs_[1].data()}, model.rows(),
                std::max<int64_t>(0, first_counted - first), team_);
    }
  }

 private:
  static constexpr int64_t chunk = 64;
  const Team& team_;
  LinearInput input_;
  std::array<Buffer<float>, 2> outputs_;
};

constexpr std::array<Role, 7> linear_roles = {Role::q,    Role::k,  Role::v,   Role::o,
                                              Role::gate, Role::up, Role::down};

// Whose inputs an observer is shown for those of this role.
Role shown_as(Role role, bool gated) {
  if (role == Role::k || role == Role::v) return Role::q;
  return role == Role::up && gated ? Role::gate : role;
}

}  // namespace

bool same_layers(const ModelSpec& a, const ModelSpec& b) {
  const auto shape = [](const ModelSpec& spec) {
    return std::array{spec.num_hidden_layers, spec.hidden_size, spec.head_dim, spec.query_group(),
                      int64_t{spec.gated_mlp}};
  };
  bool equal = shape(a) == shape(b);
  for (int64_t i = 0; equal && i < a.num_hidden_layers; ++i) equal = a.layer(i) == b.layer(i);
  return equal;
}

double RelativeError::value() const {
  if (difference == 0) return 0;
  return power == 0 ? std::numeric_limits<double>::infinity() : std::sqrt(difference / power);
}

LayerDriftReport measure_layer_drift(const Model& baseline, const Model& model, const Team& team,
                                     const Windows& windows, KvFormat kv_cache,
                                     const DriftProgress& progress) {
  check_drift(baseline.spec(), model.spec(), windows);
  if (!same_layers(baseline.spec(), model.spec()))
    fail_option("baseline",
                "the shapes of its layers differ from the model's: nothing to compare one by one");
  const auto longest = std::ranges::max(windows.ids, {}, [](const auto& ids) { return ids.size(); }).size();
  const auto context = static_cast<int64_t>(longest);
  check_positions(baseline.spec(), context);
  check_positions(model.spec(), context);
  Stream theirs(baseline, team, KvFormat::f32, context), ours(model, team, kv_cache, context);
  Outputs outputs(baseline, model, team);

  LayerDriftReport report;
  const bool gated = model.spec().gated_mlp;
  for (int64_t i = 0; i < model.spec().num_hidden_layers; ++i) {
    LayerDrift& layer = report.layers.emplace_back();
    const auto linears = model.layers()[static_cast<size_t>(i)].linears();
    for (size_t at = 0; at < linear_roles.size(); ++at)
      if (*linears[at]) layer.linears.push_back({.role = linear_roles[at]});
  }
  report.head.role = Role::head;
  const auto add_rows = [&](RelativeError& error, FloatRows y, FloatRows y0, int64_t cols) {
    add_error(error, y, y0, cols, first_counted, team);
  };
  const auto add = [&](RelativeError& error, const Rows& y, const Rows& y0) {
    add_rows(error, view(y), view(y0), y0.cols);
  };
  for (size_t w = 0; w < windows.ids.size(); ++w) {
    theirs.embed(windows.ids[w]);
    ours.embed(windows.ids[w]);
    add(report.embedding, ours.hidden, theirs.hidden);
    for (int64_t i = 0; i < model.spec().num_hidden_layers; ++i) {
      LayerDrift& layer = report.layers[static_cast<size_t>(i)];
      Rows alone = theirs.hidden;
      theirs.run(i, theirs.hidden, true);
      ours.run(i, alone, false);
      ours.run(i, ours.hidden, true);
      add(layer.alone, alone, theirs.hidden);
      add(layer.stream, ours.hidden, theirs.hidden);
      const auto our_linears = model.layers()[static_cast<size_t>(i)].linears(),
                 their_linears = baseline.layers()[static_cast<size_t>(i)].linears();
      for (LinearDrift& linear : layer.linears) {
        const Role shown = shown_as(linear.role, gated);
        const auto at =
            static_cast<size_t>(std::ranges::find(linear_roles, linear.role) - linear_roles.begin());
        add_rows(linear.input, ours.input(shown), theirs.input(shown), their_linears[at]->cols());
        outputs.compare(linear.output, *our_linears[at], *their_linears[at], theirs.input(shown));
      }
    }
    const Rows their_input = theirs.normalised();
    add(report.head.input, ours.normalised(), their_input);
    outputs.compare(report.head.output, model.head(), baseline.head(), view(their_input));
    report.tokens += std::ssize(windows.ids[w]) - first_counted;
    if (progress) progress(static_cast<int64_t>(w) + 1, std::ssize(windows.ids));
  }
  return report;
}

}  // namespace whittle
