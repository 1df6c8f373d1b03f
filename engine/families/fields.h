#pragma once
// Config fields that several families share.

#include <initializer_list>
#include <string_view>

#include "engine/files/json_file.h"
#include "engine/model_spec.h"

namespace whittle {

inline constexpr int64_t max_positions = 1 << 27;  // no model comes near it

// rope_theta and rope_scaling of older files, or rope_parameters, which holds both.
void read_rope(const JsonFields& config, ModelSpec& spec);
// The activation that `field` names, among those that a family can have; null or left out: the first of them.
Activation read_activation(const JsonFields& config, const char* field,
                           std::initializer_list<std::string_view> names);
// The epsilon of a norm, between 0 and 1.
float read_epsilon(const JsonFields& config, const char* field, double fallback);
// Throws Error unless every query head has keys and values of its own and the heads make up hidden_size: what
// code without num_key_value_heads and head_dim computes whatever those say.
void must_have_plain_heads(const JsonFields& config, const ModelSpec& spec);
// Throws Error unless the field is absent or has this value.
void must_be(const JsonFields& config, const char* field, bool value);

}  // namespace whittle
