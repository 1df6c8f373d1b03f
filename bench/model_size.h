#pragma once
// What a model takes on disk, counted from the real bytes.

#include <cstdint>

#include "engine/files/model_file.h"
#include "engine/model_spec.h"

namespace whittle {

struct ModelSize {
  int64_t disk_bytes = 0;  // of the weight files, their headers included
  int64_t tensor_bytes =
      0;                // of every tensor in them: codes, scales, zero points, norms, whatever else is there
  int64_t weights = 0;  // numbers that they stand for: a quantized matrix counts its own rows × columns

  double bits_per_weight() const {
    return 8.0 * static_cast<double>(tensor_bytes) / static_cast<double>(weights);
  }
};

ModelSize model_size(const ModelFile& file, const ModelSpec& spec);

}  // namespace whittle
