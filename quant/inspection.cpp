#include "quant/inspection.h"

#include <fmt/format.h>

#include <algorithm>

#include "bench/reports/json_report.h"
#include "bench/reports/packing_report.h"
#include "bench/reports/table.h"
#include "engine/files/float_tensor.h"
#include "engine/files/json_file.h"
#include "engine/kv_cache.h"
#include "engine/positions.h"
#include "engine/weight_source.h"
#include "kernels/packed_weight.h"

namespace whittle {
namespace {

double zero_fraction(const WeightMatrix& matrix, const Team& team) {
  std::vector<int64_t> zeros(static_cast<size_t>(matrix.rows));
  const int64_t bytes = row_bytes(matrix.format, matrix.cols);
  team.for_each(matrix.rows, [&](int64_t row) {
    std::vector<float> codes(static_cast<size_t>(matrix.cols));
    info(matrix.format).decode_row(matrix.codes.data() + row * bytes, matrix.cols, codes.data());
    for (int64_t k = 0; k < matrix.cols; ++k) {
      float zero = 0;
      bool scaled = true;
      if (matrix.groups()) {
        const auto at = static_cast<size_t>(row * matrix.groups() + k / matrix.group_size);
        if (!matrix.zero_points.empty()) zero = matrix.zero_points[at];
        scaled = matrix.scales[at] != 0;
      }
      zeros[static_cast<size_t>(row)] += codes[static_cast<size_t>(k)] == zero || !scaled;
    }
  });
  int64_t total = 0;
  for (const int64_t count : zeros) total += count;
  return static_cast<double>(total) / static_cast<double>(std::max<int64_t>(1, matrix.rows * matrix.cols));
}

InspectedTensor inspect_matrix(const ModelFile& file, const std::string& module, const WeightMatrix& matrix,
                               const Team& team) {
  InspectedTensor out;
  out.name = module + ".weight";
  out.shape = {matrix.rows, matrix.cols};
  out.format = info(matrix.format).name;
  if (matrix.groups()) out.group = matrix.groups() == 1 ? "row" : fmt::format("g{}", matrix.group_size);
  out.symmetric = matrix.zero_points.empty();
  for (const std::string_view part : file.parts(module))
    if (const TensorView* tensor = file.find(fmt::format("{}.{}", module, part)))
      out.bytes += static_cast<int64_t>(tensor->bytes.size());
  out.bits_per_weight = 8.0 * static_cast<double>(out.bytes) / static_cast<double>(matrix.rows * matrix.cols);
  out.zeros = zero_fraction(matrix, team);
  return out;
}

InspectedTensor inspect_vector(const TensorView& tensor) {
  InspectedTensor out;
  out.name = tensor.name;
  out.shape = tensor.shape;
  out.bytes = static_cast<int64_t>(tensor.bytes.size());
  const std::optional<WeightFormat> format = float_format(tensor.dtype);
  out.format = format ? info(*format).name : name(tensor.dtype);
  out.bits_per_weight = bits(tensor.dtype);
  if (format && tensor.elements()) {
    const std::vector<float> values = read_floats(tensor);
    out.zeros = static_cast<double>(std::count(values.begin(), values.end(), 0.0f)) /
                static_cast<double>(values.size());
  }
  return out;
}

// Of a linear or head, packed as it would be loaded.
int64_t packed_bytes(const WeightSource& source, const Module& module, const WeightMatrix& matrix,
                     const Team& team, std::vector<PackingCount>& packings) {
  const PackingChoice choice = choose_packing(source, module, matrix, team);
  count_packing(packings, choice);
  return Packer(matrix, choice.taken).take().bytes();
}

// Where the number of a layer ends, as in "model.layers.0" of "model.layers.0.mlp.up_proj.weight"; else 0.
size_t layer_end(std::string_view name) {
  for (size_t dot = name.find('.'); dot != name.npos; dot = name.find('.', dot + 1)) {
    const size_t end = std::min(name.find_first_not_of("0123456789", dot + 1), name.size());
    if (end > dot + 1 && end < name.size() && name[end] == '.') return end;
  }
  return 0;
}

// What each layer has, where layers differ.
std::string layers_text(const ModelSpec& spec) {
  std::string text = "of each layer, neurons of the MLP + key/value heads:";
  for (const LayerShape& layer : spec.layers)
    text += fmt::format(" {}+{}", layer.intermediate_size, layer.num_key_value_heads);
  return text;
}

}  // namespace

Inspection inspect(const std::filesystem::path& folder, int64_t context, KvFormat kv_cache,
                   const Team& team) {
  const FolderWeights weights(folder, &team);
  const ModelFile& file = weights.file();
  Inspection out;
  out.spec = weights.spec();
  out.size = model_size(file, out.spec);
  out.notes = file.notes();
  out.context = context ? context : out.spec.max_position_embeddings;
  check_positions(out.spec, out.context);
  out.kv_cache_bytes = KvCache::bytes(out.spec, kv_cache, out.context);
  const Inventory& inventory = weights.inventory();
  for (const Module& module : inventory.modules()) {
    if (!module.matrix()) continue;
    const WeightMatrix matrix = weights.matrix(module);
    out.tensors.push_back(inspect_matrix(file, module.name, matrix, team));
    // An embedding of its own stays in the file, of which only the rows of the tokens in use are read, unless
    // it lies there otherwise. A table of positions is unpacked.
    if (module.kind() == ModuleKind::linear || &module == &inventory.head())
      out.packed_bytes += packed_bytes(weights, module, matrix, team, out.packings);
    else if (module.role == Role::position_embedding)
      out.packed_bytes += module.rows * module.cols * static_cast<int64_t>(sizeof(float));
    else if (matrix.owned)
      out.packed_bytes += static_cast<int64_t>(matrix.codes.size());
    weights.release(matrix);
  }
  for (const TensorView& tensor : file.tensors()) {
    const size_t dot = std::min(tensor.name.rfind('.'), tensor.name.size() - 1);
    const std::string name = tensor.name.substr(0, dot);
    const std::span<const std::string_view> parts = file.parts(name);
    const bool part = std::ranges::find(parts, tensor.name.substr(dot + 1)) != parts.end();
    const Module* module = inventory.find(name);
    if (!part || !module || !module->matrix()) out.tensors.push_back(inspect_vector(tensor));
  }
  std::sort(out.tensors.begin(), out.tensors.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
  return out;
}

nlohmann::json inspection_json(const Inspection& inspection, const Fingerprint& fingerprint) {
  const ModelSpec& spec = inspection.spec;
  nlohmann::json layers = nlohmann::json::array();
  for (const LayerShape& layer : spec.layers)
    layers.push_back(
        {{"intermediate_size", layer.intermediate_size}, {"num_key_value_heads", layer.num_key_value_heads}});
  nlohmann::json tensors = nlohmann::json::array();
  for (const InspectedTensor& tensor : inspection.tensors)
    tensors.push_back(
        {{"name", tensor.name},
         {"shape", tensor.shape},
         {"format", tensor.format},
         {"group", tensor.group.empty() ? nlohmann::json(nullptr) : nlohmann::json(tensor.group)},
         {"symmetric", tensor.symmetric},
         {"bytes", tensor.bytes},
         {"bits_per_weight", tensor.bits_per_weight},
         {"zeros_percent", 100 * tensor.zeros}});
  nlohmann::json json = report_header("inspect", fingerprint);
  json.update({{"architecture",
                {{"model_type", spec.model_type},
                 {"hidden_size", spec.hidden_size},
                 {"intermediate_size", spec.intermediate_size},
                 {"num_hidden_layers", spec.num_hidden_layers},
                 {"num_attention_heads", spec.num_attention_heads},
                 {"num_key_value_heads", spec.num_key_value_heads},
                 {"head_dim", spec.head_dim},
                 {"vocab_size", spec.vocab_size},
                 {"max_position_embeddings", spec.max_position_embeddings},
                 {"tie_word_embeddings", spec.tie_word_embeddings},
                 {"layers", spec.layers.empty() ? nlohmann::json(nullptr) : layers}}},
               {"tensors", tensors},
               {"weights", inspection.size.weights},
               {"bits_per_weight", inspection.size.bits_per_weight()},
               {"disk_bytes", inspection.size.disk_bytes},
               {"memory",
                {{"context", inspection.context},
                 {"weights_bytes", inspection.packed_bytes},
                 {"kv_cache_bytes", inspection.kv_cache_bytes}}},
               {"packings", packings_json(inspection.packings)},
               {"notes", inspection.notes}});
  return json;
}

std::string inspection_text(const Inspection& inspection) {
  const ModelSpec& spec = inspection.spec;
  Table table({{"tensor", Align::left},
               {"shape", Align::left},
               {"format", Align::left},
               {"bits", Align::right},
               {"zeros", Align::right},
               {"size", Align::right}});
  std::string layer;
  for (const InspectedTensor& tensor : inspection.tensors) {
    // Names are long: those of a layer stand below its own.
    const size_t end = layer_end(tensor.name);
    if (end && tensor.name.substr(0, end) != layer)
      table.add_row({layer = tensor.name.substr(0, end), "", "", "", "", ""});
    table.add_row({end ? "  " + tensor.name.substr(end + 1) : tensor.name, shape_text(tensor.shape),
                   tensor.format + (tensor.group.empty() ? "" : " " + tensor.group) +
                       (tensor.symmetric ? "" : " asymmetric"),
                   fmt::format("{:.3f}", tensor.bits_per_weight), fmt::format("{:.2f} %", 100 * tensor.zeros),
                   format_bytes(static_cast<double>(tensor.bytes))});
  }
  table.add_note(fmt::format(
      "{}: {} layers, hidden_size {}, intermediate_size {}, {} heads over {} key/value heads of {}, "
      "vocabulary {}{}, context {}",
      spec.model_type, spec.num_hidden_layers, spec.hidden_size, spec.intermediate_size,
      spec.num_attention_heads, spec.num_key_value_heads, spec.head_dim, spec.vocab_size,
      spec.tie_word_embeddings ? " (tied)" : "", spec.max_position_embeddings));
  if (!spec.layers.empty()) table.add_note(layers_text(spec));
  table.add_note(fmt::format("{} weights at {:.3f} bits; {} on disk", inspection.size.weights,
                             inspection.size.bits_per_weight(),
                             format_bytes(static_cast<double>(inspection.size.disk_bytes))));
  table.add_note(fmt::format("memory to run: {} packed weights + {} KV cache at context {}",
                             format_bytes(static_cast<double>(inspection.packed_bytes)),
                             format_bytes(static_cast<double>(inspection.kv_cache_bytes)),
                             inspection.context));
  for (const PackingCount& count : inspection.packings) table.add_note(packing_text(count));
  for (const std::string& note : inspection.notes) table.add_note(printable(note));
  return table.text();
}

}  // namespace whittle
