#pragma once
// Families of decoders: each file here gives the rows of those that share its names and its kind of block.

#include <span>

#include "engine/architectures.h"

namespace whittle {

std::span<const Architecture> llama_family();
std::span<const Architecture> gpt2_family();
std::span<const Architecture> bloom_family();

}  // namespace whittle
