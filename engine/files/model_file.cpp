#include "engine/files/model_file.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "engine/files/bitmask.h"
#include "engine/files/code_layout.h"
#include "engine/files/float_tensor.h"
#include "engine/files/group_index.h"
#include "engine/files/json_file.h"
#include "engine/files/open_options.h"
#include "kernels/error.h"

namespace whittle {

namespace {

constexpr int64_t max_config_bytes = 16 << 20;
constexpr int64_t max_index_bytes = 100 << 20;
constexpr const char* single_name = "model.safetensors";
constexpr const char* index_name = "model.safetensors.index.json";

// Opens the shards that the index names and holds each to what the index says of it.
std::vector<SafetensorsFile> open_shards(const std::filesystem::path& folder) {
  const std::string index = (folder / index_name).string();
  const nlohmann::json content = read_json_file(index, max_index_bytes);
  const JsonFields map = JsonFields(content, index).object("weight_map");
  std::map<std::string, std::set<std::string, std::less<>>> shards;
  for (const auto& [tensor, unused] : map.object().items()) {
    const std::string file = map.string(tensor.c_str());
    if (file.empty() || file == "." || file == ".." || file.find_first_of("/\\") != file.npos ||
        printable(file) != file) {
      fail("{}: field \"weight_map\": tensor {}: {} is not a plain file name", index, quote(tensor),
           quote(file));
    }
    shards[file].insert(tensor);
  }
  if (shards.empty()) fail("{}: field \"weight_map\": empty", index);
  std::vector<SafetensorsFile> files;
  for (const auto& [name, tensors] : shards) {
    const SafetensorsFile& file = files.emplace_back(folder / name);
    for (const TensorView& tensor : file.tensors()) {
      if (!tensors.contains(tensor.name)) {
        fail("{}: tensor {}: field \"weight_map\" of {} does not place it in this file", file.path().string(),
             quote(tensor.name), index_name);
      }
    }
    for (const std::string& tensor : tensors) {
      if (!std::ranges::binary_search(file.tensors(), tensor, {}, &TensorView::name)) {
        fail("{}: field \"weight_map\": tensor {} is not in {}", index, quote(tensor), name);
      }
    }
  }
  return files;
}

std::vector<SafetensorsFile> open_weights(const std::filesystem::path& folder) {
  if (!std::filesystem::exists(folder / single_name)) {
    if (std::filesystem::exists(folder / index_name)) return open_shards(folder);
    fail("{}: neither {} nor {} is there", folder.string(), single_name, index_name);
  }
  std::vector<SafetensorsFile> files;
  files.emplace_back(folder / single_name);
  return files;
}

bool contains(std::span<const std::byte> outer, std::span<const std::byte> inner) {
  const std::less_equal<> le;  // a total order, also over pointers into different mappings
  return le(outer.data(), inner.data()) && le(inner.data() + inner.size(), outer.data() + outer.size());
}

}  // namespace

struct ModelFile::Impl {
  std::filesystem::path folder;
  nlohmann::json config, generation_config = nlohmann::json::object();
  QuantizationConfig quantization;
  std::vector<SafetensorsFile> files;
  std::vector<TensorView> tensors;

