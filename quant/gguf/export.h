#pragma once
// A Hugging Face folder as one GGUF file, so that llama.cpp runs the same weights.

#include <filesystem>
#include <functional>
#include <string>

#include "kernels/threads.h"
#include "quant/gguf/types.h"

namespace whittle {

struct GgufReport {
  int64_t tensors = 0;
  int64_t bytes = 0;      // of the file
  std::string tokenizer;  // what tokenizer.ggml.model says; "no_vocab" where the folder has none
};

// Called after each piece of a tensor with the bytes written so far.
using GgufProgress = std::function<void(int64_t done, int64_t total, const std::string& tensor)>;

// Reads `source` (F32, F16, BF16, or quantized by us: then what its codes stand for) and writes `out`, which
// must not exist and appears only when it is complete. Throws Error for whatever llama.cpp has no words for,
// and for a value that is not finite or too large for its type.
GgufReport export_gguf(const std::filesystem::path& source, const std::filesystem::path& out, GgufType type,
                       const Team& team, const std::string& version, const GgufProgress& progress);

}  // namespace whittle
