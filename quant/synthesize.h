#pragma once
// A Hugging Face folder of a real model's shape with random weights: speed needs no download.

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string_view>

#include "engine/files/safetensors.h"
#include "kernels/threads.h"

namespace whittle {

// Writes config.json and model.safetensors; weights are normal-like with a standard deviation of 0.02, the
// same for every run and number of threads. There is no tokenizer. dtype: F16 or BF16. Throws Error for an
// unknown shape (naming the known ones) or when `out` exists; a run that fails leaves nothing.
void synthesize(std::string_view shape, const std::filesystem::path& out, DType dtype, const Team& team,
                const std::function<void(int64_t done, int64_t total)>& progress);

}  // namespace whittle
