#pragma once
// What the user vouches for or chose, for every model that this process opens from now on. To be called
// before threads open models.

#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>

namespace whittle {

// A field of config.json of this name that no list of ours knows does not change the computation. Not for
// fields that are known to change it.
void allow_field(const std::string& name);
const std::set<std::string, std::less<>>& allowed_fields();

// Linears whose quantization_config has no input_activations get float inputs, as their weights were made
// for; the weights are then kept as float32. Else the inputs are rounded to int8.
void keep_float_inputs();
bool float_inputs_kept();

// Whether weights that are mostly zeros are packed without these: where that is faster, never, or wherever it
// is smaller and the CPU has instructions for it.
enum class SparseUse : uint8_t { automatic, never, always };
void use_sparse(SparseUse use);
SparseUse sparse_use();
std::string_view name(SparseUse use);  // "auto", "never", "always"
std::optional<SparseUse> sparse_use_named(std::string_view name);

}  // namespace whittle
