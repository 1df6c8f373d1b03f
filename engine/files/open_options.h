#pragma once
// What the user vouches for or chose, for every model that this process opens from now on. To be called
// before threads open models.

#include <functional>
#include <set>
#include <string>

namespace whittle {

// A field of config.json of this name that no list of ours knows does not change the computation. Not for
// fields that are known to change it.
void allow_field(const std::string& name);
const std::set<std::string, std::less<>>& allowed_fields();

// Linears whose quantization_config has no input_activations get float inputs, as their weights were made
// for; the weights are then kept as float32. Else the inputs are rounded to int8.
void keep_float_inputs();
bool float_inputs_kept();

}  // namespace whittle
