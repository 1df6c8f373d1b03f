#include "quant/synthesize.h"

#include <algorithm>
#include <vector>

#include "engine/files/output_folder.h"
#include "engine/files/safetensors_writer.h"
#include "engine/inventory.h"
#include "engine/model_spec.h"
#include "kernels/error.h"
#include "kernels/float16.h"
#include "quant/model_shapes.h"

namespace whittle {
namespace {

std::vector<TensorInfo> tensors_of(const Inventory& inventory, DType dtype) {
  std::vector<TensorInfo> tensors;
  for (const Module& module : inventory.modules()) {
    std::vector<int64_t> shape = {module.cols};
    if (module.matrix()) shape.insert(shape.begin(), module.rows);
    if (module.transposed) std::ranges::reverse(shape);
    tensors.push_back({module.name + ".weight", dtype, shape});
    if (module.bias)
      tensors.push_back({module.name + ".bias", dtype, {module.matrix() ? module.rows : module.cols}});
  }
  return tensors;
}

// SplitMix64 (Steele, Lea and Flood, 2014): a number of its own for every index, so that pieces can be made
// anywhere.
uint64_t random_bits(uint64_t index) {
  uint64_t z = (index + 1) * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

// The sum of four uniform numbers is close enough to normal for weights.
float random_weight(uint64_t index) {
  const uint64_t bits = random_bits(index);
  const auto sum =
      static_cast<float>((bits & 0xffff) + ((bits >> 16) & 0xffff) + ((bits >> 32) & 0xffff) + (bits >> 48));
  constexpr float mean = 131070.0f, deviation = 37837.0f;
  return (sum - mean) / deviation * 0.02f;
}

}  // namespace

void synthesize(std::string_view name, const std::filesystem::path& out, DType dtype, const Team& team,
                const std::function<void(int64_t done, int64_t total)>& progress) {
  const ModelShape* shape = find_shape(name);
  if (!shape) {
    std::string names;
    for (const ModelShape& row : model_shapes())
      names += fmt::format("{}{}", names.empty() ? "" : ", ", row.name);
    fail("unknown shape {}; expected one of {}", name, names);
  }
  const nlohmann::json config = shape_config(*shape, dtype);
  const Inventory inventory(read_config(config, nlohmann::json::object(), out));
  const std::vector<TensorInfo> tensors = tensors_of(inventory, dtype);
  OutputFolder folder(out);
  SafetensorsWriter writer(folder.path() / "model.safetensors", tensors, {{"format", "pt"}});
  const auto round = dtype == DType::F16 ? float_to_f16 : float_to_bf16;
  int64_t total = 0, done = 0;
  for (const TensorInfo& tensor : tensors) total += *tensor_bytes(tensor.dtype, tensor.shape) / 2;
  uint64_t first_index = 0;
  for (const TensorInfo& tensor : tensors) {
    const int64_t count = *tensor_bytes(tensor.dtype, tensor.shape) / 2;
    const bool norm = tensor.shape.size() == 1 && tensor.name.ends_with(".weight");
    constexpr int64_t piece = 1 << 20;
    team.for_each((count + piece - 1) / piece, [&](int64_t i) {
      if (interrupted()) return;
      std::vector<uint16_t> values(static_cast<size_t>(std::min(piece, count - i * piece)));
      for (size_t j = 0; j < values.size(); ++j)
        values[j] = round(norm ? 1.0f : random_weight(first_index + static_cast<uint64_t>(i * piece) + j));
      writer.write(tensor.name, i * piece * 2, std::as_bytes(std::span(values)));
    });
    first_index += static_cast<uint64_t>(count);
    done += count;
    check_interrupted();
    if (progress) progress(done, total);
  }
  writer.finish();
  folder.commit(config);
}

}  // namespace whittle
