#pragma once
// A decoder in llama.cpp's terms: what its GGUF metadata says, and where each tensor comes from.

#include <string>
#include <vector>

#include "engine/weight_source.h"
#include "quant/gguf/writer.h"

namespace whittle {

struct ExportedTensor {
  GgufTensor target;
  const Module* module = nullptr;  // of the source's inventory; its matrix or weight, or its bias
  bool bias = false;
  std::vector<int64_t> order;  // the source's row for each of the target's; empty: rows stay where they are
  std::vector<float> values;   // in place of a module

  int64_t source_row(int64_t row) const { return order.empty() ? row : order[static_cast<size_t>(row)]; }
  std::string source_name() const { return module ? module->name : target.name; }
};

// Everything but the tokenizer. Throws Error for what llama.cpp has no place for.
GgufMetadata model_metadata(const FolderWeights& source);

// Matrices in `type`, or F16 where their rows are no whole number of blocks; vectors, and learned positions,
// in F32. They refer to `source`.
std::vector<ExportedTensor> exported_tensors(const FolderWeights& source, GgufType type);

}  // namespace whittle
