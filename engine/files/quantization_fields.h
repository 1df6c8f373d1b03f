#pragma once
// What the readers of quantization_config, a method each, have in common.

#include <cstdint>
#include <initializer_list>
#include <span>
#include <string_view>

#include "engine/files/json_file.h"
#include "engine/files/quantization_config.h"

namespace whittle {

inline constexpr int64_t max_group_size = int64_t{1} << 24;

// Throws Error for a field that is none of these, unless it is null.
void only_these(const JsonFields& fields, std::initializer_list<std::string_view> known);
// Absent, null, or an empty object or array.
void must_be_empty(const JsonFields& fields, const char* field);

// Of GPTQ and AWQ, whose fields are much alike. Throws Error for a field that is none of `known`, null or
// about how the weights were found, which the user may vouch for (open_options.h).
void check_word_packed_fields(const JsonFields& fields, std::initializer_list<std::string_view> known);
// Throws Error unless `field` is absent or, in lower case, one of `expected`.
void check_choice(const JsonFields& fields, const char* field,
                  std::initializer_list<std::string_view> expected);
// `group_size`, −1 for a whole row, as strategy and size of `scheme`.
void read_word_packed_group_size(const JsonFields& fields, QuantizationScheme& scheme);
// The scheme for every linear whose tensors are quantized.
QuantizationTarget all_linears(const JsonFields& fields, const QuantizationScheme& scheme);

}  // namespace whittle
