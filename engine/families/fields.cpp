#include "engine/families/fields.h"

#include <algorithm>
#include <utility>

#include "kernels/error.h"

namespace whittle {
namespace {

constexpr std::pair<std::string_view, Activation> activations[] = {
    {"silu", Activation::silu},           {"swish", Activation::silu},
    {"gelu_new", Activation::gelu_tanh},  {"gelu_pytorch_tanh", Activation::gelu_tanh},
    {"gelu_fast", Activation::gelu_tanh},
};

void only_these(const JsonFields& fields, std::initializer_list<std::string_view> known) {
  for (const auto& [key, value] : fields.object().items()) {
    if (std::ranges::find(known, key) == known.end() && !value.is_null()) {
      fields.reject(key.c_str(), "not supported with this rope_type");
    }
  }
}

void read_rope_object(const JsonFields& rope, ModelSpec& spec) {
  const std::string type = rope.string("rope_type", rope.string("type", "default"));
  if (rope.has("type") && rope.string("type") != type)
    rope.reject("type", "differs from rope_type " + quote(type));
  spec.rope_theta = rope.positive("rope_theta", spec.rope_theta);
  if (rope.positive("partial_rotary_factor", 1) != 1) rope.reject("partial_rotary_factor", "expected 1");
  RopeScaling& scaling = spec.rope_scaling;
  if (type == "default") {
    only_these(rope, {"type", "rope_type", "rope_theta", "partial_rotary_factor"});
  } else if (type == "linear") {
    only_these(rope, {"type", "rope_type", "rope_theta", "partial_rotary_factor", "factor"});
    scaling.type = RopeScalingType::linear;
    scaling.factor = rope.positive("factor");
  } else if (type == "llama3") {
    only_these(rope, {"type", "rope_type", "rope_theta", "partial_rotary_factor", "factor", "low_freq_factor",
                      "high_freq_factor", "original_max_position_embeddings"});
    scaling.type = RopeScalingType::llama3;
    scaling.factor = rope.positive("factor");
    scaling.low_freq_factor = rope.positive("low_freq_factor");
    scaling.high_freq_factor = rope.positive("high_freq_factor");
    if (scaling.low_freq_factor >= scaling.high_freq_factor) {
      rope.reject("low_freq_factor", fmt::format("expected less than high_freq_factor = {}, found {}",
                                                 scaling.high_freq_factor, scaling.low_freq_factor));
    }
    scaling.original_max_position_embeddings =
        rope.integer("original_max_position_embeddings", 1, max_positions);
  } else {
    rope.reject(
        rope.has("rope_type") ? "rope_type" : "type",
        fmt::format("{} is not supported, expected \"default\", \"linear\" or \"llama3\"", quote(type)));
  }
}

}  // namespace

void read_rope(const JsonFields& config, ModelSpec& spec) {
  spec.rope_theta = config.positive("rope_theta", 10000.0);
  if (config.has("rope_parameters")) {
    if (config.has("rope_scaling")) config.reject("rope_scaling", "stands beside rope_parameters");
    read_rope_object(config.object("rope_parameters"), spec);
  } else if (config.has("rope_scaling")) {
    read_rope_object(config.object("rope_scaling"), spec);
  }
}

Activation read_activation(const JsonFields& config, const char* field,
                           std::initializer_list<std::string_view> names) {
  const std::string name = config.string(field, std::string(*names.begin()));
  if (std::ranges::find(names, name) == names.end())
    config.reject(field, fmt::format("expected {}, found {}", quote(*names.begin()), quote(name)));
  return std::ranges::find(activations, name, &std::pair<std::string_view, Activation>::first)->second;
}

float read_epsilon(const JsonFields& config, const char* field, double fallback) {
  const auto epsilon = static_cast<float>(config.positive(field, fallback));
  if (!(epsilon > 0 && epsilon < 1))
    config.reject(field, fmt::format("expected a number between 0 and 1, found {}", epsilon));
  return epsilon;
}

void must_have_plain_heads(const JsonFields& config, const ModelSpec& spec) {
  if (spec.num_key_value_heads != spec.num_attention_heads)
    config.reject("num_key_value_heads", fmt::format("expected as many as query heads, {}, found {}",
                                                     spec.num_attention_heads, spec.num_key_value_heads));
  if (spec.q_size() != spec.hidden_size)
    config.reject("head_dim", fmt::format("expected hidden_size / heads = {}, found {}",
                                          spec.hidden_size / spec.num_attention_heads, spec.head_dim));
}

void must_be(const JsonFields& config, const char* field, bool value) {
  if (config.boolean(field, value) != value)
    config.reject(field, fmt::format("expected {}, found {}", value, !value));
}

}  // namespace whittle