  const QuantizationScheme* scheme_of(const std::string& module) const;
  SparseStorage sparse_storage_of(const std::string& module) const;
  const TensorView* find(std::string_view name) const;
};

const TensorView* ModelFile::Impl::find(std::string_view name) const {
  const auto found = std::ranges::lower_bound(tensors, name, {}, &TensorView::name);
  return found != tensors.end() && found->name == name ? &*found : nullptr;
}

// nullptr when the module is stored as floats.
const QuantizationScheme* ModelFile::Impl::scheme_of(const std::string& module) const {
  const QuantizationScheme* scheme = quantization.find(module);
  if (!scheme) return nullptr;
  const CodeLayoutInfo& layout = info(scheme->layout);
  return !layout.by_tensors || find(fmt::format("{}.{}", module, layout.parts[0])) ? scheme : nullptr;
}

// Targets may be wider than what was sparse.
SparseStorage ModelFile::Impl::sparse_storage_of(const std::string& module) const {
  const bool sparse = find(module + ".compressed") || find(module + ".bitmask");
  return sparse ? quantization.sparse_storage(module) : SparseStorage::none;
}

ModelFile::ModelFile(const std::filesystem::path& folder) : impl_(std::make_unique<Impl>()) {
  impl_->folder = folder;
  if (!std::filesystem::is_directory(folder)) fail("{}: not a folder", folder.string());
  const auto config_path = folder / "config.json";
  impl_->config = read_json_file(config_path, max_config_bytes);
  const JsonFields config(impl_->config, config_path.string());
  if (config.has("compression_config"))
    config.reject("compression_config", "not supported, expected \"quantization_config\"");
  if (config.has("quantization_config")) {
    const JsonFields quantization = config.object("quantization_config");
    impl_->quantization = QuantizationConfig(quantization.object(), quantization.what());
  }
  if (const auto path = folder / "generation_config.json"; std::filesystem::exists(path)) {
    impl_->generation_config = read_json_file(path, max_config_bytes);
    JsonFields(impl_->generation_config, path.string());
  }
  impl_->files = open_weights(folder);
  for (const SafetensorsFile& file : impl_->files) {
    impl_->tensors.insert(impl_->tensors.end(), file.tensors().begin(), file.tensors().end());
  }
  std::ranges::sort(impl_->tensors, {}, &TensorView::name);
}

ModelFile::~ModelFile() = default;
ModelFile::ModelFile(ModelFile&&) noexcept = default;

const std::filesystem::path& ModelFile::folder() const { return impl_->folder; }
const nlohmann::json& ModelFile::config() const { return impl_->config; }
const nlohmann::json& ModelFile::generation_config() const { return impl_->generation_config; }
std::span<const SafetensorsFile> ModelFile::files() const { return impl_->files; }
std::span<const TensorView> ModelFile::tensors() const { return impl_->tensors; }

const TensorView* ModelFile::find(std::string_view name) const { return impl_->find(name); }

const TensorView& ModelFile::get(std::string_view name) const {
  if (const TensorView* tensor = find(name)) return *tensor;
  fail("{}: tensor {} is missing",
       (impl_->folder / (impl_->files.size() == 1 ? impl_->files[0].path().filename() : index_name)).string(),
       quote(name));
}

int64_t ModelFile::disk_bytes() const {
  int64_t total = 0;
  for (const SafetensorsFile& file : impl_->files) total += file.disk_bytes();
  return total;
}

WeightMatrix ModelFile::weight(const std::string& module, int64_t rows, int64_t cols,
                               const Team* team) const {
  if (const QuantizationScheme* scheme = impl_->scheme_of(module))
    return info(scheme->layout).read(*this, module, *scheme, rows, cols, team);
  const SparseStorage sparse = impl_->sparse_storage_of(module);
  const TensorView& tensor = get(module + (sparse == SparseStorage::none ? ".weight" : ".compressed"));
  const auto format = float_format(tensor.dtype);
  if (sparse != SparseStorage::none && format) {
    WeightMatrix weight;
    weight.format = *format;
    weight.rows = rows;
    weight.cols = cols;
    return with_codes(std::move(weight), read_bitmask(*this, module, sparse, tensor.dtype, rows, cols, team));
  }
  if (!format || tensor.shape != std::vector{rows, cols}) {
    fail(
        "{}: tensor {}: expected F32, F16 or BF16 [{}, {}], as no quantization_config covers it, found {} {}",
        tensor.file->string(), quote(tensor.name), rows, cols, name(tensor.dtype), shape_text(tensor.shape));
  }
  WeightMatrix weight;
  weight.format = *format;
  weight.rows = rows;
  weight.cols = cols;
  weight.codes = tensor.bytes;
  return weight;
}

bool ModelFile::has_weight(const std::string& module) const {
  constexpr std::string_view stored[] = {"weight", "weight_packed", "qweight", "compressed", "weight_codes"};
  return std::ranges::any_of(
      stored, [&](std::string_view part) { return find(fmt::format("{}.{}", module, part)) != nullptr; });
}

bool ModelFile::is_quantized(const std::string& module) const { return impl_->scheme_of(module) != nullptr; }

SparseStorage ModelFile::sparse_storage(const std::string& module) const {
  return impl_->sparse_storage_of(module);
}

std::span<const std::string_view> ModelFile::parts(const std::string& module) const {
  static constexpr std::string_view floats[] = {"weight"};
  static constexpr std::string_view sparse[] = {"compressed",   "bitmask",           "shape",
                                                "row_offsets",  // of floats; the rest of codes
                                                "weight_scale", "weight_zero_point", "weight_g_idx"};
  const QuantizationScheme* scheme = impl_->scheme_of(module);
  if (const SparseStorage storage = impl_->sparse_storage_of(module); storage != SparseStorage::none)
    return std::span(sparse).first(scheme ? std::size(sparse) : 4);
  return scheme ? info(scheme->layout).parts : floats;
}

std::vector<float> ModelFile::vector(const std::string& name, int64_t size) const {
  const TensorView& tensor = get(name);
  if (tensor.shape != std::vector{size}) {
    fail("{}: tensor {}: expected shape [{}], found {}", tensor.file->string(), quote(name), size,
         shape_text(tensor.shape));
  }
  std::vector<float> values = read_floats(tensor);
  const auto bad = std::ranges::find_if_not(values, [](float value) { return std::isfinite(value); });
  if (bad != values.end()) {
    fail("{}: tensor {}: index {}: expected a finite number, found {}", tensor.file->string(), quote(name),
         bad - values.begin(), *bad);
  }
  return values;
}

int64_t ModelFile::activation_group_size(const std::string& module) const {
  const QuantizationScheme* scheme = impl_->scheme_of(module);
  return scheme ? scheme->activation_group_size : 0;
}

bool ModelFile::wants_float_inputs(const std::string& module) const {
  const QuantizationScheme* scheme = impl_->scheme_of(module);
  return scheme && !scheme->quantized_activations;
}

std::vector<std::string> ModelFile::notes() const {
  const std::string config = (impl_->folder / "config.json").string();
  std::vector<std::string> notes;
  if (!float_inputs_kept() && impl_->quantization.asks_for_float_inputs())
    notes.push_back(fmt::format(
        "{}: quantization_config has no input_activations: its weights were made for float inputs; here the "
        "inputs of quantized linears are rounded to int8, unless float inputs are asked for",
        config));
  std::string first;
  int64_t scattered = 0;
  for (const TensorView& tensor : impl_->tensors) {
    const size_t dot = std::min(tensor.name.rfind('.'), tensor.name.size());
    if (tensor.dtype != DType::I32 || !tensor.name.ends_with("g_idx")) continue;
    const QuantizationScheme* scheme = impl_->scheme_of(tensor.name.substr(0, dot));
    if (scheme && scheme->group_size && is_scattered(tensor, scheme->group_size) && scattered++ == 0)
      first = tensor.name;
  }
  if (scattered)
    notes.push_back(fmt::format(
        "{}: quantization_config: the inputs of a group are scattered over the rows of {} modules "
        "(act-order; {}): their weights are kept as float32, with the same values",
        config, scattered, quote(first)));
  return notes;
}

void ModelFile::check_unchanged() const {
  for (const SafetensorsFile& file : impl_->files) file.mapping().check_unchanged();
}

void ModelFile::drop_pages(std::span<const std::byte> bytes) const {
  for (const SafetensorsFile& file : impl_->files) {
    if (contains(file.mapping().bytes(), bytes)) file.mapping().drop_pages(bytes);
  }
}

}  // namespace whittle
