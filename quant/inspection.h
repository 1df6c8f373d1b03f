#pragma once
// `whittle inspect`: what a model folder holds, and what running it takes.

#include <cstdint>
#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/fingerprint.h"
#include "bench/model_size.h"
#include "engine/model_spec.h"
#include "engine/packing_choice.h"
#include "kernels/kernel_table.h"
#include "kernels/threads.h"

namespace whittle {

// A quantized matrix with all its tensors, or one tensor.
struct InspectedTensor {
  std::string name;
  std::vector<int64_t> shape;  // of the matrix that the codes stand for
  std::string format;          // "int4", "f16", …
  std::string group;           // "g128", "row", "matrix"; empty for floats
  bool symmetric = true;
  int64_t bytes = 0;  // stored, scales and zero points included
  double bits_per_weight = 0;
  double zeros = 0;  // fraction of weights that are exactly zero
};

struct Inspection {
  ModelSpec spec;
  ModelSize size;
  std::vector<InspectedTensor> tensors;  // by name
  int64_t context = 0;                   // for which memory is estimated
  int64_t packed_bytes = 0;              // linears and head as the kernels want them
  std::vector<PackingCount> packings;    // of those that are mostly zeros
  int64_t kv_cache_bytes = 0;
  std::vector<std::string> notes;  // what the engine does otherwise than the files ask
};

// context = 0: the model's own. Reads every weight once. Throws Error for anything that would not load.
Inspection inspect(const std::filesystem::path& folder, int64_t context, KvFormat kv_cache, const Team& team);

nlohmann::json inspection_json(const Inspection& inspection, const Fingerprint& fingerprint);
std::string inspection_text(const Inspection& inspection);

}  // namespace whittle
