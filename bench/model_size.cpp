#include "bench/model_size.h"

#include <map>
#include <string>

namespace whittle {

ModelSize model_size(const ModelFile& file, const ModelSpec& spec) {
  std::map<std::string, int64_t> matrices;  // module → rows × columns
  for (int64_t layer = 0; layer < spec.num_hidden_layers; ++layer)
    for (const LinearShape& linear : layer_linears(spec, layer))
      matrices[linear.name] = linear.rows * linear.cols;
  const EmbeddingModules embedding = embedding_modules(file, spec);
  matrices[embedding.input] = matrices[embedding.output] = spec.vocab_size * spec.hidden_size;

  ModelSize size;
  size.disk_bytes = file.disk_bytes();
  for (const auto& [module, weights] : matrices) size.weights += weights;
  for (const TensorView& tensor : file.tensors()) {
    // A head that the config ties to the embedding is not read, and counts nowhere but on the disk.
    const bool tied = spec.tie_word_embeddings && embedding.output != "lm_head";
    if (tied && tensor.name.starts_with("lm_head.")) continue;
    size.tensor_bytes += static_cast<int64_t>(tensor.bytes.size());
    // "module.weight", or one of those that stand for it: "module.weight_packed", "module.weight_scale", …
    const size_t dot = tensor.name.rfind('.');
    const bool of_matrix = dot != std::string::npos && tensor.name.compare(dot + 1, 6, "weight") == 0 &&
                           matrices.contains(tensor.name.substr(0, dot));
    if (!of_matrix) size.weights += tensor.elements();
  }
  return size;
}

}  // namespace whittle
