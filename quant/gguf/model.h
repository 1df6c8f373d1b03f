#pragma once
// A decoder in llama.cpp's terms: what its GGUF metadata says, and where each tensor comes from.

#include <string>
#include <vector>

#include "engine/files/model_file.h"
#include "engine/model_spec.h"
#include "quant/gguf/writer.h"

namespace whittle {

struct ExportedTensor {
  GgufTensor target;
  std::string source;  // a module ("model.layers.0.mlp.up_proj") for a matrix, a tensor for a vector
  int64_t head_dim =
      0;  // rotary halves of heads of this many rows become neighbours; 0: rows stay where they are
  std::vector<float> values;  // in place of a source

  // The row of the source that becomes row `row` of the target.
  int64_t source_row(int64_t row) const {
    if (head_dim == 0) return row;
    const int64_t within = row % head_dim;
    return row - within + within / 2 + within % 2 * (head_dim / 2);
  }
};

// Everything but the tokenizer. Throws Error for what llama.cpp has no place for.
GgufMetadata model_metadata(const ModelFile& file, const ModelSpec& spec);

// Matrices in `type`, or F16 where their rows are no whole number of blocks; vectors in F32.
std::vector<ExportedTensor> exported_tensors(const ModelFile& file, const ModelSpec& spec, GgufType type);

}  // namespace whittle
