#include "bench/model_size.h"

#include <algorithm>
#include <string>

#include "engine/architectures.h"
#include "engine/inventory.h"

namespace whittle {

ModelSize model_size(const ModelFile& file, const ModelSpec& spec) {
  const Inventory inventory = inventory_of(file, spec);
  const std::set<std::string, std::less<>> buffers = buffer_names(spec);

  ModelSize size;
  size.disk_bytes = file.disk_bytes();
  for (const Module& module : inventory.modules())
    if (module.matrix()) size.weights += module.rows * module.cols;
  for (const TensorView& tensor : file.tensors()) {
    // A head that the config ties to the embedding is not read, and counts nowhere but on the disk.
    const size_t dot = std::min(tensor.name.rfind('.'), tensor.name.size() - 1);
    const std::string name = tensor.name.substr(0, dot);
    const Module* module = inventory.find(name);
    if (!module && inventory.tied() && (name == inventory.head_name() || name == inventory.embedding_name()))
      continue;
    if (buffers.contains(tensor.name)) continue;  // nor is a mask
    size.tensor_bytes += static_cast<int64_t>(tensor.bytes.size());
    // "module.weight", or one of those that stand for it: "module.weight_packed", "module.qweight", …
    const std::span<const std::string_view> parts = file.parts(name);
    const bool of_matrix =
        module && module->matrix() && std::ranges::find(parts, tensor.name.substr(dot + 1)) != parts.end();
    if (!of_matrix) size.weights += tensor.elements();
  }
  return size;
}

}  // namespace whittle
