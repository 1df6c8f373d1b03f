#pragma once
// The table of layouts in which files hold quantized modules.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "engine/files/quantization_config.h"
#include "kernels/threads.h"
#include "kernels/weight_matrix.h"

namespace whittle {

class ModelFile;

struct CodeLayoutInfo {
  CodeLayout layout;
  // The tensors of a module are its name and one of these, behind a dot.
  std::span<const std::string_view> parts;
  bool by_tensors;  // which modules are quantized is seen from the tensors: those that have parts[0]
  WeightMatrix (*read)(const ModelFile& file, const std::string& module, const QuantizationScheme& scheme,
                       int64_t rows, int64_t cols, const Team* team);
};

const CodeLayoutInfo& info(CodeLayout layout);

}  // namespace whittle
